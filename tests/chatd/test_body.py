import json
import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.body import MAX_BODY_DEPTH, body_bytes, body_fault
from chatd.errors import BAD_BODY, Refused
from chatd.wire import JSON, MAX_EXACT_INT, MSGPACK, Message, packed_to_json


def body_refused(codec, payload):
    """Say whether a send with id 7 fails for its body, in decoding or after it."""
    try:
        typed = codec.decode(payload)
    except Refused as refused:
        return (refused.refusal, refused.id) == (BAD_BODY, 7)
    return body_fault(typed.body) is not None


def nested(depth):
    value = "core"
    for _ in range(depth):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "body", ['"\\ud800"', '"x\\udc00y"', '{"\\ud800":1}', "1e400", "[1e400]", "9" * 5000]
)
def test_json_that_is_fine_but_for_its_body_is_a_bad_body(body):
    """Browsers send half of an emoji as an escape; that costs the message, not the connection."""
    payload = f'{{"t":"send","id":7,"room":"r","body":{body}}}'.encode()
    assert body_refused(JSON, payload)


texts = st.text(max_size=20)
bodies = texts | st.dictionaries(
    texts,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-MAX_EXACT_INT, MAX_EXACT_INT)
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=20,
    ),
    max_size=5,
)


@given(bodies)
def test_every_body_of_the_json_data_model_is_fine_and_the_same_in_both_subprotocols(body):
    assert body_fault(body) is None
    message = Message("r", 1, "e-1", "u", "N", 5, body)
    through_msgpack = msgpack.unpackb(MSGPACK.encode(message))
    assert through_msgpack == json.loads(JSON.encode(message))
    assert through_msgpack["body"] == body
    assert json.loads(packed_to_json(MSGPACK.encode(message))) == through_msgpack
    assert body_bytes(body) == (
        len(body.encode()) if isinstance(body, str) else len(msgpack.packb(body))
    )


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        1.5,
        True,
        [],
        ["a"],
        b"bytes",
        {1: "x"},
        {"a": b"bytes"},
        {"a": [math.nan]},
        {"a": math.inf},
        {"a": -math.inf},
        {"a": MAX_EXACT_INT + 1},
        {"a": -MAX_EXACT_INT - 1},
        {"a": {None: 1}},
        {"a": msgpack.Timestamp(1, 2)},
        "\ud800",
        {"\ud800": 1},
        {"a": "\udfff"},
        nested(MAX_BODY_DEPTH + 1),
    ],
)
def test_bodies_outside_the_json_data_model_have_a_fault(body):
    assert body_fault(body) is not None


def test_depth_32_is_fine():
    assert body_fault(nested(MAX_BODY_DEPTH)) is None


@pytest.mark.parametrize(
    "value",
    [msgpack.Timestamp(1, 2), msgpack.ExtType(5, b"x"), b"bytes", {1: 2}, {(): 1}, {1.5: 2}],
)
def test_binary_and_extensions_in_a_msgpack_body_are_refused(value):
    payload = msgpack.packb({"t": "send", "id": 7, "room": "r", "body": {"a": value}})
    assert body_refused(MSGPACK, payload)
