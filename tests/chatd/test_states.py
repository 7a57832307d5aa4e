import pytest

from chatd.limits import Limits
from chatd.wire import JSON


def looking(house, user, codec=None):
    """Return somebody in the room `r` who looks at its states."""
    visitor = house.visitor(user) if codec is None else house.visitor(user, codec=codec)
    assert visitor.ask(t="join", room="r", state=True)["states"] is not None
    return visitor


def show(visitor, value, kind="position", **more):
    visitor.say(t="state", room="r", kind=kind, value=value, **more)


def told(visitor):
    """Return (user, kind, value) of every `states` frame heard since, a list a frame."""
    return [
        [(state["user"], state["kind"], state["value"]) for state in frame["states"]]
        for frame in visitor.hear()
        if frame["t"] == "states"
    ]


def test_a_tick_tells_last_values_in_one_frame_to_those_who_look(house, codec):
    host, visitor = house.visitor("host", "r"), looking(house, "visitor", codec)
    bystander = house.visitor("bystander", "r")
    for x in range(5):
        show(host, [x, 0])
    show(visitor, "빨강", "avatar")
    assert told(visitor) == []
    house.elapse(0.1)
    assert told(visitor) == [[("host", "position", [4, 0]), ("visitor", "avatar", "빨강")]]
    assert bystander.hear() == []
    assert host.hear() == []
    house.elapse(0.1)
    assert told(visitor) == []


def test_the_tick_is_a_limit(build):
    house = build(limits=Limits(state_tick_s=1.0))
    visitor = looking(house, "visitor")
    show(visitor, 1)
    house.elapse(0.9)
    assert told(visitor) == []
    house.elapse(0.1)
    assert told(visitor) == [[("visitor", "position", 1)]]


def test_state_is_no_fact_and_no_message(house):
    host, visitor = house.visitor("host", "r"), looking(house, "visitor")
    before = list(house.facts.kept)
    show(host, 1)
    house.elapse(0.1)
    assert len(told(visitor)) == 1
    assert house.facts.kept == before
    counters = house.hub.counters
    assert (counters.messages_in, counters.messages_out) == (0, 0)
    assert (counters.states_in, counters.states_out) == (1, 1)


def test_joining_tells_what_there_is_only_when_asked(house):
    host = house.visitor("host", "r")
    show(host, [1, 2])
    late = house.visitor("late")
    assert "states" not in late.ask(t="join", room="r")
    assert late.ask(t="join", room="r", state=True)["states"] == [
        {"user": "host", "kind": "position", "value": [1, 2]}
    ]


def test_a_resync_without_state_ends_it(house):
    visitor = looking(house, "visitor")
    visitor.ask(t="join", room="r")
    show(visitor, 1)
    house.elapse(0.1)
    assert told(visitor) == []


def test_the_last_connection_of_a_user_takes_the_values_along(house):
    visitor = looking(house, "visitor")
    one, other = house.visitor("host", "r"), house.visitor("host", "r")
    show(one, 1)
    show(one, True, "typing")
    house.elapse(0.1)
    told(visitor)
    house.hub.disconnected(one.client)
    house.elapse(0.1)
    assert told(visitor) == []
    house.hub.disconnected(other.client)
    house.elapse(0.1)
    assert told(visitor) == [[("host", "position", None), ("host", "typing", None)]]
    visitor.ask(t="leave", room="r")
    assert house.visitor("late").ask(t="join", room="r", state=True)["states"] == []


def test_an_id_asks_for_an_answer(house):
    visitor = house.visitor("visitor", "r")
    assert visitor.ask(t="state", room="r", kind="a", value=1) == {
        "t": "stated",
        "id": 1,
        "room": "r",
    }
    show(visitor, 2)
    assert visitor.hear() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"room": "elsewhere"}, "not_joined"),
        ({"kind": ""}, "bad_request"),
        ({"kind": "한글"}, "bad_request"),
        ({"kind": "k" * 33}, "bad_request"),
        ({"kind": 7}, "bad_request"),
        ({"value": "x" * 1025}, "body_too_big"),
        ({"value": {"n": 2**53}}, "bad_body"),
        ({"value": [[[]]] * 2}, None),
        ({"value": 1.5}, None),
    ],
)
def test_what_is_no_state_is_refused_and_stays_open(house, codec, change, reason):
    visitor = house.visitor("visitor", "r", codec=codec)
    answer = visitor.ask(**{"t": "state", "room": "r", "kind": "k", "value": 1} | change)
    assert answer.get("reason") == reason
    assert visitor.pipe.closed is None


