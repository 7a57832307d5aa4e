"""Publications come early, twice and by three ways; they leave in order and once."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chatd.bus import Draft, Publication, Receipt
from chatd.history import Entry
from chatd.mirror import Mirror, Question
from chatd.wire import MSGPACK, Message, Since


def _publication(offset: int, epoch: str = "e1") -> Publication:
    message = Message("lobby", offset, f"{epoch}-{offset}", "visitor", "Visitor", 0, offset)
    return Publication(epoch, None, message, MSGPACK.encode(message))


def _entries(*offsets: int, epoch: str = "e1") -> list[Entry]:
    return [Entry(offset, _publication(offset, epoch).packed) for offset in offsets]


def _load(mirror: Mirror, offset: int, entries: Sequence[Entry] = (), epoch: str = "e1"):
    numbers = {entry.packed: entry.offset for entry in entries}
    return mirror.load(epoch, offset, entries, lambda packed: _publication(numbers[packed], epoch))


def _offsets(publications: Sequence[Publication]) -> list[int]:
    return [publication.message.offset for publication in publications]


def _mirror(offset: int = 0) -> Mirror:
    mirror = Mirror("lobby", 100, 1 << 20)
    _load(mirror, offset)
    return mirror


def _receipt(offset: int) -> Receipt:
    return Receipt(Draft("lobby", "visitor", "Visitor", 1, None, None, 1), offset, "id", 0)


def _question(history: int = 0) -> Question:
    return Question(None, history, lambda page: None, 0.0)


@given(st.permutations(range(1, 12)), st.lists(st.integers(1, 11)))
def test_any_order_and_any_repeats_leave_in_order_once(order, repeats) -> None:
    mirror = _mirror()
    left: list[int] = []
    for offset in [*repeats, *order, *repeats]:
        left += _offsets(mirror.receive(_publication(offset)))
    assert left == list(range(1, 12))
    assert not mirror.gapped


@given(st.permutations(range(1, 12)), st.integers(0, 11), st.integers(0, 11))
def test_a_reading_fills_what_is_missing(order, heard_count, top) -> None:
    mirror = _mirror()
    left: list[int] = []
    for offset in order[:heard_count]:
        left += _offsets(mirror.receive(_publication(offset)))
    lapsed, ready = _load(mirror, top, _entries(*range(1, top + 1)))
    left += _offsets(ready)
    for offset in order[heard_count:]:
        left += _offsets(mirror.receive(_publication(offset)))
    assert not lapsed
    assert left == list(range(1, 12))
    assert [entry.offset for entry in mirror.tail.last(100)] == left


def test_before_the_first_reading_only_what_follows_it_is_kept() -> None:
    mirror = Mirror("lobby", 100, 1 << 20)
    assert mirror.receive(_publication(4)) == []
    mirror.questions.append(_question())
    for offset in (5, 6, 7):
        assert mirror.receive(_publication(offset)) == []
    lapsed, ready = _load(mirror, 5)
    assert (lapsed, _offsets(ready), mirror.offset) == (False, [6, 7], 7)


def test_another_epoch_is_asked_about_and_then_believed() -> None:
    mirror = _mirror(3)
    assert mirror.receive(_publication(1, "e2")) == []
    assert mirror.behind
    lapsed, ready = _load(mirror, 0, epoch="e2")
    assert (lapsed, _offsets(ready), mirror.epoch, mirror.offset) == (True, [1], "e2", 1)


def test_a_straggler_of_an_ended_epoch_is_dropped() -> None:
    mirror = _mirror(3)
    mirror.receive(_publication(9, "e0"))
    lapsed, ready = _load(mirror, 3)
    assert (lapsed, ready, mirror.epoch, mirror.gapped) == (False, [], "e1", False)


def test_a_gap_that_is_no_longer_kept_is_a_lapse() -> None:
    mirror = _mirror(3)
    lapsed, ready = _load(mirror, 10, _entries(9, 10))
    assert (lapsed, ready, mirror.offset) == (True, [], 10)
    assert _offsets(mirror.receive(_publication(11))) == [11]


def test_a_receipt_waits_for_its_message() -> None:
    mirror = _mirror()
    mirror.receive(_publication(2))
    assert mirror.wait("e1", _receipt(2))
    assert mirror.release() == []
    mirror.receive(_publication(1))
    assert [receipt.offset for receipt in mirror.release()] == [2]
    assert not mirror.wait("e1", _receipt(1))


def test_receipts_of_an_ended_epoch_are_forsaken() -> None:
    mirror = _mirror()
    mirror.receive(_publication(2))
    mirror.wait("e1", _receipt(2))
    _load(mirror, 0, epoch="e2")
    assert [receipt.offset for receipt in mirror.forsake()] == [2]
    assert mirror.release() == []


def test_our_own_messages_behind_a_lapse_are_stored_before_their_receipts() -> None:
    mirror = _mirror(3)
    mirror.receive(_publication(2, "e2"))
    mirror.wait("e2", _receipt(2))
    lapsed, ready = _load(mirror, 5, epoch="e2")
    assert (lapsed, _offsets(ready)) == (True, [2])
    assert [receipt.offset for receipt in mirror.release()] == [2]


def test_the_tail_answers_what_it_has_and_asks_for_the_rest() -> None:
    mirror = _mirror(10)
    for offset in (11, 12):
        mirror.receive(_publication(offset))
    near = mirror.page(Since("e1", 10), 0)
    assert near is not None
    assert [entry.offset for entry in near.entries] == [11, 12]
    assert mirror.page(Since("e1", 9), 0) is None
    assert mirror.page(None, 3) is None
    _load(mirror, 12, _entries(*range(5, 13)))
    far = mirror.page(Since("e1", 4), 0)
    assert far is not None
    assert (far.recovered, len(far.entries)) == (True, 8)
    # Redis has no more than that.
    assert not mirror.best_page(Since("e1", 2), 0).recovered


def test_a_reading_that_is_late_does_not_shorten_the_tail() -> None:
    mirror = _mirror(0)
    for offset in (1, 2, 3, 4):
        mirror.receive(_publication(offset))
    _load(mirror, 2, _entries(1, 2))
    assert [entry.offset for entry in mirror.tail.last(9)] == [1, 2, 3, 4]


def test_ours_is_known_as_ours_whichever_copy_came_first() -> None:
    mirror = _mirror()
    theirs = _publication(2)
    theirs.own = False
    assert mirror.receive(theirs) == []
    assert mirror.claim(_publication(2))
    assert [p.own for p in mirror.receive(_publication(1))] == [True, True]
    assert not mirror.claim(_publication(2))


def test_a_reading_does_not_take_ours_for_anothers() -> None:
    mirror = _mirror()
    mirror.receive(_publication(2))

    def decode(packed: bytes) -> Publication:
        publication = _publication(msgspec.msgpack.decode(packed)["offset"])
        publication.own = False
        return publication

    lapsed, ready = mirror.load("e1", 3, _entries(1, 2, 3), decode)
    assert not lapsed
    assert [(p.message.offset, p.own) for p in ready] == [(1, False), (2, True), (3, False)]


def test_somebody_ahead_of_this_process_is_not_told_to_begin_anew() -> None:
    """Another process told them the message that is still on its way here; or a new epoch."""
    mirror = _mirror(7)
    for since in (Since("e1", 8), Since("e2", 1)):
        assert mirror.is_elsewhere(since)
        assert mirror.page(since, 0) is None
    _load(mirror, 8, _entries(8))
    page = mirror.page(Since("e1", 8), 0)
    assert page is not None
    assert (page.recovered, page.offset, list(page.entries)) == (True, 8, [])
    assert not mirror.best_page(Since("e2", 1), 0).recovered


def test_a_reading_of_as_many_messages_as_the_tail_has_may_begin_earlier() -> None:
    """One read while one more came: the tail had one, the reading another, and whoever had
    missed both was told that they cannot be recovered."""
    mirror = _mirror(5)
    mirror.forget()
    mirror.receive(_publication(6))
    assert _load(mirror, 5, _entries(5)) == (False, [])
    page = mirror.page(Since("e1", 4), 0)
    assert page is not None
    assert (page.recovered, [entry.offset for entry in page.entries]) == (True, [5, 6])


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_tail_begins_as_early_as_it_or_a_reading_did(top, since, kept) -> None:
    mirror = _mirror(9 - min(kept, 9))
    for offset in range(mirror.offset + 1, 10):
        mirror.receive(_publication(offset))
    entries = _entries(*range(min(since, top) + 1, top + 1))
    before = mirror.page(Since("e1", since), 0)
    _load(mirror, top, entries)
    after = mirror.page(Since("e1", since), 0)
    reaches = bool(entries) and top >= 9 - kept and since <= top
    assert (after is not None) == (before is not None or reaches)
