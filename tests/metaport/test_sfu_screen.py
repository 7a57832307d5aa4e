"""What an operator sees of the SFUs, in a terminal of 80 columns and 24 rows."""

import pytest

from metaport.sfu_screen import RED, YELLOW, Sfu, screen
from metering.columns import cells


def stream(**figures):
    return {
        "codec": "VP8", "width": 1280, "height": 720, "bitrate_bps": 812_400,
        "fraction_lost": 0.004, "jitter_s": 0.0031, "rtt_s": 0.024, "nacked": 12,
        "key_frames_asked": 3, "source": "camera", "muted": False,
    } | figures  # fmt: skip


def person(name, tracks=(), subscriptions=(), state="connected"):
    connection = {"state": state, "path": "udp4"}
    return {
        "name": name,
        "tracks": list(tracks),
        "subscriptions": list(subscriptions),
        "publishing": connection if tracks else None,
        "receiving": connection if subscriptions else None,
    }


def sfu(name="sfu", rooms=(), **load):
    rooms = [{"room": room, "participants": people} for room, people in dict(rooms).items()]
    stats = {"rooms": len(rooms), "participants": 2, "dropped": {"stun": 3, "rtp": 4}}
    return Sfu(name, stats, load, rooms, 150.0, 6600.4)


def texts(sfus, lang="en", **size):
    return [line.text for line in screen(sfus, lang, **size)]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_line_for_each_stream_sent_and_one_for_all_received(lang):
    talker = person("방문자", [stream()], [stream(fraction_lost=0.01), stream(rtt_s=None)])
    shown = texts([sfu(rooms={"광장": [talker]})], lang)
    assert all(cells(text) <= 80 for text in shown)
    if lang == "en":
        assert shown[2:] == [
            "sfu              1       2       150      6600         7 ok",
            "",
            "person        stream       codec size       kbps loss%  jit  rtt   nack key path",
            "광장  (sfu, 1 in it)",
            "방문자        ↑ camera     VP8   1280x720    812   0.4    3   24     12   3 udp4",
            "              ↓ 2 streams  VP8              1625   1.0    3   24     24   6 udp4",
        ]
    else:
        assert shown[6].startswith("방문자        ↑ 카메라     VP8   1280x720    812   0.4")
        assert shown[7].startswith("              ↓ 2개        VP8")


def test_the_worst_comes_first_and_is_lit():
    good, poor = person("good", [stream()]), person("poor", [stream(fraction_lost=0.05)])
    broken = person("broken", [stream(fraction_lost=0.3, muted=True)])
    lines = screen([sfu(rooms={"a": [good], "b": [good, broken, poor]})], "en")
    assert [line.text.split()[0] for line in lines[5:]] == [
        "b",
        "broken",
        "poor",
        "good",
        "a",
        "good",
    ]
    assert [line.light for line in lines if "camera" in line.text] == [RED, YELLOW, "", ""]
    assert "↑ camera off" in lines[6].text


def test_an_sfu_that_is_away_or_drains_says_so():
    shown = screen([Sfu("sfu", None), sfu("sfu-1", draining=True)], "ko")
    assert (shown[2].text.split()[-2:], shown[2].light) == (["응답", "없음"], RED)
    assert (shown[3].text.split()[-2:], shown[3].light) == (["정리", "중"], YELLOW)
    assert shown[-1].text == "음성·영상에 참여한 사람이 없습니다"


def test_what_does_not_fit_is_counted():
    crowd = [person(f"visitor-{n}", [stream()]) for n in range(40)]
    shown = texts([sfu(rooms={"plaza": crowd})], rows=24)
    assert len(shown) == 24
    assert shown[-1] == "… 23 more lines (--room ROOM)"
    assert len(texts([sfu(rooms={"plaza": crowd})])) == 46


def test_people_without_streams_and_without_a_connection_are_there():
    silent = person("listener")
    gone = {**person("gone"), "publishing": {"state": "lost", "path": None}}
    shown = texts([sfu(rooms={"plaza": [silent, gone]})])
    assert shown[6].split() == ["listener", "no", "streams"]
    assert shown[7].split() == ["gone", "lost"]


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_other_sizes_of_terminal_hold(columns):
    talker = person("방\x1b[31m문자" * 9, [stream()])
    shown = texts([sfu(rooms={"광장": [talker]})], columns=columns, rows=5)
    assert len(shown) == 5
    assert all(cells(text) <= columns and "\x1b" not in text for text in shown)
