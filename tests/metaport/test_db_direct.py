"""What goes past SQLAlchemy tells what the store tells, and lives through its server."""

import asyncio

import pytest
from sqlalchemy import make_url

from chatd.room_book import RoomSettings
from metaport.db.direct import DirectPool
from metaport.db.engine import connect
from metaport.db.errors import DatabaseUnavailable
from metaport.db.rooms import SqlRooms

ROOM = RoomSettings("상담/1", "private", False, 5, ("ann",), False, True)


@pytest.fixture
async def rooms(postgres_url):
    engine = connect(postgres_url)
    direct = DirectPool(make_url(postgres_url))
    store = SqlRooms(engine, direct)
    await store.create(ROOM, "ann", 1)
    yield store, direct
    await direct.close()
    await engine.dispose()


async def test_a_room_is_read_as_it_was_laid_down(rooms):
    store, _ = rooms
    assert await store.get(ROOM.room) == ROOM
    assert await store.get("another") is None
    assert await store.remove(ROOM.room, "ann", 2)
    assert await store.get(ROOM.room) is None


async def test_many_at_once_share_a_few_connections(rooms):
    store, _ = rooms
    assert await asyncio.gather(*(store.get(ROOM.room) for _ in range(50))) == [ROOM] * 50


async def test_connections_that_died_are_made_anew(rooms, postgres_url):
    store, _ = rooms
    await asyncio.gather(*(store.get(ROOM.room) for _ in range(20)))
    other = connect(postgres_url)
    async with other.connect() as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'metaport direct' AND datname = current_database()"
        )
    await other.dispose()
    assert await store.get(ROOM.room) == ROOM


async def test_without_a_server_it_says_so(tmp_path):
    direct = DirectPool(make_url(f"postgresql://nobody@/none?host={tmp_path}"))
    store = SqlRooms(connect(f"postgresql://nobody@/none?host={tmp_path}"), direct)
    store._prepared = True
    with pytest.raises(DatabaseUnavailable):
        await store.get("x")
    await direct.close()
