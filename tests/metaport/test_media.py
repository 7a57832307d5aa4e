"""The hub's end of voice and video: what clients hear when the SFU goes away and comes back."""

import asyncio

import pytest

from chatd.media import MediaRefused
from chatd.session import Identity
from metaport import media
from metaport.media import MediaRelay, SfuLink
from sfu.control import ControlClient, ControlServer

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

    def receive_request(self, link, request):
        self.asked.append(request["op"])
        self.links.append(link)
        match request:
            case {"op": "sessions"}:
                known = [s for s in request["sessions"] if s in self.known]
                return {"known": known, "participants": self.members}
            case {"op": "frame", "session": session, "frame": {"t": "media.join"}}:
                self.known.add(session)
                return {"t": "media.joined", "room": request["room"]}
            case {"op": "frame", "session": session}:
                self.known.discard(session)
                return {"t": "media.left", "room": request["room"]}
        return {}

    def link_lost(self, link):
        pass


class House:
    """A hub's relay and the SFU it may lose."""

    def __init__(self, path):
        self.sfu = Sfu()
        self.server = ControlServer(path, self.sfu)
        self.matched = []
        self.ended = []
        self.compared = asyncio.Queue()
        self.lost = asyncio.Event()
        self.control = ControlClient(path)
        self.relay = MediaRelay(SfuLink(self.control), self.matched.append, self.ended.append)
        self.control.on_event = self.relay.on_event
        self.control.on_connect = self.connect
        self.control.on_lost = self.lose

    def lose(self):
        self.relay.on_lost()
        self.lost.set()

    async def connect(self):
        await self.relay.on_connect()
        self.compared.put_nowait(None)

    async def joined(self, session):
        client = Client(session)
        await self.relay.request(client, {"t": "media.join", "room": "lobby"})
        return client

    def cut(self):
        """Lose the control connection; the SFU lives."""
        for connection in list(self.server.connections):
            connection.abort()


@pytest.fixture
async def house(tmp_path):
    house = House(tmp_path / "sfu.sock")
    await house.server.start()
    await house.control.start()
    async with asyncio.timeout(10):
        await house.compared.get()
        yield house
        await house.control.close()
        await house.server.close()


async def test_an_sfu_that_only_lost_the_connection_sends_nobody_away(house):
    """Everybody was sent to join again though they went on talking."""
    visitor = await house.joined("s-1")
    house.cut()
    await house.compared.get()
    assert visitor.pushed == []
    assert house.relay._give_up_handle is None


async def test_an_sfu_that_came_back_empty_sends_everybody_to_join_again(house):
    visitor, guest = await house.joined("s-1"), await house.joined("s-2")
    house.sfu.known.discard("s-1")
    house.cut()
    await house.compared.get()
    assert (visitor.pushed, guest.pushed) == ([UNAVAILABLE], [])


async def test_an_sfu_that_stays_away_is_given_up(house, monkeypatch):
    monkeypatch.setattr(media, "RETURN_S", 0.01)
    told = asyncio.Event()
    visitor = await house.joined("s-1")
    visitor.push = lambda frame: (visitor.pushed.append(frame), told.set())
    house.matched.clear()
    await house.server.close()
    await told.wait()
    assert visitor.pushed == [UNAVAILABLE]
    assert house.matched == [[]]


def test_giving_up_takes_no_longer_than_a_person_waits():
    assert media.RETURN_S <= 1.0


async def test_whip_and_whep_sessions_are_those_of_the_sfu(house):
    member = {"participant": "p-1", "room": "lobby", "user": "u", "name": "camera"}
    house.sfu.members.append(member)
    house.cut()
    await house.compared.get()
    assert house.matched == [[], [member]]


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
    house.relay.on_event({"event": "frame", "session": "s-1", "frame": closed})
    house.sfu.known.clear()
    house.cut()
    await house.compared.get()
    assert visitor.pushed == [closed]
