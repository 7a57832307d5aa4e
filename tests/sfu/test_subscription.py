from sfu.codec import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    MID,
    TRANSPORT_SEQUENCE,
    VIDEO_ORIENTATION,
    Codec,
)
from sfu.subscription import flavour_key, matching, send_time
from tests.sfu.packets import H264, NUMBERED, OPUS, PUBLISHED, SUBSCRIBED, VP8


def test_the_same_codec_is_found_whatever_its_number_and_case() -> None:
    other = Codec("vp8", 120, 90000)
    assert matching(VP8, [OPUS, other]) is other
    assert matching(VP8, [OPUS, H264]) is None
    assert matching(VP8, []) is None


def test_equal_parameters_are_preferred() -> None:
    simple = Codec("H264", 108, 90000, 1, "packetization-mode=0")
    same = Codec("H264", 109, 90000, 1, H264.fmtp)
    assert matching(H264, [simple, same]) is same
    assert matching(H264, [simple]) is simple


def test_another_clock_is_another_codec() -> None:
    assert matching(OPUS, [Codec("opus", 111, 16000, 2)]) is None


def test_a_flavour_maps_payload_types_and_identifiers() -> None:
    wanted = [Codec("VP8", 100, 90000), OPUS]
    payload_types, identifiers, send_time_id, _ = flavour_key([VP8], wanted, PUBLISHED, SUBSCRIBED)
    assert payload_types == ((VP8.payload_type, 100),)
    assert identifiers[PUBLISHED[AUDIO_LEVEL]] == SUBSCRIBED[AUDIO_LEVEL]
    assert identifiers[PUBLISHED[VIDEO_ORIENTATION]] == SUBSCRIBED[VIDEO_ORIENTATION]
    assert identifiers[PUBLISHED[MID]] == identifiers[PUBLISHED[ABS_SEND_TIME]] == 0
    assert send_time_id == SUBSCRIBED[ABS_SEND_TIME]


def test_what_the_receiver_did_not_negotiate_is_stripped() -> None:
    _, identifiers, send_time_id, transport_id = flavour_key([VP8], [VP8], PUBLISHED, {})
    assert identifiers == bytes(256)
    assert (send_time_id, transport_id) == (0, 0)


def test_only_who_gets_repeats_in_rtx_gets_numbers_of_the_transport() -> None:
    """A plain repeat under another transport number would be another packet under its number."""
    extensions = SUBSCRIBED | {TRANSPORT_SEQUENCE: 6}
    assert flavour_key([VP8], [VP8], NUMBERED, extensions)[3] == 6
    assert flavour_key([VP8], [VP8], NUMBERED, extensions)[1][NUMBERED[TRANSPORT_SEQUENCE]] == 0
    assert flavour_key([VP8], [Codec("VP8", 100, 90000)], NUMBERED, extensions)[3] == 0
    assert flavour_key([OPUS], [OPUS], NUMBERED, extensions)[3] == 0


def test_a_send_time_counts_quarter_millionths_of_a_second() -> None:
    assert send_time(64.5) & 0xFFFFFF == 0x020000
