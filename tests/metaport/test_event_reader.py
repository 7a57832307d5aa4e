"""From the log to webhooks: what is wanted, once, whatever is killed; nothing where nobody asks."""

import pytest

from chatd.facts import Attended, MessageAccepted
from metaport.chat_journal import ChatJournal, left_behind
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.webhooks import Endpoint, SqlWebhooks
from metaport.event_reader import EventReader
from metaport.log import Log
from metaport.log_events import TYPES, wanted_types
from metaport.media_journal import MediaJournal
from metaport.people_log import PeopleLog
from metaport.usage_log import UsageLog
from sfu.facts import Appearance

NOW = 1_790_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield SqlWebhooks(engine)
    await engine.dispose()


class Machine:
    """A hub's log and an SFU's, and what reads them."""

    def __init__(self, store, directory):
        self.store = store
        self.directory = directory
        self.now = float(NOW)
        self.hub_log = Log(directory / "hub", segment_bytes=2_000)
        self.sfu_log = Log(directory / "sfu")
        self.chat = ChatJournal(UsageLog(self.hub_log, "hub-0", self.clock))
        self.media = MediaJournal(UsageLog(self.sfu_log, "sfu-0", self.clock))
        self.reader = self.start()

    def clock(self):
        return self.now

    def start(self):
        """Return a reader that knows nothing of the one before."""
        logs = {"hub-0": self.directory / "hub", "sfu-0": self.directory / "sfu"}
        self.reader = EventReader(self.store, logs, self.clock)
        return self.reader

    async def want(self, *events):
        await self.store.add(
            Endpoint("we_1", "http://127.0.0.1:1/", events, True, 1, int(self.now)), "a", self.now
        )

    def say(self, offset, room="광장"):
        at_ms = int(self.now * 1000)
        fact = MessageAccepted(room, "e1", offset, f"e1-{offset}", "eve", "Eve", at_ms, "안녕")
        self.chat.commit([fact])

    async def told(self):
        due = await self.store.deliveries("we_1", None, 1_000)
        return sorted((each.type, each.event_id) for each in due)


@pytest.fixture
async def machine(store, tmp_path):
    machine = Machine(store, tmp_path / "logs")
    yield machine
    machine.reader.close()
    machine.hub_log.close()
    machine.sfu_log.close()


async def test_what_is_wanted_is_told_once_however_often_it_is_read(machine):
    await machine.want("message.*", "room.joined")
    for offset in (1, 2):
        machine.say(offset)
    here = Attended("광장", "eve", "Eve", NOW * 1000, True, "b-1")
    machine.chat.commit([here, Attended("", "eve", "Eve", NOW * 1000, True, "b-2")])
    assert await machine.reader.read() == 3
    assert await machine.reader.read() == 0
    told = await machine.told()
    assert [kind for kind, _ in told] == ["message.sent", "message.sent", "room.joined"]
    # Killed before the checkpoint, or a database from a backup: the same events again.
    await machine.store.put_from_log([], "hub-0", 0)
    assert await machine.start().read() == 0
    assert await machine.told() == told


async def test_what_is_told_says_what_happened(machine):
    await machine.want("message.sent")
    machine.say(7)
    await machine.reader.read()
    (due,) = await machine.store.claim(NOW + 10, 10, 60)
    assert '"room": "광장"' in due.body
    assert '"body": "안녕"' in due.body
    assert due.event_id.isascii()


async def test_a_reader_that_dies_loses_nothing(machine):
    await machine.want("message.sent")
    machine.say(1)
    await machine.reader.read()
    machine.reader.close()
    machine.say(2)
    assert await machine.start().read() == 1
    # Also where it dies before its first look at an endpoint.
    machine.reader.close()
    await machine.store.remove("we_1")
    await machine.start().read()
    machine.now += 5
    await machine.want("message.sent")
    machine.say(3)
    assert await machine.start().read() == 1


