from hypothesis import given
from hypothesis import strategies as st

from chatd.bus import Page, Publication
from chatd.history import Entry
from chatd.recovery import settle
from chatd.wire import MSGPACK, Message, Since


def publication(offset, epoch="e1"):
    message = Message("r", offset, f"{epoch}-{offset}", "u", "U", 0, "x")
    return Publication(epoch, None, message, MSGPACK.encode(message))


def page(offset, first, *, recovered=True, epoch="e1"):
    entries = [Entry(n, publication(n).packed) for n in range(first, offset + 1)]
    return Page(epoch, offset, recovered, entries)


def offsets(page):
    return [entry.offset for entry in page.entries]


def test_nothing_held_leaves_the_page_as_it_is():
    told = page(5, 3)
    assert settle(told, [], Since("e1", 2), 0) is told


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_since_is_answered_with_everything_up_to_the_last_held_once(since, top, first, length):
    """Whatever the overlap of page and held, the next live message follows `offset`."""
    since = min(since, top)
    first = min(first, top) + 1
    held = [publication(n) for n in range(first, first + length)]
    settled = settle(page(top, since + 1), held, Since("e1", since), 0)
    assert settled.recovered
    assert settled.offset == max(top, first + length - 1)
    assert offsets(settled) == list(range(since + 1, settled.offset + 1))


def test_a_gap_between_page_and_held_is_not_recovered():
    settled = settle(page(5, 3), [publication(7)], Since("e1", 2), 0)
    assert (settled.offset, settled.recovered, offsets(settled)) == (7, False, [])


def test_an_unrecovered_page_stays_so_and_empty():
    told = Page("e1", 5, False, ())
    settled = settle(told, [publication(6)], Since("e0", 2), 9)
    assert (settled.offset, settled.recovered, offsets(settled)) == (6, False, [])


def test_another_epoch_in_the_meantime_is_not_recovered():
    settled = settle(page(5, 3), [publication(6), publication(1, "e2")], Since("e1", 2), 0)
    assert (settled.epoch, settled.offset, settled.recovered) == ("e2", 1, False)
    assert offsets(settled) == []


def test_history_is_the_last_n_of_both():
    settled = settle(page(5, 3, recovered=False), [publication(6)], None, 2)
    assert (settled.offset, settled.recovered, offsets(settled)) == (6, False, [5, 6])
    assert offsets(settle(page(5, 3, recovered=False), [publication(6)], None, 0)) == []


def test_a_fresh_page_of_a_new_epoch_is_not_taken_back_to_the_one_that_ended():
    """Whoever joined while an epoch ended was told the last place of the old one, not recovered,
    and then heard the first messages of the new one."""
    held = [publication(1, "old"), publication(2, "old")]
    fresh = Page("new", 0, False, (), fresh=True)
    assert settle(fresh, held, Since("old", 2), 0) is fresh
