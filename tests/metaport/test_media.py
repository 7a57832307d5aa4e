"""The hub's end of voice and video: what clients hear when the SFU goes away and comes back."""

import asyncio
import time

import pytest

from chatd.media import MediaRefused
from chatd.session import Identity
from metaport import sfu_link
from metaport.media import MediaRelay, SfuLink
from metaport.placements import LocalPlacements
from sfu.control import ControlClient, ControlServer
from sfu.errors import Refused

LEAVE = {"t": "media.leave", "room": "lobby"}
UNAVAILABLE = {"t": "media.closed", "room": "lobby", "reason": "media_unavailable"}


class Client:
    """A chat connection that keeps what is pushed to it."""

    def __init__(self, session):
        self.session = session
        self.identity = Identity(f"u-{session}", session)
        self.pushed = []

    def push(self, frame):
        self.pushed.append(frame)


class Sfu:
    """An SFU that knows who joined."""

    def __init__(self):
        self.known = set()
        self.members = []
        self.asked = []
        self.links = []
        self.left = []
        self.handed_over = []
        self.ended_rooms = []
        self.rooms = []
        self.draining = self.full = self.unsure = False
        self.at_join = None
        self.framed = self.moderated = lambda request: None

    def receive_request(self, link, request):
        self.asked.append(request["op"])
        self.links.append(link)
        if request["op"] in ("frame", "whip"):
            self.framed(request)
        match request:
            case {"op": "sessions"}:
                self.unsure = False
                known = [s for s in request["sessions"] if s in self.known]
                return {"known": known, "participants": self.members}
            case {"op": "frame", "frame": {"t": "media.join"}} if self.full:
                raise Refused("too_many_participants")
            case {"op": "frame", "may_enter": False, "frame": {"t": "media.join"}}:
                raise Refused("over_budget")
            case {"op": "frame", "session": session, "frame": {"t": "media.join"}}:
                self.known.add(session)
                if self.at_join:
                    link.push(self.at_join)
                return {"t": "media.joined", "room": request["room"]}
            case {"op": "frame", "session": session, "frame": {"t": kind}}:
                self.known.discard(session)
                self.left.append((session, kind))
                return {"t": "media.left", "room": request["room"]}
            case {"op": "hand_over", "session": session}:
                self.handed_over.append(session)
            case {"op": "silence" | "expel"}:
                self.moderated(request)
                return {"participants": 1}
            case {"op": "whip"}:
                return {"participant": "p-whip"}
            case {"op": "end_room", "room": room}:
                self.ended_rooms.append(room)
            case {"op": "load"}:
                return {
                    "participants": len(self.known),
                    "rooms": self.rooms,
                    "packets": 0,
                    "draining": self.draining,
                    "claim": self.unsure,
                }
        return {}

    def link_lost(self, link):
        pass


class House:
    """A hub's relay and the SFUs it may lose."""

    def __init__(self, directory, names=("sfu",)):
        self.directory = directory
        self.sfus = {name: Sfu() for name in names}
        self.servers = {}
        self.controls = {}
        self.appeared = []
        self.ended = []
        self.compared = asyncio.Queue()
        self.lost = asyncio.Event()
        self.capped = set()
        self.relay = MediaRelay(
            LocalPlacements(time.monotonic),
            self.appeared.append,
            self.ended.append,
            self.capped.__contains__,
        )

    @property
    def sfu(self):
        return self.sfus["sfu"]

    @property
    def server(self):
        return self.servers["sfu"]

    async def open(self):
        for name in self.sfus:
            await self.start(name)
            self.controls[name] = ControlClient(self.path(name))
            link = SfuLink(name, self.controls[name])
            await self.relay.add(link)
            self.controls[name].on_lost = self.noting(link.lost)
            self.controls[name].on_connect = self.comparing(link)
        for _ in self.sfus:
            await self.compared.get()

    async def start(self, name):
        self.servers[name] = ControlServer(self.path(name), self.sfus[name])
        await self.servers[name].start()

    def path(self, name):
        return self.directory / f"{name}.sock"

    async def close(self):
        await self.relay.close()
        for server in self.servers.values():
            await server.close()

    def noting(self, lost):
        def note():
            lost()
            self.lost.set()

        return note

    def comparing(self, link):
        async def compare():
            await self.relay.compare(link)
            self.compared.put_nowait(link.name)

        return compare

    async def joined(self, session, room="lobby"):
        client = Client(session)
        await self.relay.request(client, {"t": "media.join", "room": room})
        return client

    def cut(self, name="sfu"):
        """Lose the control connection; the SFU lives."""
        for connection in list(self.servers[name].connections):
            connection.abort()

    def where(self, session):
        """Return the SFUs that know a session."""
        return [name for name, sfu in self.sfus.items() if session in sfu.known]