async def test_what_happened_before_anybody_wanted_it_is_nobodys_event(machine):
    machine.say(1)
    machine.now += 1
    await machine.reader.read()
    machine.now += 1
    await machine.want("message.sent")
    machine.say(2)
    assert await machine.reader.read() == 1


async def test_where_nobody_wants_anything_no_log_is_opened_nor_held_back(machine):
    await machine.want("budget.*", "moderation.*")
    machine.say(1)
    assert await machine.reader.read() == 0
    assert machine.reader.position("hub-0") is None
    assert not machine.reader.wants_people
    assert await machine.store.checkpoint("hub-0") is None
    assert await machine.told() == []


async def test_an_endpoint_that_wants_it_no_more_lets_the_log_go(machine):
    await machine.want("message.sent")
    machine.say(1)
    await machine.reader.read()
    assert machine.reader.position("hub-0") == machine.hub_log.position
    assert await machine.store.checkpoint("hub-0") == machine.hub_log.position
    await machine.store.remove("we_1")
    await machine.reader.read()
    assert machine.reader.position("hub-0") is None
    assert await machine.store.checkpoint("hub-0") is None


async def test_media_is_told_by_who_and_what(machine):
    await machine.want("media.*")
    machine.media.commit([
        Appearance("광장", "eve", "p-1", NOW * 1000, False),
        Appearance("광장", "eve", "p-1", NOW * 1000, False, "t-1", "audio", "microphone"),
        Appearance("광장", "eve", "p-1", NOW * 1000, True, "t-1", "audio", "microphone"),
        Appearance("광장", "eve", "p-1", NOW * 1000, True),
    ])  # fmt: skip
    assert await machine.reader.read() == 4
    assert await machine.told() == [
        ("media.joined", "media/p-1/begin"),
        ("media.left", "media/p-1/end"),
        ("media.track_ended", "media/t-1/end"),
        ("media.track_started", "media/t-1/begin"),
    ]


async def test_more_than_a_transaction_over_several_segments_is_all_told(machine):
    await machine.want("message.sent")
    for offset in range(1, 121):
        machine.say(offset)
    assert await machine.reader.read() == 120
    assert len(await machine.told()) == 120


async def test_without_a_database_it_waits_and_goes_on(machine, monkeypatch):
    await machine.want("message.sent")
    machine.say(1)

    class Away(SqlWebhooks):
        async def put_from_log(self, events, reader, position):
            raise DatabaseUnavailable("away")

    machine.reader._store = Away(machine.store._engine)
    with pytest.raises(DatabaseUnavailable):
        await machine.reader.read()
    machine.reader.close()
    machine.reader._store = machine.store
    assert await machine.reader.read() == 1


async def test_people_of_a_hub_that_was_killed_have_gone_when_it_starts_again(machine):
    await machine.want("room.*")
    people = PeopleLog(machine.hub_log)
    eve = Attended("광장", "eve", "Eve", NOW * 1000, True, "b-1")
    assert people.begin(NOW * 1000, lambda: [eve]) == 0
    machine.chat.commit([eve, Attended("광장", "ann", "Ann", NOW * 1000, True, "b-2")])
    machine.chat.commit([Attended("광장", "ann", "Ann", NOW * 1000, False, "b-3")])
    # Segments turn over, and the old ones go.
    for offset in range(1, 60):
        machine.say(offset)
    machine.hub_log.trim(machine.hub_log.position)
    assert left_behind(machine.hub_log.directory) == [eve]
    after = PeopleLog(machine.hub_log)
    assert after.begin(NOW * 1000, list) == 1
    await machine.reader.read()
    assert ("room.left", "people/b-1-lost") in await machine.told()
    after.end()
    assert PeopleLog(machine.hub_log).begin(NOW * 1000, list) == 0


def test_patterns_of_endpoints_name_types():
    assert wanted_types(["*"]) == set(TYPES)
    assert wanted_types(["room.*", "budget.*"]) == {"room.joined", "room.left"}
    assert wanted_types([]) == set()
