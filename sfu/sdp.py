"""Session descriptions: reading those of peers, writing ours (RFC 8866, 8829, 8839, 9143).

Reading keeps what an SFU needs and ignores the rest; writing always bundles everything on one
transport with `rtcp-mux`. What is accepted, and in which order, is `sfu.negotiation`'s business.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from sfu.codec import Codec
from sfu.errors import SdpError
from sfu.ice import Credentials

# A description is read while media waits: the worst one within these limits takes 20 ms, as long as
# a packet of voice. Chromium answers 150 m-lines with 115 KB in 4,000 lines.
TEXT_LIMIT = 256 << 10
LINES_LIMIT = 4500
# A BUNDLE group of 150 mids has less than 1,000 characters.
LINE_LIMIT = 4096
MEDIA_LIMIT = 150
# RFC 3551 section 6: payload types have seven bits. Chromium offers about 45 for video.
FORMATS_LIMIT = 128
# Three simulcast layers with their retransmissions, twice.
SSRCS_LIMIT = 12
# One for each hash function of RFC 8122.
FINGERPRINTS_LIMIT = 8

PROFILE = "UDP/TLS/RTP/SAVPF"
# What peers write where RFC 8829 asks for PROFILE; they all mean the same.
PROFILES = frozenset({PROFILE, "TCP/TLS/RTP/SAVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVP"})

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,64}\Z")
# RFC 8839 section 5.4.
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
_HEX = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})+\Z")


class Fingerprint(NamedTuple):
    """A hash of a DTLS certificate (RFC 8122)."""

    algorithm: str
    value: str


class Candidate(NamedTuple):
    """One of our host candidates; over TCP the peer connects to us (RFC 6544: passive)."""

    address: str
    port: int
    transport: Literal["udp", "tcp"] = "udp"


@dataclass
class Media:
    """One m-line of a peer's description."""

    kind: str
    port: int
    profile: str
    formats: list[str]
    mid: str = ""
    direction: Direction = "sendrecv"
    bundle_only: bool = False
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    codecs: list[Codec] = field(default_factory=list)
    feedback: dict[int, set[str]] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    extmap_allow_mixed: bool = False
    # What `sfu.negotiation` makes of `codecs`, once it was asked.
    acceptable: tuple[Codec, ...] | None = None
    ssrcs: list[int] = field(default_factory=list)
    # RTX SSRC -> the media SSRC it repairs (RFC 5576 FID groups).
    rtx_ssrcs: dict[int, int] = field(default_factory=dict)
    credentials: Credentials | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: str = ""

    @property
    def rejected(self) -> bool:
        """Tell whether the m-line is switched off: port 0, unless it only says `bundle-only`."""
        return self.port == 0 and not self.bundle_only


@dataclass
class Description:
    """A peer's session description."""

    media: list[Media]
    bundle: list[str]

    @property
    def transport(self) -> Media:
        """Return the m-line whose transport all share (RFC 9143). Raises SdpError."""
        for media in self.media:
            if media.mid in self.bundle and not media.rejected:
                return media
        raise SdpError("no m-line is in use")


class _Attributes:
    """The `a=` lines of a section, by name, in their order."""

    def __init__(self, lines: Iterable[str], outer: "_Attributes | None" = None) -> None:
        self._values: dict[str, list[str]] = {}
        self._outer = outer
        for line in lines:
            if line.startswith("a="):
                name, _, value = line[2:].partition(":")
                self._values.setdefault(name, []).append(value.strip())

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def has(self, name: str) -> bool:
        return name in self._values

    def inherits(self, name: str) -> bool:
        return self.has(name) or (self._outer is not None and self._outer.has(name))

    def one(self, name: str) -> str:
        """Return the section's own value, else the session's, else ''."""
        if values := self._values.get(name):
            return values[0]
        return self._outer.one(name) if self._outer is not None else ""


def parse(text: str) -> Description:
    """Read an offer or answer.

    Raises:
        SdpError: not SDP, or a part of it that we need is missing or wrong.
    """
    sections = _sections(text)
    session = _Attributes(sections[0])
    media = [
        _parse_media(lines, index, _Attributes(lines[1:], session))
        for index, lines in enumerate(sections[1:])
    ]
    if not media:
        raise SdpError("no m-line")
    mids = [m.mid for m in media]
    if len(set(mids)) != len(mids):
        raise SdpError("two m-lines with one mid")
    return Description(media, _bundle(session, media))