def test_a_value_is_needed(house, codec):
    visitor = house.visitor("visitor", "r", codec=codec)
    assert visitor.ask(t="state", room="r", kind="k")["reason"] == "bad_request"


def test_16_kinds_are_the_most(house):
    visitor = house.visitor("visitor", "r")
    for number in range(16):
        assert visitor.ask(t="state", room="r", kind=f"k{number}", value=1)["t"] == "stated"
    assert visitor.ask(t="state", room="r", kind="k16", value=1)["reason"] == "bad_request"
    assert visitor.ask(t="state", room="r", kind="k3", value=2)["t"] == "stated"
    assert visitor.ask(t="state", room="r", kind="k3", value=None)["t"] == "stated"
    assert visitor.ask(t="state", room="r", kind="k16", value=1)["t"] == "stated"


def test_states_have_a_rate_of_their_own(build):
    house = build(limits=Limits(state_per_s=10, state_burst=2))
    visitor = looking(house, "visitor")
    for value in range(4):
        show(visitor, value)
    refused = visitor.ask(t="state", room="r", kind="position", value=5)
    assert (refused["reason"], refused["retry_after_ms"]) == ("rate_limited", 101)
    assert visitor.ask(t="send", room="r", body="x")["t"] == "sent"
    house.elapse(0.1)
    assert told(visitor) == [[("visitor", "position", 1)]]
    assert house.hub.counters.states_dropped == 2


@pytest.mark.parametrize("bound", ["state_room_bytes", "state_total_bytes"])
def test_what_is_held_is_bounded(build, bound):
    house = build(limits=Limits(**{bound: 2500}))
    host, visitor = house.visitor("host", "r"), house.visitor("visitor", "r")
    for kind in "ab":
        assert host.ask(t="state", room="r", kind=kind, value="x" * 1000)["t"] == "stated"
    full = visitor.ask(t="state", room="r", kind="a", value="x" * 1000)
    assert (full["reason"], full["retry_after_ms"]) == ("rate_limited", 1000)
    again = host.ask(t="state", room="r", kind="a", value="y" * 1000)
    assert again["t"] == "stated", "who is shown goes on moving in a full room"
    host.ask(t="leave", room="r")
    assert visitor.ask(t="state", room="r", kind="a", value="x" * 1000)["t"] == "stated"


def test_who_reads_slowly_is_told_no_changes_and_then_everything(house):
    host, visitor = house.visitor("host", "r"), looking(house, "visitor", JSON)
    other = looking(house, "other", JSON)
    show(host, True, "typing")
    house.elapse(0.1)
    assert len(told(visitor)) == len(told(other)) == 1
    visitor.pipe.unsent = 65 * 1024
    for x in range(3):
        show(host, x)
        house.elapse(0.1)
    show(host, None, "typing")
    house.elapse(0.1)
    assert told(visitor) == []
    assert len(told(other)) == 4
    assert house.hub.counters.states_dropped == 4
    visitor.pipe.unsent = 0
    house.elapse(0.1)
    (frame,) = visitor.hear()
    assert frame == {
        "t": "states",
        "room": "r",
        "states": [{"user": "host", "kind": "position", "value": 2}],
        "all": True,
    }
    show(host, 9)
    house.elapse(0.1)
    assert told(visitor) == told(other) == [[("host", "position", 9)]]


def test_who_goes_while_late_leaves_nothing_behind(house):
    host, visitor = house.visitor("host", "r"), looking(house, "visitor")
    visitor.pipe.unsent = 65 * 1024
    show(host, 1)
    house.elapse(0.1)
    house.hub.disconnected(visitor.client)
    house.elapse(0.1)
    house.elapse(0.1)
    assert house._timers == []