@pytest.fixture
async def house(tmp_path):
    house = House(tmp_path)
    async with asyncio.timeout(10):
        await house.open()
        yield house
        await house.close()


@pytest.fixture
async def two(tmp_path):
    """A hub with two SFUs."""
    house = House(tmp_path, ("sfu", "sfu-1"))
    async with asyncio.timeout(10):
        await house.open()
        yield house
        await house.close()


async def test_an_sfu_that_only_lost_the_connection_sends_nobody_away(house):
    """Everybody was sent to join again though they went on talking."""
    visitor = await house.joined("s-1")
    house.cut()
    await house.compared.get()
    assert visitor.pushed == []
    assert not house.relay.links["sfu"].returning


async def test_an_sfu_that_came_back_empty_sends_everybody_to_join_again(house):
    visitor, guest = await house.joined("s-1"), await house.joined("s-2")
    house.sfu.known.discard("s-1")
    house.cut()
    await house.compared.get()
    assert (visitor.pushed, guest.pushed) == ([UNAVAILABLE], [])


async def test_an_sfu_that_stays_away_is_given_up(house, monkeypatch):
    monkeypatch.setattr(sfu_link, "RETURN_S", 0.01)
    told = asyncio.Event()
    visitor = await house.joined("s-1")
    visitor.push = lambda frame: (visitor.pushed.append(frame), told.set())
    await house.server.close()
    await told.wait()
    assert visitor.pushed == [UNAVAILABLE]


def test_giving_up_takes_no_longer_than_a_person_waits():
    assert sfu_link.RETURN_S <= 1.0


async def test_whip_and_whep_sessions_are_those_of_the_sfu(house):
    member = {"participant": "p-1", "room": "lobby", "user": "u", "name": "camera"}
    house.sfu.members.append(member)
    house.cut()
    await house.compared.get()
    assert house.appeared == [member]
    house.sfu.members.clear()
    house.cut()
    await house.compared.get()
    assert house.ended == ["p-1"]


async def test_a_leave_the_sfu_did_not_hear_is_told_when_it_is_back(house):
    """It would have counted somebody who had left, as long as their chat connection lived."""
    visitor = await house.joined("s-1")
    house.cut()
    await house.lost.wait()
    with pytest.raises(MediaRefused):
        await house.relay.request(visitor, LEAVE)
    await house.compared.get()
    assert house.sfu.known == set()


async def test_who_was_replaced_is_not_sent_to_join_again(house):
    visitor = await house.joined("s-1")
    closed = {"t": "media.closed", "room": "lobby", "reason": "resumed_elsewhere"}
    link = house.relay.links["sfu"]
    house.relay.on_event(link, {"event": "frame", "session": "s-1", "frame": closed})
    house.sfu.known.clear()
    house.cut()
    await house.compared.get()
    assert visitor.pushed == [closed]


async def said(client, frame):
    """Wait until a client is told so; the deadline is the fixture's."""
    while frame not in client.pushed:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.005)


async def test_rooms_spread_over_the_sfus_and_stay_whole(two):
    for number in range(6):
        await two.joined(f"s-{number}", room=f"room-{number}")
        await two.joined(f"t-{number}", room=f"room-{number}")
    assert [len(sfu.known) for sfu in two.sfus.values()] == [6, 6]
    assert all(two.where(f"s-{n}") == two.where(f"t-{n}") for n in range(6))