def _sections(text: str) -> list[list[str]]:
    if not text.lstrip("\r\n").startswith(("v=0\n", "v=0\r\n")):
        raise SdpError("does not begin with v=0")
    lines = _lines(text)
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > MEDIA_LIMIT:
        raise SdpError("too many m-lines")
    return [lines[start:end] for start, end in pairwise([0, *starts, len(lines)])]


def _lines(text: str) -> list[str]:
    if len(text) > TEXT_LIMIT or text.count("\n") > LINES_LIMIT:
        raise SdpError("too long")
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not all(line[1:2] == "=" for line in lines) or not "".join(lines).isprintable():
        raise SdpError("a line that is not SDP")
    if max(map(len, lines), default=0) > LINE_LIMIT:
        raise SdpError("a line that is too long")
    return lines


def _bundle(session: _Attributes, media: Sequence[Media]) -> list[str]:
    for value in session.all("group"):
        semantics, *mids = value.split() or [""]
        if semantics == "BUNDLE":
            return mids
    if len(media) > 1:
        raise SdpError("several m-lines need one BUNDLE group")
    return [media[0].mid]


def _parse_media(lines: Sequence[str], index: int, attributes: _Attributes) -> Media:
    fields = lines[0][2:].split()
    if len(fields) < 4:
        raise SdpError("an m-line with too few fields")
    kind, port, profile = fields[:3]
    formats = list(dict.fromkeys(fields[3:]))
    if len(formats) > FORMATS_LIMIT:
        raise SdpError("too many formats")
    media = Media(kind, _integer(port.partition("/")[0], 65535), profile, formats)
    media.mid = attributes.one("mid") or str(index)
    if not _TOKEN.match(media.mid):
        raise SdpError("a mid that is not a token")
    media.direction = _direction(attributes)
    media.bundle_only = attributes.has("bundle-only")
    media.rtcp_mux = attributes.has("rtcp-mux")
    media.rtcp_rsize = attributes.has("rtcp-rsize")
    media.setup = attributes.one("setup")
    media.credentials = _credentials(attributes)
    media.fingerprints = _fingerprints(attributes)
    if kind in {"audio", "video"}:
        media.codecs = _codecs(kind, formats, attributes)
        media.feedback = _feedback(media.codecs, attributes)
        media.extensions = _extensions(attributes)
        media.extmap_allow_mixed = attributes.inherits("extmap-allow-mixed")
        media.ssrcs, media.rtx_ssrcs = _ssrcs(attributes)
    return media


