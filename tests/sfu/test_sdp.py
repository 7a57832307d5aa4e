"""Session descriptions: what is read of browsers' ones, what is refused, what we write."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu import negotiation, sdp
from sfu.codec import AUDIO_LEVEL, MID, Codec
from sfu.errors import SdpError
from sfu.ice import Credentials
from sfu.sdp import Candidate, Fingerprint, LocalMedia, LocalTransport
from tests.sfu.offers import recorded

MINIMAL = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=fingerprint:sha-256 AA:BB
a=setup:actpass
a=rtcp-mux
a=rtpmap:111 opus/48000/2
"""


def test_a_chromium_offer_is_read() -> None:
    description = sdp.parse(recorded("chromium_publishes"))
    audio, video = description.media
    assert description.bundle == ["0", "1"]
    assert (audio.mid, audio.kind, audio.direction, audio.setup) == (
        "0",
        "audio",
        "sendonly",
        "actpass",
    )
    assert audio.credentials == Credentials("QUPZ", "8vbOzHrvsLDx19+weMsUX+CO")
    assert [f.algorithm for f in audio.fingerprints] == ["sha-256"]
    assert audio.codecs[0] == Codec("opus", 111, 48000, 2, "minptime=10;useinbandfec=1")
    assert audio.ssrcs == [3097337644]
    assert audio.extensions[AUDIO_LEVEL] == 1
    assert video.codecs[0] == Codec("VP8", 96, 90000, 1, "", 97)
    assert video.feedback[96] == {"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}
    assert video.ssrcs == [2053389552]
    assert video.rtx_ssrcs == {2513700988: 2053389552}
    assert video.extensions[MID] == 4
    assert audio.rtcp_mux
    assert audio.rtcp_rsize


def test_a_firefox_offer_is_read() -> None:
    """Its fingerprint is at session level and its second m-line has port 0 as `bundle-only`."""
    description = sdp.parse(recorded("firefox_publishes"))
    audio, video = description.media
    assert audio.fingerprints == video.fingerprints != ()
    assert not video.rejected
    assert description.transport is audio
    assert audio.codecs[0].fmtp == "maxplaybackrate=48000;stereo=1;useinbandfec=1"
    assert video.codecs[0] == Codec("VP8", 120, 90000, 1, "max-fs=12288;max-fr=60", 124)
    assert audio.extensions[AUDIO_LEVEL] == 1


def test_an_aiortc_offer_is_read() -> None:
    audio, video = sdp.parse(recorded("aiortc_publishes")).media
    assert [f.algorithm for f in audio.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    assert (audio.direction, audio.port) == ("sendrecv", 48954)
    assert video.rtx_ssrcs == {2793988816: 2651806539}


def test_what_every_m_line_inherits_from_the_session() -> None:
    text = MINIMAL.replace("t=0 0\n", "t=0 0\na=setup:active\na=sendonly\n")
    text = text.replace("a=setup:actpass\n", "")
    media = sdp.parse(text).media[0]
    assert media.setup == "active"
    assert media.mid == "0"


def test_feedback_for_all_payload_types_counts_for_each() -> None:
    _, video, _ = sdp.parse(recorded("firefox_views")).media
    assert video.feedback[126] == {"nack", "nack pli"}
    assert video.feedback[120] == {"nack", "nack pli", "ccm fir"}


def test_extension_ids_beyond_the_one_byte_form_are_left_out() -> None:
    text = MINIMAL + "a=extmap:15 urn:a\na=extmap:16 urn:b\na=extmap:14/sendonly urn:c\n"
    assert sdp.parse(text).media[0].extensions == {"urn:c": 14}


CORPUS = [
    ("empty", "", "v=0"),
    ("not SDP", "hello", "v=0"),
    ("JSON", '{"type": "offer"}', "v=0"),
    ("no m-line", "v=0\ns=-\n", "no m-line"),
    ("a line without =", MINIMAL + "garbage\n", "not SDP"),
    ("control characters", MINIMAL + "a=\x00\n", "not SDP"),
    ("m-line cut", MINIMAL + "m=audio 9\n", "too few"),
    ("port is no number", MINIMAL.replace("audio 9", "audio nine"), "number"),
    ("port too large", MINIMAL.replace("audio 9", "audio 65536"), "number"),
    ("format is no number", MINIMAL.replace("SAVPF 111", "SAVPF opus"), "number"),
    ("format too large", MINIMAL.replace("SAVPF 111", "SAVPF 200"), "number"),
    ("clock rate is no number", MINIMAL.replace("48000", "fast"), "number"),
    ("number in another script", MINIMAL.replace("SAVPF 111", "SAVPF ١١١"), "number"),
    ("ufrag too short", MINIMAL.replace("ufrag:abcd", "ufrag:ab"), "8839"),
    ("password too short", MINIMAL.replace("pwd:abcdefghijklmnopqrstuv", "pwd:abc"), "8839"),
    ("password missing", MINIMAL.replace("a=ice-pwd:abcdefghijklmnopqrstuv\n", ""), "8839"),
    ("fingerprint is no hash", MINIMAL.replace("AA:BB", "secret"), "fingerprint"),
    ("mid is no token", MINIMAL + "a=mid:a b\n", "mid"),
    ("ssrc too large", MINIMAL + "a=ssrc:4294967296 cname:x\n", "number"),
    ("two m-lines, one mid", MINIMAL + "a=mid:1\nm=video 9 X 96\na=mid:1\n", "one mid"),
    ("two m-lines, no bundle", MINIMAL + "m=video 9 UDP/TLS/RTP/SAVPF 96\n", "BUNDLE"),
    ("too many m-lines", MINIMAL + "m=video 9 X 96\n" * 600, "too many"),
    ("too long", MINIMAL + "a=x:" + "x" * 300_000, "too long"),
    ("too many lines", MINIMAL + "a=x\n" * 5000, "too long"),
    ("a line too long", MINIMAL + "a=" + "x" * 5000, "too long"),
    ("too many formats", MINIMAL.replace(" 111", "".join(f" {n}" for n in range(200))), "formats"),
    ("too many fingerprints", MINIMAL + "a=fingerprint:sha-1 AA:BB\n" * 10, "fingerprints"),
    ("too many SSRCs", MINIMAL + "".join(f"a=ssrc:{n} x\n" for n in range(20)), "SSRCs"),
    (
        "too many SSRC groups",
        MINIMAL + "".join(f"a=ssrc-group:FID 1 {n}\n" for n in range(20)),
        "SSRCs",
    ),
    (
        "too many kinds of feedback",
        MINIMAL + "".join(f"a=rtcp-fb:* {n}\n" for n in range(200)),
        "feedback",
    ),
]


@pytest.mark.parametrize(
    ("text", "message"), [entry[1:] for entry in CORPUS], ids=[entry[0] for entry in CORPUS]
)
def test_what_is_no_description_is_refused(text: str, message: str) -> None:
    with pytest.raises(SdpError, match=message):
        sdp.parse(text)


def _bomb(m_lines: int, formats: int, encoding: str, fmtp: str) -> str:
    mids = " ".join(map(str, range(m_lines)))
    text = MINIMAL.partition("m=")[0] + f"a=group:BUNDLE {mids}\n"
    for mid in range(m_lines):
        text += f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, range(formats)))}\na=mid:{mid}\n"
        for number in range(formats):
            text += f"a=rtpmap:{number} {encoding}/90000\na=fmtp:{number} {fmtp}\n"
    return text


