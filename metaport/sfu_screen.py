"""The screen of `metaport sfu top`: a snapshot of the SFUs, laid out for a terminal of any size.

People whose media is worst come first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from metaport.language import Lang, Say
from metaport.terminal import fitted

Map = dict[str, Any]

BOLD, DIM, RED, YELLOW, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
# 2 % loss still conceals well, at 10 % speech breaks; 200 and 400 ms of round trip likewise.
WARN_LOSS, BAD_LOSS = 0.02, 0.10
WARN_RTT_S, BAD_RTT_S = 0.2, 0.4


@dataclass
class Sfu:
    """One SFU at one look; `stats` is `None` when it does not answer."""

    name: str
    stats: Map | None
    load: Map = field(default_factory=dict)
    rooms: list[Map] = field(default_factory=list)
    packets_in_per_s: float = 0.0
    packets_out_per_s: float = 0.0


class Line:
    """One line of the screen and how it is lit."""

    def __init__(self, text: str, light: str = "") -> None:
        self.text = text
        self.light = light


# Title in both languages, columns, and whether it is a figure.
SFU_COLUMNS = (
    (Say("프로세스", "SFU"), 10, False),
    (Say("방", "rooms"), 7, True),
    (Say("사람", "people"), 7, True),
    (Say("받음/초", "in/s"), 9, True),
    (Say("보냄/초", "out/s"), 9, True),
    (Say("버림", "dropped"), 9, True),
    (Say("상태", "state"), 12, False),
)
STREAM_COLUMNS = (
    (Say("사람", "person"), 13, False),
    (Say("스트림", "stream"), 12, False),
    (Say("코덱", "codec"), 5, False),
    (Say("크기", "size"), 9, False),
    (Say("kbps", "kbps"), 5, True),
    (Say("손실%", "loss%"), 5, True),
    (Say("지터", "jit"), 4, True),
    (Say("왕복", "rtt"), 4, True),
    (Say("재요청", "nack"), 6, True),
    (Say("키", "key"), 3, True),
    (Say("길", "path"), 4, False),
)


def screen(
    sfus: Sequence[Sfu], lang: Lang, *, columns: int = 80, rows: int | None = None, at: str = ""
) -> list[Line]:
    """Lay out a snapshot; `rows` cuts it with a note of how much more there is."""
    head = Say("metaport sfu top", "metaport sfu top").to(lang)
    hint = Say("q: 끝내기", "q: quit").to(lang)
    lines = [
        Line(fitted(f"{head}  {at}", columns - 12) + fitted(hint, 12, right=True), BOLD),
        Line(_row([title.to(lang) for title, *_ in SFU_COLUMNS], SFU_COLUMNS), DIM),
        *(_sfu_line(sfu, lang) for sfu in sfus),
        Line(""),
        Line(_row([title.to(lang) for title, *_ in STREAM_COLUMNS], STREAM_COLUMNS), DIM),
    ]
    people = list(_people(sfus, lang))
    if not people:
        people = [
            Line(Say("음성·영상에 참여한 사람이 없습니다", "nobody is in media").to(lang), DIM)
        ]
    if rows is not None and len(lines) + len(people) > rows:
        kept = max(0, rows - len(lines) - 1)
        more = len(people) - kept
        people = people[:kept]
        note = Say(f"… {more}줄 더 있습니다 (--room 방)", f"… {more} more lines (--room ROOM)")
        people.append(Line(note.to(lang), DIM))
    lines += people
    for line in lines:
        line.text = fitted(line.text, columns).rstrip()
    return lines[:rows]


def _row(cells: Sequence[str], columns: Sequence[tuple[Say, int, bool]]) -> str:
    return " ".join(
        fitted(cell, width, right=figure)
        for cell, (_, width, figure) in zip(cells, columns, strict=True)
    )


def _sfu_line(sfu: Sfu, lang: Lang) -> Line:
    if sfu.stats is None:
        state = Say("응답 없음", "away").to(lang)
        return Line(_row([sfu.name, "", "", "", "", "", state], SFU_COLUMNS), RED)
    draining = bool(sfu.load.get("draining"))
    state = (Say("정리 중", "draining") if draining else Say("정상", "ok")).to(lang)
    cells = [
        sfu.name,
        str(sfu.stats["rooms"]),
        str(sfu.stats["participants"]),
        f"{sfu.packets_in_per_s:.0f}",
        f"{sfu.packets_out_per_s:.0f}",
        str(sum(sfu.stats["dropped"].values())),
        state,
    ]
    return Line(_row(cells, SFU_COLUMNS), YELLOW if draining else "")


def _people(sfus: Sequence[Sfu], lang: Lang) -> Iterator[Line]:
    rooms = [(sfu, room) for sfu in sfus for room in sfu.rooms]
    rooms.sort(key=lambda found: -_worst_of(found[1]["participants"]))
    for sfu, room in rooms:
        people = sorted(room["participants"], key=lambda person: -_worst_of([person]))
        count = Say(f"{len(people)}명", f"{len(people)} in it").to(lang)
        yield Line(f"{room['room']}  ({sfu.name}, {count})", BOLD)
        for person in people:
            yield from _person(person, lang)


def _person(person: Map, lang: Lang) -> Iterator[Line]:
    name = person["name"]
    for track in person["tracks"]:
        muted = Say(" 끔", " off").to(lang) if track["muted"] else ""
        stream = f"↑ {_source(track['source'], lang)}{muted}"
        yield _stream(name, stream, track, person["publishing"])
        name = ""
    received = person["subscriptions"]
    receiving = person["receiving"]
    if received:
        stream = Say(f"↓ {len(received)}개", f"↓ {len(received)} streams").to(lang)
        yield _stream(name, stream, _summed(received), receiving)
    elif name:
        lost = any(
            c is not None and c["state"] == "lost" for c in (person["publishing"], receiving)
        )
        state = Say("연결 끊김", "lost") if lost else Say("듣고 보는 것 없음", "no streams")
        yield Line(_row([name, state.to(lang), *[""] * 9], STREAM_COLUMNS), DIM)


def _source(source: str, lang: Lang) -> str:
    korean = {"microphone": "마이크", "camera": "카메라", "screen": "화면"}
    english = {"microphone": "mic"}
    return (korean if lang == "ko" else english).get(source, source)


def _summed(received: Sequence[Map]) -> Map:
    """Return what somebody receives as one stream: bits together, the worst of the rest."""
    rates = [each["bitrate_bps"] for each in received if each["bitrate_bps"] is not None]
    codecs = {each["codec"] for each in received if each["codec"]}
    return {
        "codec": codecs.pop() if len(codecs) == 1 else "",
        "width": 0,
        "height": 0,
        "bitrate_bps": sum(rates) if rates else None,
        "fraction_lost": max(each["fraction_lost"] for each in received),
        "jitter_s": max(each["jitter_s"] for each in received),
        "rtt_s": max((e["rtt_s"] for e in received if e["rtt_s"] is not None), default=None),
        "nacked": sum(each["nacked"] for each in received),
        "key_frames_asked": sum(each["key_frames_asked"] for each in received),
    }


def _stream(name: str, stream: str, figures: Map, connection: Map | None) -> Line:
    size = f"{figures['width']}x{figures['height']}" if figures["width"] else ""
    cells = [
        name,
        stream,
        figures["codec"] or "",
        size,
        _figure(figures["bitrate_bps"], 1e-3),
        _figure(figures["fraction_lost"], 100, digits=1),
        _figure(figures["jitter_s"], 1000),
        _figure(figures["rtt_s"], 1000),
        str(figures["nacked"]),
        str(figures["key_frames_asked"]),
        (connection or {}).get("path") or "–",
    ]
    return Line(_row(cells, STREAM_COLUMNS), _light(figures))


def _figure(value: float | None, factor: float, digits: int = 0) -> str:
    return "–" if value is None else f"{value * factor:.{digits}f}"


def _light(figures: Map) -> str:
    lost, rtt_s = figures["fraction_lost"] or 0.0, figures["rtt_s"] or 0.0
    if lost >= BAD_LOSS or rtt_s >= BAD_RTT_S:
        return RED
    return YELLOW if lost >= WARN_LOSS or rtt_s >= WARN_RTT_S else ""


def _worst_of(people: Sequence[Map]) -> float:
    return max(
        (
            each["fraction_lost"] or 0.0
            for person in people
            for each in (*person["tracks"], *person["subscriptions"])
        ),
        default=0.0,
    )
