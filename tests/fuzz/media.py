"""Fuzz the parsers of the SFU: `python -m tests.fuzz.media --seconds 60 --seed 1`."""

import asyncio
import random
import sys
from collections.abc import Callable, Set
from functools import cache
from pathlib import Path
from struct import pack

import msgpack
from aioice import stun

from sfu import negotiation, rewrite_pure, rtcp, rtp, sdp, transport_feedback
from sfu.aiortc_seam import Certificate
from sfu.av1 import av1_key_frame
from sfu.codec import AUDIO_LEVEL, MID, TRANSPORT_SEQUENCE
from sfu.conference import Conference
from sfu.control import ControlBroken, Map, Unpacker
from sfu.errors import REFUSALS, FramingError, Refused, RtcpError, RtpError, SdpError, StunError
from sfu.facts import MemoryFacts
from sfu.forwarding import Publisher, Subscriber
from sfu.framing import LIMIT_BYTES, FrameReader, frame
from sfu.ice import Credentials, IceAgent
from sfu.ice import Path as IcePath
from sfu.keyframes import KEY_FRAMES
from sfu.publishing import OFFERED_SETUPS, sent_media
from sfu.rewrite import find_element, normalise, read_header
from sfu.sdp import LocalTransport
from sfu.signaling import Signaling
from sfu.stun import parse_check
from sfu.transport import Transports
from tests.fuzz.campaign import Target, run
from tests.sfu.packets import (
    NUMBERED,
    OPUS,
    PUBLISHED,
    SUBSCRIBED,
    VP8,
    Wire,
    one_byte,
    two_byte,
    vp8_delta,
    vp8_key,
)
from tests.sfu.packets import rtp as packet

RECORDED = Path(__file__).parents[1] / "sfu" / "sdp"

STUN_CAUSES = {
    "stun_malformed",
    "stun_not_a_check",
    "stun_no_username",
    "stun_unknown_user",
    "stun_bad_integrity",
    "stun_address_held",
}
RTP_CAUSES = {
    "rtp_short",
    "rtp_version",
    "rtp_csrc",
    "rtp_extension",
    "rtp_padding",
    "rtp_element",
    "rtx_short",
}
RTCP_CAUSES = {"rtcp_short", "rtcp_version", "rtcp_length", "rtcp_padding", "rtcp_block"}

_SESSION = Credentials("ours", "p" * 24)
_PATH = IcePath(0, ("203.0.113.9", 9))


def _documented(cause: str, table: Set[str]) -> str:
    assert cause in table, cause
    return cause


# STUN


def _attempt_check(data: bytes) -> object:
    """Give a check to an agent that knows one session; a wrong one is answered by nothing."""
    agent = IceAgent(bytes)
    session = agent.open(0.0)
    session.local = _SESSION
    agent._by_ufrag = {_SESSION.ufrag: session}
    try:
        answer = agent.receive_check(data, _PATH, 1.0)
    except StunError as error:
        cause = _documented(error.cause, STUN_CAUSES)
        return cause, agent.find(_PATH), *_kind_of_check(data)
    told = stun.parse_message(answer.datagram)
    assert told.check_message_integrity(_SESSION.password.encode())
    # Never more than a browser's check by what the mapped address and the integrity take.
    assert len(answer.datagram) <= 128
    return "answered", answer.moved


def _kind_of_check(data: bytes) -> tuple[object, ...]:
    try:
        check = parse_check(data)
    except StunError:
        return ()
    return check.nominates, check.controlled, len(check.message.attributes)


def _check(**extra: object) -> bytes:
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.transaction_id = b"t" * 12
    request.attributes["USERNAME"] = f"{_SESSION.ufrag}:theirs"
    request.attributes["PRIORITY"] = 1
    for name, value in extra.items():
        request.attributes[name.replace("_", "-")] = value
    request.add_message_integrity(_SESSION.password.encode())
    request.add_fingerprint()
    return bytes(request)


# RTP, RTX


