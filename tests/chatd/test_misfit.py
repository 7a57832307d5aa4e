import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import BAD_FRAME, Refused
from chatd.misfit import request_id, shallow_json, shallow_msgpack

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=10)
trees = st.recursive(
    scalars | st.binary(max_size=40) | st.floats(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=60,
)


@given(st.dictionaries(st.text(max_size=40), trees, max_size=20))
def test_the_msgpack_outline_has_every_scalar_and_none_for_the_rest(frame):
    expected = {
        name: None if isinstance(value, dict | list | bytes) else value
        for name, value in frame.items()
    }
    assert msgpack.packb(shallow_msgpack(msgpack.packb(frame))) == msgpack.packb(expected)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_map_or_bad_frame(data):
    for shallow in (shallow_msgpack, shallow_json):
        try:
            outcome = shallow(data)
        except Refused as refused:
            outcome = refused.refusal
        assert outcome is BAD_FRAME or isinstance(outcome, dict)


@given(st.dictionaries(st.text(), trees, max_size=5), st.data())
def test_a_truncated_msgpack_frame_is_a_bad_frame(frame, data):
    packed = msgpack.packb(frame)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(Refused) as caught:
        shallow_msgpack(packed[:cut])
    assert caught.value.refusal is BAD_FRAME


@pytest.mark.parametrize("depth", [10, 1000, 40_000])
def test_any_depth_has_an_outline(depth):
    deep = b"[" * depth + b'"]"' + b"]" * depth
    assert shallow_json(b'{"t":"send","id":7,"body":' + deep + b"}")["id"] == 7
    packed = b"\x83\xa1t\xa4send\xa2id\x07\xa4body" + b"\x91" * depth + b"\x01"
    assert shallow_msgpack(packed) == {"t": "send", "id": 7, "body": None}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":[1,,2]}',
        b"{}{}",
        b'{"a":' + b"[" * 5000 + b"}" * 5000 + b"}",
        b'{"a":' + b"[" * 5000,
    ],
)
def test_not_a_json_map(payload):
    with pytest.raises(Refused) as caught:
        shallow_json(payload)
    assert caught.value.refusal is BAD_FRAME


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x81\xa1a",
        b"\x81\xa1a\xc1",
        b"\x80\x80",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x81\xa1a\xdb\x7f\xff\xff\xff",
        b"\x81\xa1a\xa2\xff\xfe",
    ],
)
def test_not_a_msgpack_map(payload):
    with pytest.raises(Refused) as caught:
        shallow_msgpack(payload)
    assert caught.value.refusal is BAD_FRAME


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, "1", None, True, [1]])
def test_an_id_that_cannot_be_echoed_is_none(value):
    assert request_id({"id": value}) is None


def test_a_number_of_ten_thousand_digits_is_only_too_big():
    assert shallow_json(json.dumps({"id": 1}).encode()[:-1] + b',"body":' + b"9" * 10_000 + b"}")
