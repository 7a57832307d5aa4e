import asyncio

import pytest

from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.moderation import SqlModeration
from metaport.db.webhooks import Endpoint, SqlWebhooks
from metaport.moderation_act import Act

MUTE = Act("mute", "광장", "eve", "host", 1_000, "도배", ("audio", "text"), 61_000)
BAN = Act("ban", "world/1/**", "eve", "host", 2_000)
REMOVE = Act("remove", "광장", None, "host", 3_000, epoch="e1", offset=7)
MOVE = Act("move", "광장", "ann", "host", 4_000, to="조용한 방")


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def moderation(engine):
    return SqlModeration(engine, SqlWebhooks(engine))


async def test_acts_are_kept_in_order_and_read_back(moderation):
    kept = [await moderation.add(act) for act in (MUTE, BAN, REMOVE, MOVE)]
    assert [act.revision for act in kept] == [1, 2, 3, 4]
    assert kept[0] == MUTE._replace(revision=1)
    # What is over at once has no effect on anybody who reads later.
    assert await moderation.since(0, 10) == kept[:3]
    assert await moderation.since(1, 1) == [kept[1]]
    assert await moderation.revision() == 4
    assert await moderation.page(None, None, None, 10) == kept[::-1]
    assert await moderation.page("광장", None, None, 10) == [kept[3], kept[2], kept[0]]
    assert await moderation.page(None, "eve", 2, 10) == [kept[0]]


async def test_an_act_stands_with_whom_it_is_told_to(engine, moderation):
    webhooks = SqlWebhooks(engine)
    await webhooks.add(Endpoint("we_1", "https://a.kr/", ("moderation.*",), True, 1, 0), "a", 0)
    await moderation.add(REMOVE)
    (delivery,) = await webhooks.deliveries("we_1", None, 10)
    assert (delivery.event_id, delivery.type) == ("moderation/1", "moderation.remove")
    (due,) = await webhooks.claim(10, 1, 10)
    assert '"message": "e1-7"' in due.body


async def test_acts_at_once_have_each_their_place(engine):
    stores = [SqlModeration(engine, SqlWebhooks(engine)) for _ in range(4)]
    await stores[0].revision()
    kept = await asyncio.gather(*(stores[n % 4].add(BAN) for n in range(12)))
    assert sorted(act.revision for act in kept) == list(range(1, 13))


async def test_an_act_that_says_too_little_is_not_kept(moderation):
    for bad in (MOVE._replace(to=None), REMOVE._replace(epoch=None), BAN._replace(user=None)):
        with pytest.raises(DatabaseUnavailable):
            await moderation.add(bad)
    assert await moderation.revision() == 0
