"""chatd/PROTOCOL.md, replayed: what it shows is what the hub does."""

import asyncio
import json
import re
from itertools import count
from pathlib import Path
from urllib.parse import unquote

import pytest

import chatd
from chatd import errors
from chatd.archive import ArchiveAway
from chatd.bus import LocalBus
from chatd.errors import BUS_AWAY, BusAway, FactsRefused, Refused
from chatd.grants import Rights, to
from chatd.limits import Limits
from chatd.moderation import MemoryModeration, Removal, Sanction
from chatd.opening_hours import DAYS, Stretch
from chatd.room_book import MemoryRoomBook, RoomSettings
from chatd.session import Identity
from chatd.spaces import MemorySpaces, SpaceSettings, with_state
from chatd.wire import CODECS, Ping
from tests.chatd.test_server import Chat

DOCUMENT = (Path(chatd.__file__).parent / "PROTOCOL.md").read_text("utf-8")
EXAMPLE = re.compile(
    r"<!-- example: (?P<who>\w+)(?P<way>[<>]) (?P<what>.+?) -->\n```json\n(?P<json>.*?)\n```", re.S
)
SECTIONS = {
    section.splitlines()[0]: list(EXAMPLE.finditer(section))
    for section in re.split(r"^## ", DOCUMENT, flags=re.M)[1:]
}
# Shown in bytes, and so on a socket.
BELOW = "Below the frames"
WITH_EXAMPLES = [title for title, examples in SECTIONS.items() if examples and title != BELOW]
# Who says hello in the examples themselves.
UNGREETED = {
    "Connecting": {"visitor", "resident"},
    "Errors": {"forger", "banned", "newcomer", "stranger"},
    "Kinds of rooms": {"member"},
    "When something is wrong": {"early", "old", "new", "brief"},
}
# Small ones, where an example is over them.
LIMITS = {
    "Presence": Limits(presence_members=2),
    "When something is wrong": Limits(rooms=1, body_bytes=16),
}


# It is 23:13 in Seoul where the examples are.
NIGHT = SpaceSettings("night", hours=(Stretch(DAYS, "14:06", "14:07"),))
DAY = SpaceSettings("day", state={"weather": "비", "gate": "open"}, state_revision=3)


class Spent:
    """A cap that one room has reached."""

    def refuses_messages(self, room):
        return room == "spent"


class Shaky(LocalBus):
    """A bus whose server can be away."""

    away = False

    def read(self, room, since, history, answer):
        if self.away:
            answer(Refused(BUS_AWAY, retry_after_ms=2000))
        else:
            super().read(room, since, history, answer)

    def publish(self, drafts):
        if self.away:
            self._listener.refused(drafts, BusAway("away", 2000))
        else:
            super().publish(drafts)


class NoArchive:
    """A database that is away."""

    async def before(self, room, place, limit):
        raise ArchiveAway("away")

    after = before


def fail(client, frame):
    raise RuntimeError("a bug")