def _attempt_rtp(data: bytes) -> object:
    """Read, look for elements and rewrite with both twins; both must say the same."""
    compiled = _outcome(lambda: _rewritten(data, read_header, find_element, normalise))
    pure = _outcome(
        lambda: _rewritten(
            data, rewrite_pure.read_header, rewrite_pure.find_element, rewrite_pure.normalise
        )
    )
    assert compiled == pure, "the twins differ"
    return (
        compiled
        if isinstance(compiled, str)
        else ("packet", data[0] & 0xF0, len(compiled[1]) // 64)
    )


def _rewritten(data, read, find, write):  # type: ignore[no-untyped-def]
    header = read(data)
    found = [find(data, header, identifier) for identifier in (1, 2, 4, 15, 255)]
    identifiers = bytes(i if i % 3 else 0 for i in range(256))
    return found, write(data, header, identifiers, 96, 70_000, 2**33, 3, 7)


def _outcome(attempt: Callable[[], object]) -> object:
    try:
        return attempt()
    except RtpError as error:
        return _documented(error.cause, RTP_CAUSES)


def _attempt_rtx(data: bytes) -> object:
    def unwrap() -> object:
        header = rtp.read_header(data)
        inner = rtp.unwrap_rtx(data, header, 96, 1)
        rtp.read_header(inner)
        again = rtp.wrap_rtx(inner, 97, header[2], header[4])
        assert rtp.unwrap_rtx(again, rtp.read_header(again), 96, 1) == inner
        return "unwrapped", len(inner) > 12

    return _outcome(unwrap)


def _attempt_forwarding(data: bytes) -> object:
    """Give a publisher a stream of packets, each behind its length: nothing may raise."""
    seed = random.Random(1)
    up, down = Wire(), Wire()
    publisher = Publisher(up, random=seed.randbytes)
    subscriber = Subscriber(down, random=seed.randbytes)
    audio = publisher.add_track("a", "audio", "microphone", "0", [OPUS], NUMBERED, [0x1000])
    video = publisher.add_track(
        "v", "video", "camera", "1", [VP8], NUMBERED, [0x2000], {0x2001: 0x2000}
    )
    for number, (track, codec) in enumerate(((audio, OPUS), (video, VP8))):
        subscriber.subscribe(
            track,
            mid=str(number),
            ssrc=7 + number,
            rtx_ssrc=17 if codec is VP8 else None,
            codecs=[codec],
            extensions=SUBSCRIBED | {TRANSPORT_SEQUENCE: 6},
        )
    position, now = 0, 100.0
    while position + 2 <= len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big") % 1500
        received, position, now = data[position + 2 : end], end, now + 0.01
        (publisher.receive_rtcp if received[1:2] >= b"\xc0" else publisher.receive_rtp)(
            received, now
        )
        publisher.handle_timeout(now)
        subscriber.handle_timeout(now)
    for sent in down.rtp:
        rtp.read_header(sent)
    for sent in up.rtcp + down.rtcp:
        rtcp.parse(sent)
    return len(down.rtp) > 0, len(up.rtcp) > 0, tuple(sorted(publisher.tally.dropped))


# RTCP


def _attempt_rtcp(data: bytes) -> object:
    """Read a compound; then let both ends of the SFU take it, who must not mind."""
    try:
        blocks = rtcp.parse(data)
    except RtcpError as error:
        outcome: object = _documented(error.cause, RTCP_CAUSES)
    else:
        outcome = tuple(type(block).__name__ for block in blocks[:3])
    seed = random.Random(1)
    wire = Wire()
    publisher = Publisher(wire, random=seed.randbytes)
    track = publisher.add_track("v", "video", "camera", "0", [VP8], PUBLISHED, [1])
    subscriber = Subscriber(wire, random=seed.randbytes)
    subscriber.subscribe(track, mid="0", ssrc=1, rtx_ssrc=2, codecs=[VP8], extensions=SUBSCRIBED)
    publisher.receive_rtp(packet(1, ssrc=1, payload_type=96, payload=vp8_key()), 1.0)
    for core in (publisher, subscriber):
        core.receive_rtcp(data, 2.0)
        core.handle_timeout(2.1)
    # At most a ring of packets, whatever is asked for.
    assert len(wire.rtp) <= 501
    return outcome


_RTCP_SEEDS = {
    "sr": rtcp.sender_report(1, 1 << 40, 90_000, 5, 500),
    "sr_with_block": pack(
        ">BBHIQIIIIIIIII", 0x81, 200, 12, 1, 1 << 40, 9, 5, 500, 1, 0, 9, 1, 1, 1
    ),
    "rr": rtcp.receiver_report(1, [rtcp.report_block(1, 5, 3, 70_000, 9, 1, 1)]),
    "sdes": rtcp.source_description([(1, "p-1"), (2, "p-2")]),
    "bye": bytes.fromhex("81cb0001 00000001"),
    "bye_with_reason": bytes.fromhex("81cb0003 00000001 04676f6e 65000000"),
    "nack": rtcp.nack(1, 1, [70_001, 70_003, 70_040]),
    "pli": rtcp.picture_loss(1, 1),
    "fir": rtcp.full_intra_request(1, 1, 7),
    "remb": rtcp.bitrate_limit(1, 900_000, [1, 2]),
    "transport_feedback": bytes.fromhex("8fcd0005 00000001 00000001 0001000200000003 20020404"),
    "xr": bytes.fromhex("80cf0004 00000001 04000002 0000000000000001"),
    "app": bytes.fromhex("80cc0002 00000001 6e616d65"),
}
_RTCP_WORDS = [
    bytes((first, kind)) for first in (0x80, 0x81, 0x9F, 0xA0) for kind in range(200, 208)
]


def _attempt_transport_feedback(data: bytes) -> object:
    """Read a body; what was read is written and read again."""
    try:
        read = transport_feedback.parse(data)
    except RtcpError as error:
        return _documented(error.cause, RTCP_CAUSES)
    told, base = list(read.arrivals), read.base
    while any(ticks is not None for ticks in told):
        body, count = transport_feedback.build(base, read.number, told)
        again = transport_feedback.parse(body)
        first = next(ticks for ticks in told if ticks is not None)
        # The reference time has 24 bits: far out, the clock is another one.
        written = next(ticks for ticks in again.arrivals if ticks is not None)
        moved = [None if t is None else t + first - written for t in again.arrivals]
        assert moved == told[:count], data.hex()
        told, base = told[count:], base + count
    return len(read.arrivals) > 7, None in read.arrivals


# Payload descriptors


def _attempt_payload(find: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def attempt(data: bytes) -> object:
        size = find(data)
        if size is None:
            return "none"
        width, height = size  # type: ignore[misc]
        assert max(width, height) <= 0x10000, size
        # What is read of a packet is its beginning: a cut one has the same size or none.
        assert find(data[:128]) in (size, (0, 0), None)
        return "key frame", bool(width), len(data) > 128

    return attempt


_VP9 = bytes.fromhex("824983420013f00167f00028") + bytes(40)
_AV1 = bytes.fromhex("0a0b00000024c4ffdf00a2ca02")[2:]


# SDP


def _attempt_sdp(data: bytes) -> object:
    """Read and answer a description; the answer must be readable."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        description = sdp.parse(text)
        carrier = negotiation.check_transport(description, OFFERED_SETUPS)
        sent = sent_media(description)
    except (SdpError, Refused) as error:
        return type(error).__name__, str(error)[:60]
    local = LocalTransport(
        carrier.credentials or _SESSION, _certificate().fingerprint, (), "passive"
    )
    answered = sdp.build(
        1,
        1,
        local,
        [
            negotiation.answer(m, negotiation.acceptable_codecs(m)[:1], "recvonly")
            if negotiation.supported(m, description)
            else negotiation.reject(m)
            for m in description.media
        ],
    )
    if any(negotiation.supported(m, description) for m in description.media):
        again = sdp.parse(answered)
        assert [m.mid for m in again.media] == [m.mid for m in description.media]
    return len(description.media), len(sent)


def _attempt_fragment(data: bytes) -> object:
    try:
        found = sdp.parse_fragment(data.decode("utf-8", "surrogateescape"))
    except SdpError as error:
        return str(error)
    return found is None


@cache
def _certificate() -> Certificate:
    return Certificate()


# Control and framing


class _Hub:
    def push(self, event: Map) -> None:
        """Hear nothing."""


_runner: asyncio.Runner | None = None


def _attempt_control(data: bytes) -> object:
    """Let a conference answer what a hub may have sent: each request an answer or a refusal."""
    global _runner  # noqa: PLW0603 - making a loop takes longer than the attempt
    _runner = _runner or asyncio.Runner()
    return _runner.run(_ask(data))


async def _ask(data: bytes) -> object:
    try:
        requests = Unpacker().receive_data(data)
    except ControlBroken as error:
        return "broken", str(error)[:40]
    transports = Transports(_certificate(), lambda datagram, path: None, random.randbytes)
    conference = Conference(
        transports, MemoryFacts(), clock=lambda: 0.0, wall_ms=lambda: 0, random=random.randbytes
    )
    signaling = Signaling(conference)
    outcomes: list[str] = []
    for request in requests[:10]:
        try:
            answered = signaling.receive_request(_Hub(), request)
        except Refused as refused:
            outcomes.append(_documented(refused.reason, REFUSALS.keys() - {"internal"}))
        else:
            msgpack.packb(answered)
            outcomes.append(str(request.get("op")))
        for _, event in conference.drain_events():
            msgpack.packb(event)
    conference.drain()
    return tuple(sorted(set(outcomes)))


def _request(**fields: object) -> bytes:
    body = msgpack.packb({"id": 1, **fields})
    return len(body).to_bytes(4, "big") + body


def _relay(kind: str, **fields: object) -> bytes:
    return _request(
        op="frame",
        session="s",
        user="u",
        name="n",
        room="r",
        may_publish=True,
        frame={"t": f"media.{kind}", "room": "r", **fields},
    )


def _attempt_framing(data: bytes) -> object:
    """Read the same bytes whole and one by one: the same must come out."""
    whole, parts = _unframed([data]), _unframed([data[i : i + 1] for i in range(len(data))])
    if whole is None or parts is None:
        # A length out of bounds is seen at the same place, after the same packets.
        assert (whole, parts) == (None, None)
        return "too long"
    assert whole == parts
    assert all(0 < len(each) <= LIMIT_BYTES for each in whole)
    return min(len(whole), 5)


def _unframed(pieces: list[bytes]) -> list[bytes] | None:
    reader, found = FrameReader(), []
    for piece in pieces:
        try:
            found += reader.receive_data(piece)
        except FramingError:
            return None
    return found


_OFFER = (RECORDED / "chromium_publishes.sdp").read_text()
_SDPS = [path.read_bytes() for path in sorted(RECORDED.glob("*.sdp"))]
_RTP_SEEDS = [
    packet(1, ssrc=0x1000, extension=one_byte((PUBLISHED[AUDIO_LEVEL], b"\x10"))),
    packet(1, ssrc=0x2000, payload_type=96, payload=vp8_key()),
    packet(2, ssrc=0x2000, payload_type=96, payload=vp8_delta(), padding=4),
    packet(3, ssrc=9, csrcs=[1, 2], extension=two_byte((PUBLISHED[MID], b"0"), (200, b""))),
    packet(4, ssrc=0x2001, payload_type=97, payload=b"\x00\x01" + vp8_delta()),
]
_RTP_WORDS = [
    b"\x31\x00\x07",
    b"\xa0l",
    b"\xb0l",
    b"\xbe\xde\x00\x01",
    b"\x10\x00\x00\x01",
    b"\x80",
    b"\x90",
    b"\xa0",
    b"\xbf",
    b"\xf0",
]
_STUN_WORDS = [b"\x21\x12\xa4\x42", b"\x00\x06\x00\x04", b"\x00\x08\x00\x14", b"\x80\x28\x00\x04"]
_SDP_WORDS = (
    b"a=ssrc:1 cname:c\r\n|a=ssrc-group:FID 1 2\r\n|a=extmap:1 x\r\n|m=video 9 RTP/SAVP 96\r\n"
    b"|a=rtpmap:96 AV1/90000\r\n|a=fmtp:96 apt=96\r\n|a=mid:|a=group:BUNDLE 0\r\n|a=rtcp-fb:* nack"
    b"|a=candidate:|99999999999|\xff|\xed\xa0\x80|a=simulcast:send h;l\r\n|a=rid:h send\r\n"
).split(b"|")

TARGETS = (
    Target(
        "stun",
        [
            _check(),
            _check(USE_CANDIDATE=None, ICE_CONTROLLING=7),
            _check(ICE_CONTROLLED=7),
            _check(XOR_MAPPED_ADDRESS=("2001:db8::1", 9), ERROR_CODE=(487, "x")),
        ],
        [*_STUN_WORDS, b"ours:", b"\x00\x01\x00\x00", b"\x01\x01\x00\x00"],
        _attempt_check,
    ),
    Target("rtp", _RTP_SEEDS, _RTP_WORDS, _attempt_rtp),
    Target("rtx", _RTP_SEEDS, _RTP_WORDS, _attempt_rtx),
    Target(
        "forwarding",
        [b"".join(map(frame, _RTP_SEEDS)), b"".join(map(frame, _RTCP_SEEDS.values()))],
        [*_RTP_WORDS, *map(frame, _RTP_SEEDS)],
        _attempt_forwarding,
    ),
    *(
        Target(f"rtcp_{name}", [seed, seed + _RTCP_SEEDS["sdes"]], _RTCP_WORDS, _attempt_rtcp)
        for name, seed in _RTCP_SEEDS.items()
    ),
    Target(
        "transport_feedback",
        [
            bytes.fromhex("0001000200000003 20020404"),
            bytes.fromhex("0001000300000300 a8000404"),
            bytes.fromhex("0005000300000000 400300107fff8000"),
            transport_feedback.build(9, 1, [4000, None, 4010, 9000, None, None, 3000])[0],
        ],
        [b"\x20\x02", b"\x9f\xff", b"\xda\xaa", b"\x60\x01", b"\x7f\xff", b"\x80\x00"],
        _attempt_transport_feedback,
    ),
    Target(
        "vp8",
        [vp8_key(), vp8_delta()],
        [b"\x9d\x01\x2a", b"\x90\xf0\x80"],
        _attempt_payload(KEY_FRAMES["VP8"]),
    ),
    Target(
        "h264",
        [
            bytes.fromhex("6742c01f8c8d40501e900f08846a"),
            bytes.fromhex("78000e6742c01f8c8d40501e900f08846a000468ce3c80"),
            b"\x7c\x85" + bytes(40),
        ],
        [b"\x00\x00\x03", b"\x67\x64", b"\x78\x00", b"\x7c\x87", b"\xff\xff"],
        _attempt_payload(KEY_FRAMES["H264"]),
    ),
    Target(
        "vp9",
        [
            b"\x08" + _VP9,
            b"\xa8\x80\x05\x00\x07" + _VP9,
            b"\x0a\x38\x01\x40\x00\xb4\x02\x80\x01\x68\x01\x04\x01" + _VP9,
        ],
        [b"\x49\x83\x42", b"\x8a", b"\x0a\xf8", b"\xff"],
        _attempt_payload(KEY_FRAMES["VP9"]),
    ),
    Target(
        "av1",
        [
            b"\x18" + _AV1,
            b"\x28" + bytes((len(_AV1),)) + _AV1 + bytes(60),
            b"\x08" + bytes((len(_AV1),)) + _AV1,
        ],
        [b"\x08\x0b", b"\x80\x80\x80\x80\x80", b"\x0a\xff", b"\x0e\x00"],
        _attempt_payload(av1_key_frame),
    ),
    Target("sdp", _SDPS, _SDP_WORDS, _attempt_sdp),
    Target(
        "sdp_fragment",
        [
            sdp.build_fragment(
                LocalTransport(_SESSION, _certificate().fingerprint, (), "passive"), "audio", "0"
            ).encode()
        ],
        _SDP_WORDS,
        _attempt_fragment,
    ),
    Target(
        "control",
        [
            _relay("join")
            + _relay("publish", sdp=_OFFER, tracks=[{"mid": "1", "source": "screen"}]),
            _relay("join")
            + _relay("mute", track="t", muted=True)
            + _relay("restart")
            + _relay("leave"),
            _relay("join")
            + _relay("subscribe", auto=False, tracks=["t"])
            + _relay("answer", n=1, sdp=_OFFER),
            _request(op="whip", room="r", user="u", name="n", sdp=_OFFER)
            + _request(op="whep", room="r", user="v", name="n", sdp=_OFFER),
            _request(op="patch", participant="p", sdp_fragment="a=ice-ufrag:abcd")
            + _request(op="delete", participant="p"),
            _request(op="sessions", sessions=["s"])
            + _request(op="stats")
            + _request(op="session_closed", session="s"),
        ],
        [
            msgpack.packb(word)
            for word in ("op", "frame", "t", "media.join", "sdp", None, 2**63, b"", [], {})
        ],
        _attempt_control,
    ),
    Target(
        "framing",
        [frame(b"a" * 20) + frame(b"") + frame(b"b" * 300)],
        [b"\x00\x00", b"\x08\x00", b"\x08\x01", b"\x00\x01x"],
        _attempt_framing,
    ),
)

if __name__ == "__main__":
    sys.exit(run(TARGETS, "Fuzz the parsers of the SFU."))
