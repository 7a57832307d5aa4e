"""One suite over every store of placements: `make` gives a store whose clock is moved by hand."""

import asyncio

import pytest

from metaport.placements import LEASE_S, LocalPlacements


class Local:
    """Placements of one process, and their clock."""

    def __init__(self):
        self.now = 1000.0
        self.store = LocalPlacements(lambda: self.now)

    def another(self):
        """Return the store as another hub process sees it: here there is only one."""
        return self.store

    async def pass_lease(self):
        self.now += LEASE_S + 1

    async def close(self):
        pass


@pytest.fixture(params=[Local])
async def kept(request):
    kept = request.param()
    yield kept
    await kept.close()


async def test_a_room_is_nowhere_until_it_is_placed(kept):
    assert await kept.store.find("방/1") is None
    assert await kept.store.place("방/1", "sfu", None) == "sfu"
    assert await kept.another().find("방/1") == "sfu"


async def test_of_two_who_place_one_wins_and_both_hear_of_it(kept):
    placed = await asyncio.gather(
        kept.store.place("lobby", "sfu", None), kept.another().place("lobby", "sfu-1", None)
    )
    assert placed[0] == placed[1] == await kept.store.find("lobby")


async def test_a_room_is_moved_once_by_those_who_saw_it_at_the_same_place(kept):
    await kept.store.place("lobby", "sfu", None)
    assert await kept.store.place("lobby", "sfu-1", "sfu") == "sfu-1"
    assert await kept.another().place("lobby", "sfu-2", "sfu") == "sfu-1"
    assert await kept.another().place("lobby", "sfu-2", None) == "sfu-1"


async def test_a_room_that_was_forgotten_meanwhile_can_be_moved(kept):
    assert await kept.store.place("lobby", "sfu-1", "sfu") == "sfu-1"


async def test_a_lease_nobody_renews_ends(kept):
    await kept.store.place("old", "sfu", None)
    await kept.pass_lease()
    assert await kept.store.find("old") is None
    assert await kept.another().place("old", "sfu-1", None) == "sfu-1"


async def test_renewing_keeps_rooms_and_tells_which_are_elsewhere(kept):
    await kept.store.place("lobby", "sfu", None)
    await kept.another().place("hall", "sfu-1", None)
    assert await kept.store.renew("sfu", ["lobby", "hall", "new"]) == {"hall": "sfu-1"}
    assert await kept.store.find("hall") == "sfu-1"
    assert await kept.another().find("new") == "sfu"
    assert await kept.store.renew("sfu", []) == {}
