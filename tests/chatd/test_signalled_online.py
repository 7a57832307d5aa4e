"""Who is online over several processes."""

import pytest

from chatd.online import OFFLINE_AFTER_S
from chatd.signalled_online import ONLINE, SignalledOnline
from chatd.signals import LocalSignals


class Process:
    """One process, and what it was told of those it watches."""

    def __init__(self, name, signals, soon):
        self.signals = signals
        self.online = SignalledOnline(signals, name, soon=soon)
        self.changes = []
        self.online.listen(lambda user, online: self.changes.append((user, online)))

    def knows(self, user):
        answers = []
        self.online.ask([user], answers.append)
        return answers[0][user]


@pytest.fixture
def soon():
    return []


@pytest.fixture
def three(soon):
    first = LocalSignals()
    return [
        Process(n, s, soon.append)
        for n, s in zip("abc", (first, first.beside(), first.beside()), strict=True)
    ]


def settle(soon):
    while soon:
        calls, soon[:] = list(soon), []
        for call in calls:
            call()


def test_who_comes_and_goes_anywhere_is_told_to_those_who_watch(three, soon):
    a, b, c = three
    a.online.watch("u")
    b.online.came("u")
    settle(soon)
    assert (a.changes, c.changes) == ([("u", True)], [])
    assert [p.knows("u") for p in three] == [True] * 3
    b.online.went("u", 0.0)
    b.online.sweep(OFFLINE_AFTER_S - 1)
    settle(soon)
    assert a.knows("u")
    b.online.sweep(OFFLINE_AFTER_S)
    settle(soon)
    assert a.changes == [("u", True), ("u", False)]
    assert [p.knows("u") for p in three] == [False] * 3


def test_somebody_on_two_processes_is_online_until_the_last_is_left(three, soon):
    a, b, c = three
    a.online.watch("u")
    for process in (b, c):
        process.online.came("u")
        settle(soon)
    b.online.went("u", 0.0)
    b.online.sweep(OFFLINE_AFTER_S)
    settle(soon)
    assert a.changes == [("u", True)]
    a.online.gone("c")
    assert a.changes == [("u", True), ("u", False)]


def test_a_user_who_moves_to_another_process_is_no_news(three, soon):
    a, b, c = three
    a.online.watch("u")
    b.online.came("u")
    settle(soon)
    b.online.went("u", 0.0)
    c.online.came("u")
    settle(soon)
    b.online.sweep(OFFLINE_AFTER_S)
    settle(soon)
    a.online.gone("b")
    assert a.changes == [("u", True)]
    assert a.knows("u")


def test_users_of_a_dead_process_are_offline(three, soon):
    a, b, _ = three
    a.online.watch("u")
    b.online.came("u")
    settle(soon)
    a.online.gone("b")
    assert a.changes == [("u", True), ("u", False)]
    assert not a.knows("u")


def test_a_process_that_comes_later_is_told_everything(three, soon):
    a, _, _ = three
    for number in range(1200):
        a.online.came(f"u{number}")
    settle(soon)
    late = Process("d", a.signals.beside(), soon.append)
    settle(soon)
    assert late.knows("u0")
    assert late.knows("u1199")
    assert late.changes == []


def test_what_was_missed_is_made_up_for(three, soon):
    a, b, _ = three
    for user in ("u", "v", "w"):
        a.online.watch(user)
    b.online.came("u")
    settle(soon)
    hears = a.signals._heard.pop(ONLINE)
    b.online.came("v")
    b.online.went("u", 0.0)
    b.online.sweep(OFFLINE_AFTER_S)
    settle(soon)
    a.signals._heard[ONLINE] = hears
    assert a.knows("u")
    b.online.came("w")
    settle(soon)
    assert sorted(a.changes) == [("u", False), ("u", True), ("v", True), ("w", True)]
    assert [a.knows(user) for user in ("u", "v", "w")] == [False, True, True]