async def test_a_room_goes_where_less_is_forwarded(two):
    """Three talkers among thirty weigh more than thirty rooms of one."""
    one, other = two.relay.links.values()
    one.packets_per_s, one.participants = 20_000.0, 30
    other.packets_per_s, other.participants, other.rooms = 100.0, 60, frozenset(map(str, range(60)))
    await two.joined("s-1")
    assert two.where("s-1") == ["sfu-1"]


async def test_rooms_of_an_sfu_that_died_are_found_on_another(two, monkeypatch):
    monkeypatch.setattr(sfu_link, "RETURN_S", 0.01)
    visitor = await two.joined("s-1")
    [died] = two.where("s-1")
    await two.servers[died].close()
    await said(visitor, UNAVAILABLE)
    two.sfus[died].known.clear()
    await two.relay.request(visitor, {"t": "media.join", "room": "lobby"})
    assert two.where("s-1") == [name for name in two.sfus if name != died]


async def test_an_sfu_that_was_only_cut_off_is_told_who_went_elsewhere(two, monkeypatch):
    """It lives and would meter its people beside the SFU that has them now."""
    monkeypatch.setattr(sfu_link, "RETURN_S", 0.01)
    visitor = await two.joined("s-1")
    [cut_off] = two.where("s-1")
    await two.servers[cut_off].close()
    await said(visitor, UNAVAILABLE)
    await two.relay.request(visitor, {"t": "media.join", "room": "lobby"})
    await two.start(cut_off)
    while await two.compared.get() != cut_off:
        pass
    assert two.sfus[cut_off].left == [("s-1", "media.leave")]
    assert two.where("s-1") == [name for name in two.sfus if name != cut_off]


async def test_an_sfu_that_is_not_sure_of_its_people_is_told_of_them(house):
    """It heard nothing for seconds, and would not count them any more."""
    visitor = await house.joined("s-1")
    asked = house.sfu.asked
    asked.clear()
    house.sfu.unsure = True
    while "sessions" not in asked:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.005)
    assert visitor.pushed == []
    assert not house.relay.links["sfu"].returning


async def test_whip_sessions_of_an_sfu_that_died_are_over(two, monkeypatch):
    """Their clients ask for a resource that is there no longer, and come back: elsewhere."""
    monkeypatch.setattr(sfu_link, "RETURN_S", 0.01)
    created = await two.relay.request_http("whip", room="studio", user="u", name="u", sdp="")
    assert created == {"participant": "p-whip"}
    [died] = [name for name, sfu in two.sfus.items() if "whip" in sfu.asked]
    await two.servers[died].close()
    while not two.ended:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.005)
    assert two.ended == ["p-whip"]
    await two.relay.request_http("whip", room="studio", user="u", name="u", sdp="")
    [other] = [name for name in two.sfus if name != died]
    assert "whip" in two.sfus[other].asked


async def test_people_of_an_sfu_that_drains_move_while_it_carries_them(two):
    visitor, other = await two.joined("s-1"), await two.joined("s-2")
    [old] = two.where("s-1")
    [new] = [name for name in two.sfus if name != old]
    two.sfus[old].links[-1].push({"event": "draining"})
    for client in (visitor, other):
        await said(client, {"t": "media.move", "room": "lobby"})
    await two.relay.request(visitor, {"t": "media.join", "room": "lobby"})
    assert two.sfus[old].handed_over == ["s-1"]  # its seconds are metered on one SFU
    assert two.where("s-1") == [old, new]
    released = await two.relay.request(visitor, {"t": "media.release", "room": "lobby"})
    assert released == {"t": "media.released", "room": "lobby"}
    assert two.where("s-1") == [new]
    assert two.where("s-2") == [old]
    newcomer = await two.joined("s-3")
    assert two.where("s-3") == [new]
    assert newcomer.pushed == []
    assert visitor.pushed == [{"t": "media.move", "room": "lobby"}]


async def test_what_the_old_sfu_says_to_somebody_who_moved_is_not_theirs(two):
    visitor = await two.joined("s-1")
    [old] = two.where("s-1")
    two.sfus[old].links[-1].push({"event": "draining"})
    await said(visitor, {"t": "media.move", "room": "lobby"})
    await two.relay.request(visitor, {"t": "media.join", "room": "lobby"})
    closed = {"t": "media.closed", "room": "lobby", "reason": "draining"}
    two.sfus[old].links[-1].push({"event": "frame", "session": "s-1", "frame": closed})
    await two.relay.links[old].request("load")  # what was said before has arrived
    assert closed not in visitor.pushed


