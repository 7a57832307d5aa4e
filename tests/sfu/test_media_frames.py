"""Typing of control operations and media frames: strict where it matters, open to new fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import Refused
from sfu.media_frames import Join, Publish, Whep, read_frame, read_operation

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def test_frames_are_typed_and_unknown_fields_ignored() -> None:
    assert read_frame({"t": "media.join", "id": 4, "room": "r", "new": 1}) == Join()
    frame = read_frame(
        {"t": "media.publish", "sdp": "v=0", "tracks": [{"mid": "0", "source": "screen"}]}
    )
    assert isinstance(frame, Publish)
    assert frame.tracks[0].source == "screen"


def test_whep_names_its_publisher_from() -> None:
    operation = read_operation(
        {"op": "whep", "room": "r", "user": "u", "name": "n", "sdp": "s", "from": "x"}
    )
    assert isinstance(operation, Whep)
    assert operation.publisher == "x"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({}, "unknown_frame"),
        ({"t": "media.dance"}, "unknown_frame"),
        ({"t": ["media.join"]}, "unknown_frame"),
        ({"t": "media.publish"}, "bad_frame"),
        ({"t": "media.publish", "sdp": 5}, "bad_frame"),
        ({"t": "media.publish", "sdp": "", "tracks": [{"mid": "0", "source": "tv"}]}, "bad_frame"),
        ({"t": "media.answer", "sdp": "", "n": "1"}, "bad_frame"),
        ({"t": "media.mute", "track": "t", "muted": 1}, "bad_frame"),
        ({"t": "media.subscribe", "auto": True, "tracks": [1]}, "bad_frame"),
    ],
)
def test_wrong_frames_are_refused(frame: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_frame(frame)
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "unknown_op"),
        ({"op": "explode"}, "unknown_op"),
        ({"op": {}}, "unknown_op"),
        ({"op": "delete"}, "bad_op"),
        ({"op": "sessions", "sessions": "all"}, "bad_op"),
    ],
)
def test_wrong_operations_are_refused(request_: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_operation(request_)
    assert refusal.value.reason == reason


@given(
    st.dictionaries(st.sampled_from(["t", "sdp", "tracks", "n", "auto", "track", "muted"]), VALUES),
    st.sampled_from(["join", "leave", "publish", "answer", "mute", "subscribe", "restart"]),
)
def test_no_frame_raises_anything_else(frame: dict[str, Any], kind: str) -> None:
    for candidate in (frame, {**frame, "t": f"media.{kind}"}):
        try:
            read_frame(candidate)
        except Refused:
            continue
