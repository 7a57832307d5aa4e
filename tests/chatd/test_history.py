import json

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from chatd.history import Entry, History
from chatd.wire import JSON, MSGPACK, Message


def entry(offset, size=10):
    return Entry(offset, bytes(size))


def test_an_entry_has_the_same_frame_in_both_subprotocols():
    message = Message("r", 1, "e-1", "u", "이름", 5, {"a": [1, None, "x"]})
    stored = Entry(1, MSGPACK.encode(message))
    assert stored.payload(MSGPACK) == stored.packed
    assert json.loads(stored.payload(JSON)) == msgpack.unpackb(stored.packed)
    assert stored.payload(JSON) is stored.payload(JSON)


@given(
    st.lists(st.integers(1, 300), max_size=60),
    st.integers(1, 20),
    st.integers(100, 2000),
    st.integers(0, 70),
)
def test_after_is_everything_or_none(sizes, max_messages, max_bytes, since):
    history = History(max_messages, max_bytes)
    for offset, size in enumerate(sizes, start=1):
        history.append(entry(offset, size))
    top = len(sizes)
    assert len(history) <= max_messages
    assert history.size_bytes == sum(len(e.packed) for e in history.last(top))
    assert history.size_bytes <= max(max_bytes, sizes[-1] if sizes else 0)
    missed = history.after(since, top)
    if missed is not None:
        assert [e.offset for e in missed] == list(range(since + 1, top + 1))
    else:
        assert since > top or top - since > len(history)


def test_the_last_n_are_fewer_when_there_are_fewer():
    history = History(10, 1000)
    for offset in (1, 2, 3):
        history.append(entry(offset))
    assert [e.offset for e in history.last(2)] == [2, 3]
    assert [e.offset for e in history.last(9)] == [1, 2, 3]
    assert list(history.last(0)) == []


def test_the_newest_message_is_kept_whatever_its_size():
    history = History(10, 100)
    history.append(entry(1))
    history.append(entry(2, 5000))
    assert [e.offset for e in history.last(9)] == [2]


def test_a_gap_forgets_what_was_before_it():
    history = History(10, 1000)
    history.append(entry(1))
    history.append(entry(5))
    assert [e.offset for e in history.last(9)] == [5]
    assert history.size_bytes == 10