class Stage:
    """The people of one section and what each has heard but not yet been shown."""

    def __init__(self, build, clock, codec, title):
        sessions, epochs = count(1), count(1)
        wrong = title == "When something is wrong"
        self.house = build(
            clock=clock,
            bus=Shaky(clock=clock, new_epoch=lambda: f"e{next(epochs)}"),
            archive=NoArchive() if wrong else None,
            limits=LIMITS.get(title, Limits()),
            new_session=lambda: f"s{next(sessions)}",
            book=(
                book := MemoryRoomBook(
                    RoomSettings("office", kind="private", users=("member",), subscribed=True),
                    RoomSettings("library", guests=False),
                    RoomSettings("booth", capacity=1),
                )
            ),
            caps=Spent(),
            moderation=(moderation := MemoryModeration()),
            spaces=(spaces := MemorySpaces(NIGHT, DAY)),
        )
        self.moderation, self.book, self.spaces = moderation, book, spaces
        identities = self.house.tokens.identities
        for token, lasts_s in (("resident", 3600), ("resident, renewed", 7200)):
            expires_at = clock.time() + lasts_s
            identities[token] = Identity("resident", "Resident", expires_at=expires_at)
        identities["brief"] = Identity("brief", "Brief", expires_at=clock.time() + 30)
        identities["stranger"] = Identity("stranger", "Stranger", frozenset({"guest"}))
        identities["member"] = Identity("member", "Member", subscriptions=("news",))
        office = Identity("member", "Member", rooms=to("office"))
        identities["member, narrowed"] = office
        identities["pupil"] = Identity("pupil", "Pupil", rooms=to("class/*", rights=Rights.READ))
        self.codec = codec
        self.ungreeted = UNGREETED.get(title, set())
        self.people = {}
        self.heard = {}

    def person(self, who):
        if who not in self.people:
            greeted = who not in self.ungreeted
            enter = self.house.visitor if greeted else lambda _, codec: self.house.connect(codec)
            self.people[who] = enter(who, codec=self.codec)
            self.heard[who] = []
            if who == "hasty":
                self._exhaust(self.people[who])
        return self.people[who]

    def _exhaust(self, person):
        for _ in range(int(self.house.hub.limits.send_burst)):
            assert person.client.state._sends.take(self.house.clock.monotonic()) == 0

    def listen(self):
        for who, person in self.people.items():
            # Pings of the WebSocket are below the frames.
            self.heard[who] += [heard for heard in person.hear() if "opcode" not in heard]
            if person.pipe.closed is not None:
                closed = person.pipe.closed
                self.heard[who].append({"close": closed.code, "reason": closed.reason})
                person.pipe.closed = None

    def moderate(self, asked):
        """Do what the platform asks over HTTP, as `metaport.moderation` would."""
        method, url = next((key, value) for key, value in asked.items() if key.isupper())
        if url.startswith("/api/v1/spaces/"):
            settings = self.spaces.settings(url.split("/")[4])
            patch = {key: value for key, value in asked.items() if key.islower()}
            self.spaces.put(with_state(settings, patch))
            return
        _, _, _, _, room, what, who, *act = map(unquote, url.split("/"))
        told = {"by": "host", "note": asked.get("note", "")}
        until_ms = None
        if "for_s" in asked:
            until_ms = int((self.house.clock.time() + asked["for_s"]) * 1000)
        match (method, what, *act):
            case ("DELETE", "messages"):
                epoch, offset = who.split("-")
                self.moderation.remove(Removal(room, epoch, int(offset), **told))
            case (_, _, "move"):
                self.house.hub.bailiff.move(who, room, asked["to"], **told)
            case (_, _, "mute"):
                what = frozenset(asked["what"])
                self.moderation.put(Sanction(room, who, until_ms, what, **told))
            case (_, _, "unmute"):
                self.moderation.lift(room, who, mutes=True)
            case (_, _, "kick" | "ban" as kind):
                kicked = kind == "kick"
                self.moderation.put(Sanction(room, who, until_ms, kicked=kicked, **told))

    def happen(self, what):
        """Let something happen to the server, or to those who are connected."""
        hub, bus = self.house.hub, self.house.bus
        match what.split():
            case [seconds, "s", "pass"]:
                self.house.clock.advance(float(seconds))
                for person in self.people.values():
                    if person.client.open:
                        hub.handle_timeout(person.client)
            case [who, "connects"]:
                self.person(who)
            case [who, "reads", "nothing"]:
                pipe = self.person(who).pipe
                pipe.stuck, pipe.unsent = True, hub.limits.outbox_bytes
            case ["a", "bug"]:
                hub._handlers[Ping] = fail
            case ["the", "disk", "is", "full"]:
                self.house.facts.refusal = FactsRefused()
            case ["the", "disk", "has", "room"]:
                self.house.facts.refusal = None
            case ["Redis", "is", "away"]:
                bus.away = True
            case ["Redis", "is", "back"]:
                bus.away = False
            case ["the", "settings", "of", "rooms", "are", "away"]:
                self.book.away = True
            case ["the", "settings", "of", "rooms", "are", "back"]:
                self.book.away = False
            case [room, "begins", "anew"]:
                hub.lapsed(room)
            case ["the", "server", "drains"]:
                for session in hub.sessions():
                    hub.close(hub.client(session), errors.DRAINING)
            case _:
                raise AssertionError(f"nothing is known to happen as {what!r}")

    def wait_for(self, who):
        """Let up to a second pass until there is something to hear."""
        for _ in range(10):
            if self.heard[who]:
                return
            self.tick()

    def tick(self):
        self.house.elapse(self.house.hub.limits.state_tick_s)
        self.house.hub.tick()
        self.listen()


