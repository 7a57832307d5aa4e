"""What is accepted of an offer: codecs in our order, extensions and feedback we use, transports."""

import re

import pytest

from sfu import negotiation, sdp
from sfu.codec import ABS_SEND_TIME, AUDIO_LEVEL, MID, VIDEO_ORIENTATION
from sfu.errors import SdpError
from sfu.publishing import OFFERED_SETUPS
from sfu.sdp import Description, Media
from tests.sfu.offers import recorded


def media(name: str, mid: str) -> tuple[Media, Description]:
    description = sdp.parse(recorded(name))
    return next(m for m in description.media if m.mid == mid), description


@pytest.mark.parametrize(
    ("name", "payload_types"),
    [
        ("chromium_publishes", [96, 102, 108, 116]),
        ("firefox_publishes", [120, 126]),
        ("aiortc_publishes", [97, 99, 101]),
        ("firefox_views", [120, 126]),
    ],
)
def test_vp8_goes_before_h264_with_whole_frames_and_baseline_before_main(
    name: str, payload_types: list[int]
) -> None:
    video, _ = media(name, "1")
    assert [c.payload_type for c in negotiation.acceptable_codecs(video)] == payload_types


def test_opus_is_the_only_audio() -> None:
    audio, _ = media("chromium_publishes", "0")
    codecs = negotiation.acceptable_codecs(audio)
    assert [(c.name, c.payload_type, c.nack) for c in codecs] == [("opus", 111, False)]


def test_a_codec_knows_whether_its_sender_repeats() -> None:
    description = sdp.parse(recorded("aiortc_publishes").replace("a=rtcp-fb:97 nack\n", ""))
    vp8, h264, _ = negotiation.acceptable_codecs(description.media[1])
    assert (vp8.nack, h264.nack) == (False, True)


def test_payload_types_that_look_like_rtcp_are_not_used() -> None:
    text = re.sub(r"\b97\b", "72", recorded("aiortc_publishes"))
    video = sdp.parse(text).media[1]
    assert [c.name for c in negotiation.acceptable_codecs(video)] == ["H264", "H264"]


def test_extensions_keep_the_peers_ids() -> None:
    audio, _ = media("chromium_publishes", "0")
    video, _ = media("chromium_publishes", "1")
    assert negotiation.accepted_extensions(audio) == {AUDIO_LEVEL: 1, ABS_SEND_TIME: 2, MID: 4}
    assert negotiation.accepted_extensions(video) == {
        ABS_SEND_TIME: 2,
        VIDEO_ORIENTATION: 13,
        MID: 4,
    }


def test_feedback_we_do_not_speak_is_left_out() -> None:
    video, _ = media("chromium_publishes", "1")
    codec = negotiation.acceptable_codecs(video)[0]
    assert negotiation.accepted_feedback(video, [codec]) == {
        96: ["goog-remb", "ccm fir", "nack", "nack pli"]
    }


def test_a_data_channel_is_not_supported() -> None:
    application, description = media("firefox_views", "2")
    assert not negotiation.supported(application, description)
    rejected = negotiation.reject(application)
    assert rejected.rejected
    assert rejected.formats == ["webrtc-datachannel"]


def test_an_m_line_outside_the_bundle_is_not_supported() -> None:
    description = sdp.parse(recorded("chromium_publishes").replace("BUNDLE 0 1", "BUNDLE 0"))
    assert [negotiation.supported(m, description) for m in description.media] == [True, False]


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"a=ice-(ufrag|pwd):.*\n", "", "credentials"),
        (r"a=fingerprint:.*\n", "", "fingerprint"),
        ("a=setup:actpass", "a=setup:passive", "setup"),
        ("a=setup:actpass\n", "", "setup"),
        ("a=rtcp-mux\n", "", "rtcp-mux"),
    ],
)
def test_a_transport_we_cannot_serve_is_refused(
    pattern: str, replacement: str, message: str
) -> None:
    description = sdp.parse(re.sub(pattern, replacement, recorded("chromium_publishes")))
    with pytest.raises(SdpError, match=message):
        negotiation.check_transport(description, OFFERED_SETUPS)


def test_our_offers_always_use_the_same_numbers() -> None:
    audio, video = negotiation.offer("audio", "0"), negotiation.offer("video", "1")
    assert [c.payload_type for c in audio.codecs] == [111]
    assert [(c.payload_type, c.rtx_payload_type) for c in video.codecs] == [(96, 97), (102, 103)]
    assert audio.extensions == {MID: 1, AUDIO_LEVEL: 2, ABS_SEND_TIME: 3}
    assert video.extensions == {MID: 1, ABS_SEND_TIME: 3, VIDEO_ORIENTATION: 4}
