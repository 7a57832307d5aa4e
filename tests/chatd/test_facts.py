import msgspec
import pytest

from chatd.facts import ConnectionTime, Fact, MessageAccepted, MessagesRecovered, RoomOpened

FACTS = [
    MessageAccepted("r", "e", 1, "e-1", "u", "U", 5, {"a": [1, None]}, "k", 3),
    RoomOpened("r", "e", 7),
    MessagesRecovered("r", "u", 5, 9),
    ConnectionTime("u", 1, 2, 3, "game"),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_survives_a_log(fact):
    packed = msgspec.msgpack.encode(fact)
    assert msgspec.msgpack.decode(packed, type=Fact) == fact
    assert msgspec.msgpack.decode(packed, type=type(fact)) == fact


@pytest.mark.parametrize(
    ("yesterday", "fact"),
    [
        (["room", "r", "e"], RoomOpened("r", "e", 0)),
        (["recovered", "r", "u", 5], MessagesRecovered("r", "u", 5, 0)),
        (["connection", "u", 1, 2], ConnectionTime("u", 1, 2, 1)),
        (
            ["message", "r", "e", 1, "e-1", "u", "U", 5, "x"],
            MessageAccepted("r", "e", 1, "e-1", "u", "U", 5, "x", None, 0),
        ),
    ],
)
def test_records_without_the_later_fields_are_read(yesterday, fact):
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(yesterday), type=Fact) == fact