H264 = MINIMAL.replace("audio", "video").replace("opus/48000/2", "H264/90000")
BOMBS = {
    "one format again and again": H264.replace(" 111\n", " 111" * 15_000 + "\n")
    + f"a=fmtp:111 {';' * 60_000}packetization-mode=1\n",
    "long parameters": _bomb(2, 128, "H264", ";" * 900 + "packetization-mode=1"),
    "blank parameters": _bomb(2, 128, "H264", "; " * 400 + "packetization-mode=1"),
    "many codecs": _bomb(17, 128, "H264", "packetization-mode=1"),
    "feedback for all": _bomb(1, 128, "VP8", "") + "a=rtcp-fb:* nack\n" * 4000,
    "a long group": _bomb(150, 1, "VP8", "").replace("BUNDLE", "BUNDLE" + " z" * 60_000),
    "many lines": MINIMAL + "a=x\n" * 64_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_no_description_takes_long(text: str) -> None:
    """One of 128 KiB held the process for many minutes: each of its formats was read again."""
    assert len(text) <= sdp.TEXT_LIMIT
    began = process_time()
    try:
        description = sdp.parse(text)
    except SdpError:
        pass
    else:
        for media in description.media:
            negotiation.supported(media, description)
            negotiation.acceptable_codecs(media)
    # Measured: 23 ms at most. A machine shared with other tests takes longer, a bomb for ever.
    assert process_time() - began < 0.3


def test_a_format_counts_once() -> None:
    media = sdp.parse(MINIMAL.replace(" 111", " 111 111")).media[0]
    assert [codec.payload_type for codec in media.codecs] == [111]


def test_a_description_with_every_m_line_off_has_no_transport() -> None:
    description = sdp.parse(MINIMAL.replace("audio 9", "audio 0"))
    with pytest.raises(SdpError, match="in use"):
        assert description.transport


@given(st.text(max_size=300))
def test_no_text_raises_anything_else(text: str) -> None:
    _parse_or_refuse("v=0\n" + text)


@given(st.data())
def test_no_bitten_offer_raises_anything_else(data: st.DataObject) -> None:
    lines = recorded("chromium_publishes").splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    keep = data.draw(st.integers(0, len(lines[at])))
    lines[at] = lines[at][:keep] + data.draw(st.text(max_size=12))
    _parse_or_refuse("\r\n".join(lines))


def _parse_or_refuse(text: str) -> None:
    for parse in (sdp.parse, sdp.parse_fragment):
        try:
            parse(text)
        except SdpError:
            continue


def test_a_fragment_tells_the_ice_credentials() -> None:
    fragment = (
        "a=ice-options:trickle\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
        "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"
        "a=end-of-candidates\r\n"
    )
    assert sdp.parse_fragment(fragment) == Credentials("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert sdp.parse_fragment("a=end-of-candidates\r\n") is None
    with pytest.raises(SdpError):
        sdp.parse_fragment("no fragment")


TRANSPORT = LocalTransport(
    Credentials("ufrag123", "p" * 24),
    Fingerprint("sha-256", "AA:BB"),
    (Candidate("192.0.2.1", 7882), Candidate("2001:db8::1", 7882)),
    "actpass",
)


def test_what_we_write_can_be_read() -> None:
    audio = LocalMedia("audio", "0", "inactive", [Codec("opus", 111, 48000, 2, "minptime=10")])
    video = LocalMedia(
        "video",
        "1",
        "sendonly",
        [Codec("VP8", 96, 90000, rtx_payload_type=97)],
        {96: ["nack"]},
        {MID: 1},
        stream="p-1",
        track="t-1",
        ssrc=11,
        rtx_ssrc=12,
    )
    gone = LocalMedia("video", "2", "inactive", rejected=True, formats=["96"])
    description = sdp.parse(sdp.build(5, 1, TRANSPORT, [audio, video, gone]))
    assert description.bundle == ["0", "1"]
    assert description.transport.credentials == TRANSPORT.credentials
    read = description.media[1]
    assert read.codecs == video.codecs
    assert read.feedback == {96: {"nack"}}
    assert read.extensions == {MID: 1}
    assert (read.ssrcs, read.rtx_ssrcs) == ([11], {12: 11})
    assert [m.rejected for m in description.media] == [False, False, True]


def test_candidates_stand_on_every_m_line_in_use() -> None:
    gone = LocalMedia("audio", "0", "inactive", rejected=True)
    video = LocalMedia("video", "1", "inactive", [Codec("VP8", 96, 90000)])
    text = sdp.build(5, 1, TRANSPORT, [gone, video])
    assert "a=group:BUNDLE 1\r\n" in text
    before, _, after = text.partition("m=video")
    assert "a=candidate" not in before
    assert "a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host\r\n" in after
    assert "a=candidate:2 1 udp 2130706175 2001:db8::1 7882 typ host\r\n" in after
    assert after.endswith("a=end-of-candidates\r\n")
    assert "a=ice-lite\r\n" in before


def test_a_restart_fragment_names_credentials_and_candidates() -> None:
    fragment = sdp.build_fragment(TRANSPORT, "audio", "0")
    assert sdp.parse_fragment(fragment) == TRANSPORT.credentials
    assert "a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host\r\n" in fragment