@pytest.mark.parametrize("title", WITH_EXAMPLES)
async def test_the_examples_of_a_section_are_what_happens(build, clock, codec, title):
    stage = Stage(build, clock, codec, title)
    for example in SECTIONS[title]:
        frame = json.loads(example["json"])
        if example["who"] == "server":
            stage.happen(frame["happens"])
            stage.listen()
            continue
        if example["who"] == "platform":
            stage.moderate(frame)
            stage.listen()
            continue
        person = stage.person(example["who"])
        if example["way"] == ">":
            if "bytes" in frame:
                person.say_bytes(bytes.fromhex(frame["bytes"]))
            else:
                person.say(**frame)
            stage.listen()
            await asyncio.sleep(0)  # whoever asks the archive
            stage.listen()
            continue
        stage.wait_for(example["who"])
        assert stage.heard[example["who"]].pop(0) == frame, example["what"]
    shown = {example["who"] for example in SECTIONS[title] if example["way"] == "<"}
    assert all(stage.heard[who] == [] for who in shown), "something was said that is not shown"


async def test_what_is_below_the_frames_ends_as_shown():
    examples = SECTIONS[BELOW]
    assert len(examples) % 2 == 0
    async with Chat(Limits(), None, {}) as chat:
        for sent, heard in zip(examples[::2], examples[1::2], strict=True):
            reader, writer = await chat.raw()
            writer.write(bytes.fromhex(json.loads(sent["json"])["bytes"]))
            opcode, size = await reader.readexactly(2)
            told = await reader.readexactly(size)
            assert opcode == 0x88
            ending = {"close": int.from_bytes(told[:2], "big"), "reason": told[2:].decode()}
            assert ending == json.loads(heard["json"]), sent["what"]


def test_every_example_is_found():
    assert DOCUMENT.count("<!-- example:") == sum(map(len, SECTIONS.values()))
    assert DOCUMENT.count("```json") == sum(map(len, SECTIONS.values()))


def test_every_type_of_frame_has_an_example():
    shown = {json.loads(e["json"]).get("t") for found in SECTIONS.values() for e in found}
    assert shown >= {
        *("hello", "join", "send", "leave", "history", "ping", "refresh", "state"),
        *("welcome", "joined", "sent", "left", "message", "presence", "pong", "refreshed"),
        *("error", "stated", "states", "online", "muted", "removed", "space"),
    }


def test_every_code_and_every_close_code_has_an_example():
    shown = [json.loads(e["json"]) for found in SECTIONS.values() for e in found]
    codes = {frame["code"] for frame in shown if frame.get("t") == "error"}
    assert {r.reason for r in errors.REFUSALS if r.code not in codes} == set()
    closes = {frame["close"] for frame in shown if "close" in frame}
    assert {close for close in errors.CLOSES if close.code not in closes} == set()


def test_the_tables_are_those_of_the_code():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|.*?\| ?(\d*) \|$", DOCUMENT, flags=re.M)
    assert rows == [
        (str(r.code), r.reason, str(r.closes.code) if r.closes else "") for r in errors.REFUSALS
    ]
    closes = re.findall(r"^\| (\d+) \|(?: `(\w+)`)? \| [^|]+ \|$", DOCUMENT, flags=re.M)
    assert closes == [(str(close.code), close.reason) for close in errors.CLOSES]


def test_both_subprotocols_are_named():
    assert all(codec.subprotocol in DOCUMENT for codec in CODECS)
