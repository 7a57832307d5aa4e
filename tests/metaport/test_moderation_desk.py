"""Acts carried out over several hubs and SFUs, and what is said where some do not answer."""

import asyncio

import pytest

from chatd.errands import Errands
from chatd.signals import LocalSignals
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.moderation import SqlModeration
from metaport.db.webhooks import SqlWebhooks
from metaport.media_moderation import MediaDone, MediaModeration
from metaport.moderation_act import Act
from metaport.moderation_desk import ModerationDesk
from metaport.moderation_file import ActFile
from metaport.moderation_watch import ModerationWatch
from tests.chatd.conftest import HandClock, House
from tests.chatd.station import until
from tests.metaport import test_media

two = test_media.two

BAN = Act("ban", "hall", "eve", "mod", 0)
MUTE = Act("mute", "lobby", "u-s-1", "mod", 0, what=("audio", "text"))


class Place:
    """One of several hubs on one database."""

    def __init__(self, name, store, signals, *, others, directory, links):
        self.errands = Errands(signals, name, lambda: others, within_s=0.5)
        self.watch = ModerationWatch(store, ActFile(directory / name), signals)
        self.house = House(clock=HandClock(0.0), moderation=self.watch.book)
        self.desk = ModerationDesk(
            store, self.watch, self.errands,
            hub=self.house.hub, media=MediaModeration(links), clock=lambda: 0.0, node=name,
        )  # fmt: skip
        self.errands.start()


@pytest.fixture
async def build_places(tmp_path):
    engine = await open_engine(sqlite_url(tmp_path / "metaport.db"))
    store = SqlModeration(engine, SqlWebhooks(engine))

    def build(*names, dead=(), links=None):
        signals = LocalSignals()
        return [
            Place(
                name,
                store,
                signals.beside(),
                others=[other for other in (*names, *dead) if other != name],
                directory=tmp_path,
                links=links or {},
            )
            for name in names
        ]

    yield build
    await engine.dispose()


async def test_an_act_holds_on_every_hub_before_it_is_answered(build_places):
    here, there = build_places("a", "b")
    eve = there.house.visitor("eve", "hall")
    done = await here.desk.carry_out(BAN)
    assert (done.connections, done.unanswered) == (1, 0)
    assert eve.hear()[0]["reason"] == "banned"
    assert here.house.visitor("eve").ask(t="join", room="hall")["reason"] == "banned"


async def test_a_hub_that_does_not_answer_is_told(build_places):
    (here,) = build_places("a", dead=["b"])
    here.house.visitor("eve", "hall")
    done = await here.desk.carry_out(BAN)
    assert (done.connections, done.unanswered) == (1, 1)


async def test_somebody_is_moved_on_whichever_hub_they_are(build_places):
    here, there = build_places("a", "b")
    eve = there.house.visitor("eve", "hall")
    assert await here.desk.present("eve", "hall") == 1
    done = await here.desk.carry_out(BAN._replace(act="move", to="yard"))
    assert (done.connections, done.refused, done.reason) == (1, 0, None)
    assert [frame["t"] for frame in eve.hear()] == ["left", "joined"]
    done = await here.desk.carry_out(BAN._replace(act="move", room="yard", to="no room"))
    assert (done.connections, done.refused, done.reason) == (0, 1, "bad_room")


async def test_people_of_all_hubs_are_counted_together(build_places):
    here, there = build_places("a", "b")
    here.house.visitor("eve", "hall")
    there.house.visitor("eve", "hall")
    there.house.visitor("ann", "hall")
    people, unanswered = await here.desk.people("hall", "", 10)
    assert [(each.user, each.connections) for each in people] == [("ann", 1), ("eve", 2)]
    assert unanswered == 0
    assert [each.user for each in (await here.desk.people("hall", "ann", 1))[0]] == ["eve"]
    answers = await here.desk.figures("hall")
    assert [(each["hub"], each["connections"]) for each in answers.results] == [("a", 1), ("b", 2)]


async def test_every_sfu_mutes_and_ends_media_and_who_is_away_is_told(two, build_places):
    (here,) = build_places("a", links=two.relay.links)
    await two.joined("s-1")
    asked = []
    for name, sfu in two.sfus.items():
        sfu.moderated = lambda request, name=name: asked.append((name, request))
    done = await here.desk.carry_out(MUTE)
    assert (done.participants, done.away) == (2, [])
    assert sorted((name, each["op"], each["kinds"]) for name, each in asked) == [
        ("sfu", "silence", ["audio"]),
        ("sfu-1", "silence", ["audio"]),
    ]
    await two.servers["sfu-1"].close()
    await until(lambda: not two.relay.links["sfu-1"].connected, "a loss")
    done = await here.desk.carry_out(MUTE._replace(act="expel", what=()))
    assert (done.participants, done.away) == (1, ["sfu-1"])
    assert asked[-1][1] == {
        "id": asked[-1][1]["id"], "op": "expel", "user": "u-s-1", "room": "lobby",
        "reason": "removed",
    }  # fmt: skip


async def test_a_pattern_is_asked_of_the_rooms_there_are(two):
    asked = []
    two.sfu.moderated = asked.append
    await two.joined("s-1", "world/1/lobby")
    name = two.where("s-1")[0]
    two.sfus[name].moderated = asked.append
    done = await MediaModeration(two.relay.links).expel("u-s-1", "world/1/**")
    assert done == MediaDone(1, [])
    assert [each["room"] for each in asked] == ["world/1/lobby"]


async def test_what_is_silenced_goes_with_every_frame(tmp_path):
    house = test_media.House(tmp_path)
    house.relay._silenced = lambda user, room: ["video"] if (user, room) == (
        "u-s-1", "lobby",
    ) else []  # fmt: skip
    async with asyncio.timeout(10):
        await house.open()
        frames = []
        house.sfu.framed = frames.append
        await house.joined("s-1")
        await house.joined("s-2")
        assert [each["silenced"] for each in frames] == [["video"], []]
        await house.relay.request_http("whip", room="lobby", user="u-s-1", name="x", sdp="")
        assert frames[-1]["silenced"] == ["video"]
        await house.close()
