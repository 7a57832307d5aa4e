import pytest

from chatd.room_book import (
    MAX_USERS,
    MemoryRoomBook,
    RoomsAway,
    RoomSettings,
    direct_room,
    fault_of,
)


def test_what_is_laid_down_is_told_until_it_is_removed():
    book, changes = MemoryRoomBook(), []
    book.listen(lambda room: changes.append((room, book.settings(room))))
    office = RoomSettings("office", kind="private", users=("a", "b"), subscribed=True)
    book.put(office)
    book.put(office)
    assert book.settings("office") == office
    assert list(book.subscriptions("a")) == ["office"]
    smaller = RoomSettings("office", kind="private", users=("b",), subscribed=True)
    book.put(smaller)
    assert list(book.subscriptions("a")) == []
    assert book.everything() == [smaller]
    book.remove("office")
    book.remove("office")
    assert book.settings("office") is None
    assert list(book.subscriptions("b")) == []
    assert changes == [("office", office), ("office", smaller), ("office", None)]


def test_a_book_that_is_away_says_so():
    book = MemoryRoomBook()
    book.away = True
    for ask in (book.settings, book.subscriptions):
        with pytest.raises(RoomsAway):
            ask("anything")


def test_two_users_have_one_direct_room_in_either_order():
    assert direct_room("a", "b") == direct_room("b", "a")
    assert direct_room("a", "bc") != direct_room("ab", "c")
    settings = RoomSettings(direct_room("a", "b"), kind="direct", users=("b", "a"))
    assert fault_of(settings) is None


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (RoomSettings("no spaces"), "room"),
        (RoomSettings("r", capacity=0), "capacity"),
        (RoomSettings("r", users=("a",)), "public"),
        (RoomSettings("r", kind="private", users=("a", "a")), "once"),
        (RoomSettings("r", kind="private", users=("",)), "printable"),
        (RoomSettings("r", kind="private", users=("a\n",)), "printable"),
        (
            RoomSettings("r", kind="private", users=tuple(map(str, range(MAX_USERS + 1)))),
            "at most",
        ),
        (RoomSettings("r", kind="direct", users=("a", "b")), "direct"),
        (RoomSettings(direct_room("a", "b"), kind="direct", users=("a", "c")), "direct"),
        (RoomSettings(direct_room("a", "a"), kind="direct", users=("a", "a")), "once"),
        (RoomSettings(direct_room("a", "b"), kind="private", users=("a",)), "direct"),
    ],
)
def test_what_makes_no_sense_is_told(settings, fault):
    assert fault in fault_of(settings)