def _integer(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > most:
        raise SdpError("a number that is none, or out of its range")
    return int(text)


def _direction(attributes: _Attributes) -> Direction:
    for direction in DIRECTIONS:
        if attributes.has(direction):
            return direction
    return "sendrecv"


def _credentials(attributes: _Attributes) -> Credentials | None:
    ufrag, password = attributes.one("ice-ufrag"), attributes.one("ice-pwd")
    if not ufrag and not password:
        return None
    if not _UFRAG.match(ufrag) or not _PASSWORD.match(password):
        raise SdpError("ICE credentials that break RFC 8839")
    return Credentials(ufrag, password)


def _fingerprints(attributes: _Attributes) -> tuple[Fingerprint, ...]:
    found = []
    for value in attributes.all("fingerprint") or [attributes.one("fingerprint")]:
        algorithm, _, digest = value.partition(" ")
        if not value:
            continue
        if not _TOKEN.match(algorithm) or not _HEX.match(digest):
            raise SdpError("a fingerprint that is none")
        found.append(Fingerprint(algorithm.lower(), digest.upper()))
    if len(found) > FINGERPRINTS_LIMIT:
        raise SdpError("too many fingerprints")
    return tuple(found)


def _codecs(kind: str, formats: Sequence[str], attributes: _Attributes) -> list[Codec]:
    """Return the codecs in the peer's order of preference, each with its RTX payload type."""
    rtpmaps: dict[int, list[str]] = {}
    fmtps: dict[int, str] = {}
    for value in attributes.all("rtpmap"):
        payload_type, _, encoding = value.partition(" ")
        rtpmaps[_integer(payload_type, 127)] = encoding.split("/")
    for value in attributes.all("fmtp"):
        payload_type, _, text = value.partition(" ")
        if payload_type.isdigit():
            fmtps[_integer(payload_type, 127)] = text.strip()
    rtx: dict[int, int] = {}
    for repair in (n for n, encoding in rtpmaps.items() if encoding[0].lower() == "rtx"):
        apt = parameter(fmtps.get(repair, ""), "apt")
        if apt.isdigit():
            rtx.setdefault(_integer(apt, 127), repair)
    codecs = []
    for format_ in formats:
        number = _integer(format_, 127)
        name, *rates = rtpmaps.get(number, [""])
        if not rates or name.lower() == "rtx":
            continue
        clock_rate = _integer(rates[0], 1_000_000)
        channels = _integer(rates[1], 255) if len(rates) > 1 and kind == "audio" else 1
        codecs.append(
            Codec(name, number, clock_rate, channels, fmtps.get(number, ""), rtx.get(number))
        )
    return codecs


def parameter(fmtp: str, name: str) -> str:
    """Return the value of `name` in the `a=b;c=d` of an fmtp line, '' when it is not there."""
    found = _parameter(name).search(fmtp)
    return found[1].strip() if found is not None else ""


@cache
def _parameter(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|;)\s*{re.escape(name)}\s*=([^;]*)", re.IGNORECASE)


def _feedback(codecs: Sequence[Codec], attributes: _Attributes) -> dict[int, set[str]]:
    feedback: dict[int, set[str]] = {codec.payload_type: set() for codec in codecs}
    all_kinds: set[str] = set()
    for value in attributes.all("rtcp-fb"):
        target, _, kind = value.partition(" ")
        if target == "*":
            all_kinds.add(kind.strip())
        elif target.isdigit() and (number := _integer(target, 127)) in feedback:
            feedback[number].add(kind.strip())
    if len(all_kinds) > FORMATS_LIMIT:
        raise SdpError("too many kinds of feedback")
    return {number: kinds | all_kinds for number, kinds in feedback.items()}


def _extensions(attributes: _Attributes) -> dict[str, int]:
    extensions: dict[str, int] = {}
    for value in attributes.all("extmap"):
        identifier, _, rest = value.partition(" ")
        uri = rest.strip().partition(" ")[0]
        number = _integer(identifier.partition("/")[0], 255)
        # RFC 8285 section 5: 1 to 14 fit the one-byte form, which is all we write.
        if 1 <= number <= 14:
            extensions.setdefault(uri, number)
    return extensions


def _ssrcs(attributes: _Attributes) -> tuple[list[int], dict[int, int]]:
    numbers: dict[int, None] = {}
    for value in attributes.all("ssrc"):
        numbers[_integer(value.partition(" ")[0], 0xFFFFFFFF)] = None
    rtx: dict[int, int] = {}
    for value in attributes.all("ssrc-group"):
        semantics, *members = value.split() or [""]
        if semantics == "FID" and len(members) == 2:
            rtx[_integer(members[1], 0xFFFFFFFF)] = _integer(members[0], 0xFFFFFFFF)
    if len(numbers) > SSRCS_LIMIT or len(rtx) > SSRCS_LIMIT:
        raise SdpError("too many SSRCs")
    return [number for number in numbers if number not in rtx], rtx


def parse_fragment(text: str) -> Credentials | None:
    """Read the ICE credentials of a trickle fragment (RFC 8840); `None` when it names none.

    Candidates in it are ignored: an ICE-lite agent learns addresses from checks.

    Raises:
        SdpError: not a fragment of SDP.
    """
    return _credentials(_Attributes(_lines(text)))


# Writing


@dataclass
class LocalMedia:
    """One m-line of our description. A rejected one repeats the peer's kind and formats."""

    kind: str
    mid: str
    direction: Direction
    codecs: Sequence[Codec] = ()
    feedback: Mapping[int, Sequence[str]] = field(default_factory=dict)
    extensions: Mapping[str, int] = field(default_factory=dict)
    extmap_allow_mixed: bool = False
    rtcp_rsize: bool = True
    stream: str = ""
    track: str = ""
    ssrc: int = 0
    rtx_ssrc: int | None = None
    rejected: bool = False
    profile: str = PROFILE
    formats: Sequence[str] = ()


@dataclass(frozen=True)
class LocalTransport:
    """What our side of the one bundled transport offers."""

    credentials: Credentials
    fingerprint: Fingerprint
    candidates: Sequence[Candidate]
    setup: Literal["actpass", "passive"]


def build(
    session_id: int, version: int, transport: LocalTransport, media: Sequence[LocalMedia]
) -> str:
    """Write our description. `version` grows by one with each (RFC 8866 section 5.2)."""
    used = [m.mid for m in media if not m.rejected]
    lines = [
        "v=0",
        f"o=- {session_id} {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {' '.join(used)}" if used else "a=group:BUNDLE",
        "a=msid-semantic:WMS *",
    ]
    for part in media:
        if part.rejected:
            lines += _rejected_lines(part)
        else:
            lines += _media_lines(part, transport, first=part.mid == used[0])
    return "\r\n".join(lines) + "\r\n"


def build_fragment(transport: LocalTransport, kind: str, mid: str) -> str:
    """Write the answer to an ICE restart by fragment (RFC 9725 section 4.3.3)."""
    lines = ["a=ice-lite", f"a=group:BUNDLE {mid}", f"m={kind} 9 {PROFILE} 0", f"a=mid:{mid}"]
    lines += _credential_lines(transport)
    lines += _candidate_lines(transport.candidates)
    return "\r\n".join(lines) + "\r\n"


def _rejected_lines(media: LocalMedia) -> list[str]:
    return [
        f"m={media.kind} 0 {media.profile} {' '.join(media.formats) or '0'}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{media.mid}",
        "a=inactive",
    ]


def _media_lines(media: LocalMedia, transport: LocalTransport, *, first: bool) -> list[str]:
    formats = []
    for codec in media.codecs:
        formats.append(str(codec.payload_type))
        if codec.rtx_payload_type is not None:
            formats.append(str(codec.rtx_payload_type))
    lines = [
        f"m={media.kind} 9 {media.profile} {' '.join(formats)}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{media.mid}",
        f"a={media.direction}",
        *_credential_lines(transport),
        f"a=fingerprint:{transport.fingerprint.algorithm} {transport.fingerprint.value}",
        f"a=setup:{transport.setup}",
        "a=rtcp-mux",
    ]
    if media.rtcp_rsize:
        lines.append("a=rtcp-rsize")
    if media.extmap_allow_mixed:
        lines.append("a=extmap-allow-mixed")
    lines += [f"a=extmap:{number} {uri}" for uri, number in media.extensions.items()]
    for codec in media.codecs:
        lines += _codec_lines(codec, media.feedback.get(codec.payload_type, ()))
    if media.ssrc:
        lines += _source_lines(media)
    # RFC 9143 wants them with the first m-line only, where browsers look; aiortc takes those of
    # the last one, and has no TCP.
    lines += _candidate_lines([c for c in transport.candidates if first or c.transport == "udp"])
    return lines


def _credential_lines(transport: LocalTransport) -> list[str]:
    return [
        f"a=ice-ufrag:{transport.credentials.ufrag}",
        f"a=ice-pwd:{transport.credentials.password}",
    ]


def _codec_lines(codec: Codec, feedback: Sequence[str]) -> list[str]:
    number = codec.payload_type
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    lines = [f"a=rtpmap:{number} {codec.name}/{codec.clock_rate}{channels}"]
    lines += [f"a=rtcp-fb:{number} {kind}" for kind in feedback]
    if codec.fmtp:
        lines.append(f"a=fmtp:{number} {codec.fmtp}")
    if codec.rtx_payload_type is not None:
        lines.append(f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_rate}")
        lines.append(f"a=fmtp:{codec.rtx_payload_type} apt={number}")
    return lines


def _source_lines(media: LocalMedia) -> list[str]:
    """Name the stream (the participant), the track and its SSRCs (RFC 5576, RFC 8830)."""
    lines = [f"a=msid:{media.stream} {media.track}"]
    if media.rtx_ssrc is not None:
        lines.append(f"a=ssrc-group:FID {media.ssrc} {media.rtx_ssrc}")
    ssrcs = [media.ssrc] if media.rtx_ssrc is None else [media.ssrc, media.rtx_ssrc]
    for ssrc in ssrcs:
        lines.append(f"a=ssrc:{ssrc} cname:{media.stream}")
        lines.append(f"a=ssrc:{ssrc} msid:{media.stream} {media.track}")
    return lines


def _candidate_lines(candidates: Sequence[Candidate]) -> list[str]:
    lines = []
    for index, candidate in enumerate(candidates):
        # RFC 8445 section 5.1.2.1: type preference 126 for host, our order as local preference.
        # RFC 6544 section 4.2: 90 keeps TCP behind all of UDP; 4 is passive's direction.
        over_tcp = candidate.transport == "tcp"
        local = (4 << 13) + 8191 - index if over_tcp else 65535 - index
        priority = (90 if over_tcp else 126) << 24 | local << 8 | 255
        lines.append(
            f"a=candidate:{index + 1} 1 {candidate.transport} {priority} "
            f"{candidate.address} {candidate.port} typ host"
            f"{' tcptype passive' if over_tcp else ''}"
        )
    lines.append("a=end-of-candidates")
    return lines