async def test_who_is_refused_where_they_move_to_goes_on_where_they_are(two):
    visitor = await two.joined("s-1")
    [old] = two.where("s-1")
    [new] = [name for name in two.sfus if name != old]
    two.sfus[new].full = True
    two.sfus[old].links[-1].push({"event": "draining"})
    await said(visitor, {"t": "media.move", "room": "lobby"})
    with pytest.raises(MediaRefused):
        await two.relay.request(visitor, {"t": "media.join", "room": "lobby"})
    assert two.where("s-1") == [old]
    await two.relay.request(visitor, LEAVE)
    assert two.sfus[old].left == [("s-1", "media.leave")]


async def test_where_nothing_else_is_a_draining_sfu_may_end_its_rooms(house):
    await house.joined("s-1")
    house.sfu.rooms = ["lobby"]
    house.sfu.links[-1].push({"event": "draining"})
    while not house.sfu.ended_rooms:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.005)
    assert house.sfu.ended_rooms == ["lobby"]


async def test_a_hub_that_starts_finds_the_rooms_where_they_are(tmp_path):
    """It placed them anew, and people were parted from those who had not lost their hub."""
    house = House(tmp_path, ("sfu", "sfu-1"))
    house.sfus["sfu"].known = {f"old-{n}" for n in range(9)}
    house.sfus["sfu"].rooms = ["lobby"]
    async with asyncio.timeout(10):
        await house.open()
        await house.joined("s-1")
        assert house.where("s-1") == ["sfu"]
        await house.close()


async def test_what_an_sfu_says_by_itself_follows_the_reply(house):
    """A client that moves tells the new place's frames from the old one's by the reply."""
    client = Client("s-1")
    offer = {"t": "media.offer", "room": "lobby", "n": 1}
    house.sfu.at_join = {"event": "frame", "session": "s-1", "frame": offer}
    reply = await house.relay.request(client, {"t": "media.join", "room": "lobby"})
    assert (reply["t"], client.pushed) == ("media.joined", [])
    await said(client, offer)


async def test_two_hubs_send_a_room_to_the_same_sfu(tmp_path):
    """Each placed it for itself, and people in one room did not hear one another."""
    house = House(tmp_path, ("sfu", "sfu-1"))
    async with asyncio.timeout(10):
        await house.open()
        other = House(tmp_path, ("sfu", "sfu-1"))
        other.sfus, other.servers = house.sfus, house.servers
        other.relay._placements = house.relay._placements  # what Redis is to two processes
        for name in other.sfus:
            other.controls[name] = ControlClient(other.path(name))
            await other.relay.add(SfuLink(name, other.controls[name]))
            await other.controls[name].wait_connected()
        for number in range(4):
            await house.joined(f"s-{number}", room=f"room-{number}")
            await other.joined(f"t-{number}", room=f"room-{number}")
        assert all(house.where(f"s-{n}") == house.where(f"t-{n}") for n in range(4))
        # One hub sees an SFU drain, and both have their people move.
        visitor, guest = await house.joined("s-9"), await other.joined("t-9")
        [old] = house.where("s-9")
        house.sfus[old].rooms = ["lobby"]
        house.sfus[old].draining = True
        for client in (visitor, guest):
            await said(client, {"t": "media.move", "room": "lobby"})
        await other.relay.close()
        await house.close()


async def test_where_a_cap_is_reached_nobody_else_comes_in_and_who_is_in_goes_on(house):
    ann = await house.joined("ann")
    house.capped.add("lobby")
    with pytest.raises(MediaRefused) as refused:
        await house.joined("bob")
    assert refused.value.reason == "over_budget"
    # She joins again, as she does when her SFU comes back empty.
    await house.relay.request(ann, {"t": "media.join", "room": "lobby"})
    await house.joined("bob", "hall")
    house.capped.clear()
    await house.joined("bob")
