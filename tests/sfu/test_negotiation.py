"""What is accepted of an offer: codecs in our order, extensions and feedback we use, transports."""

import re

import pytest

from sfu import negotiation, sdp
from sfu.codec import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    DEPENDENCY_DESCRIPTOR,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_SEQUENCE,
    VIDEO_ORIENTATION,
)
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
        ("chromium_publishes", [96, 102, 108, 116, 98, 45]),
        ("firefox_publishes", [120, 126, 121]),
        ("aiortc_publishes", [97, 99, 101]),
        ("firefox_views", [120, 126]),
    ],
)
def test_what_most_can_decode_goes_first_and_h264_baseline_before_main(
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
        TRANSPORT_SEQUENCE: 3,
        MID: 4,
    }


def test_what_is_published_may_be_numbered_and_named() -> None:
    audio, _ = media("chromium_publishes", "0")
    video, _ = media("chromium_publishes", "1")
    more = negotiation.accepted_extensions(audio, published=True).keys()
    assert more - negotiation.accepted_extensions(audio).keys() == {TRANSPORT_SEQUENCE}
    more = negotiation.accepted_extensions(video, published=True).keys()
    assert more - negotiation.accepted_extensions(video).keys() == {RID, REPAIRED_RID}
    codec = negotiation.acceptable_codecs(audio)[0]
    assert negotiation.accepted_feedback(audio, [codec], published=True) == {111: ["transport-cc"]}


def test_feedback_we_do_not_speak_is_left_out() -> None:
    video, _ = media("chromium_publishes", "1")
    codec = negotiation.acceptable_codecs(video)[0]
    assert negotiation.accepted_feedback(video, [codec]) == {
        96: ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
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


def test_profiles_with_more_bits_are_not_accepted() -> None:
    """Chromium offers VP9 profile 2 under 100: not everybody decodes ten bits."""
    video, _ = media("chromium_publishes", "1")
    assert 100 in {c.payload_type for c in video.codecs}
    text = recorded("chromium_publishes").replace("profile=0;tier=0", "profile=1;tier=0")
    video = sdp.parse(text).media[1]
    assert "AV1" not in {c.name for c in negotiation.acceptable_codecs(video)}


@pytest.mark.parametrize(
    ("codec", "payload_types"),
    [
        ("", [(96, 97)]),
        ("VP8", [(96, 97)]),
        ("H264", [(102, 103), (96, 97)]),
        ("VP9", [(98, 99), (96, 97)]),
        ("AV1", [(45, 46), (96, 97)]),
    ],
)
def test_an_offer_has_the_tracks_codec_and_one_everybody_knows(
    codec: str, payload_types: list[tuple[int, int]]
) -> None:
    audio, video = negotiation.offer("audio", "0"), negotiation.offer("video", "1", codec)
    assert [c.payload_type for c in audio.codecs] == [111]
    assert [(c.payload_type, c.rtx_payload_type) for c in video.codecs] == payload_types
    assert audio.extensions == {MID: 1, AUDIO_LEVEL: 2, ABS_SEND_TIME: 3}
    assert video.extensions == {
        MID: 1,
        ABS_SEND_TIME: 3,
        VIDEO_ORIENTATION: 4,
        DEPENDENCY_DESCRIPTOR: 5,
        TRANSPORT_SEQUENCE: 6,
    }


@pytest.mark.parametrize("mixed", [True, False])
def test_a_dependency_descriptor_needs_both_forms_of_extensions(mixed: bool) -> None:
    text = recorded("chromium_publishes").replace(
        "a=extmap:13", f"a=extmap:12 {DEPENDENCY_DESCRIPTOR}\r\na=extmap:13"
    )
    if not mixed:
        text = text.replace("a=extmap-allow-mixed\n", "").replace("a=extmap-allow-mixed\r\n", "")
    video = sdp.parse(text).media[1]
    assert (DEPENDENCY_DESCRIPTOR in negotiation.accepted_extensions(video)) is mixed
    answered = negotiation.answer(video, negotiation.acceptable_codecs(video)[:1], "recvonly")
    assert answered.extmap_allow_mixed is mixed


@pytest.mark.parametrize("quiet", [True, False])
def test_who_can_pause_in_silence_is_asked_to(quiet: bool) -> None:
    text = recorded("chromium_publishes")
    if quiet:
        text = text.replace("minptime=10;useinbandfec=1", "minptime=10;useinbandfec=1;usedtx=1")
    audio = sdp.parse(text).media[0]
    (codec,) = negotiation.answer(audio, negotiation.acceptable_codecs(audio), "recvonly").codecs
    assert codec.fmtp == "minptime=10;useinbandfec=1" + (";usedtx=1" if quiet else "")


@pytest.mark.parametrize("asked", [True, False])
def test_sound_is_asked_for_again_where_the_peer_offers_it(asked: bool) -> None:
    text = recorded("chromium_publishes")
    if asked:
        text = text.replace("a=rtcp-fb:111 transport-cc", "a=rtcp-fb:111 nack")
    audio = sdp.parse(text).media[0]
    answer = negotiation.answer(audio, negotiation.acceptable_codecs(audio), "recvonly")
    assert answer.feedback == {111: ["nack"] if asked else ["transport-cc"]}
    assert [codec.nack for codec in negotiation.acceptable_codecs(audio)] == [asked]


def test_receivers_are_offered_to_ask_for_sound_again() -> None:
    assert negotiation.offer("audio", "0").feedback == {111: ("nack",)}
