"""Negotiation as a state machine: people, tracks, mutes and answers in any order, late and twice.

Whatever happens, m-lines never move, a number is answered once, and when everybody has answered
what is outstanding, everybody is offered exactly what they should see.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sfu import sdp
from sfu.aiortc_seam import Certificate
from sfu.control import Map
from sfu.errors import Refused
from sfu.subscribing import ANSWER_S
from tests.sfu.memory_peer import Clock, Network
from tests.sfu.offers import answer, offer
from tests.sfu.world import Hub, Person, World

NAMES = ("host", "visitor", "guest")
KINDS = ("audio", "video", "audio", "video")
CERTIFICATE = Certificate()

person = st.sampled_from(NAMES)
line = st.integers(0, len(KINDS) - 1)


class Client:
    """A person, the m-lines they send, and every offer they were ever given."""

    def __init__(self, world: World, name: str) -> None:
        self.person: Person = world.person(name)
        self.sending: list[bool] = []
        self.offers: list[Map] = []  # of the present participant
        self.answered = 0  # the highest number that was taken
        self.joined = False
        self.chosen: set[str] | None = None
        self.lives = 0

    @property
    def participant(self) -> Any:
        return self.person.world.conference.participants.get(self.person.participant)


class Negotiation(RuleBasedStateMachine):
    """Three people in one room over two hubs, and everything they may do."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self._do(self._begin)

    def _begin(self) -> None:
        self.world = World(Network(Clock(), CERTIFICATE))
        self.clients = {name: Client(self.world, name) for name in NAMES}

    def _do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        """Run one act inside the loop, as the SFU's own code does."""

        async def run() -> Any:
            return act(*arguments)

        return self.runner.run(run())

    def teardown(self) -> None:
        self._do(self._end)
        self.runner.close()

    def _end(self) -> None:
        """Settle, compare, let everybody go, and look for what is left."""
        self._settle()
        for client in self.clients.values():
            if client.joined:
                self._check_settled(client)
        for client in self.clients.values():
            client.person.frame("leave")
        self.world.advance(60)
        conference = self.world.conference
        assert (conference.participants, conference.rooms) == ({}, {})
        assert len(self.world.network.transports) == 0

    # What people do

    def _ask(
        self, client: Client, kind: str, expected: tuple[str, ...], **fields: Any
    ) -> Map | None:
        """Send a frame; a refusal must be one of those expected. Offers are taken in."""
        try:
            reply: Map | None = client.person.frame(kind, **fields)
        except Refused as refusal:
            if refusal.reason not in expected:
                raise
            reply = None
        self._take_in()
        return reply

    def _take_in(self) -> None:
        for client in self.clients.values():
            events, client.person.hub.events = client.person.hub.events, []
            for event in events:
                self._heard(event)

    def _heard(self, event: Map) -> None:
        if event["event"] != "frame":
            return
        [client] = [c for c in self.clients.values() if c.person.session == event["session"]]
        frame = event["frame"]
        if frame["t"] == "media.offer":
            if frame["n"] == 1:  # of a new connection
                client.offers, client.answered = [], 0
            self._check_offer(client, frame)
            client.offers.append(frame)
        elif frame["t"] == "media.closed":
            self._gone(client)

    def _gone(self, client: Client) -> None:
        client.joined = False
        client.offers, client.answered, client.sending = [], 0, []
        client.chosen = None

    @rule(name=person)
    def join(self, name: str) -> None:
        client = self.clients[name]
        before = client.person.participant
        self._do(client.person.join)
        if not client.joined or client.person.participant != before:
            self._gone(client)
        client.joined = True
        self._do(self._take_in)

    @rule(name=person)
    def leave(self, name: str) -> None:
        client = self.clients[name]
        self._do(self._ask, client, "leave", ())
        self._gone(client)

    @rule(name=person, at=line)
    def start_or_stop_sending(self, name: str, at: int) -> None:
        self._do(self._toggle, self.clients[name], at)

    def _toggle(self, client: Client, at: int) -> None:
        sending = [*client.sending, *[False] * (at + 1 - len(client.sending))]
        sending[at] = not sending[at]
        lines = [(KINDS[n], "sendonly" if on else "inactive") for n, on in enumerate(sending)]
        text = offer(client.person.up, lines)
        reply = self._ask(client, "publish", ("not_in_media",), sdp=text)
        if reply is not None:
            client.sending = sending
            client.person.tracks = {entry["mid"]: entry["track"] for entry in reply["tracks"]}
            assert set(client.person.tracks) == {str(n) for n, on in enumerate(sending) if on}

    @rule(name=person, at=line, muted=st.booleans())
    def mute(self, name: str, at: int, muted: bool) -> None:
        client = self.clients[name]
        track = client.person.tracks.get(str(at), "t-none")
        expected = ("not_in_media", "no_such_track")
        self._do(lambda: self._ask(client, "mute", expected, track=track, muted=muted))

    @rule(name=person, back=st.integers(0, 3), declines=st.sampled_from(["", "", "0", "1"]))
    def answer(self, name: str, back: int, declines: str) -> None:
        """Answer the last offer, or an earlier one: late, or once more."""
        client = self.clients[name]
        if len(client.offers) > back:
            self._do(self._answer, client, client.offers[-1 - back], declines)

    def _answer(self, client: Client, frame: Map, declines: str = "") -> bool:
        if len(sdp.parse(frame["sdp"]).media) == 1:
            declines = ""  # a transport without an m-line is no answer
        text = answer(client.person.down, frame["sdp"], declined=declines)
        outstanding = (
            client.participant is not None
            and client.participant.subscribing is not None
            and client.participant.subscribing.answer_until is not None
            and client.participant.subscribing.number == frame["n"]
        )
        expected = ("stale_offer", "not_in_media")
        taken = self._ask(client, "answer", expected, n=frame["n"], sdp=text) is not None
        assert taken is (outstanding and client.joined)
        if taken:
            assert frame["n"] > client.answered, "a number was answered twice"
            client.answered = frame["n"]
        return taken

    @rule(name=person)
    def answer_something_else(self, name: str) -> None:
        client = self.clients[name]
        if client.offers:
            last = client.offers[-1]
            text = answer(client.person.down, last["sdp"]).replace("a=mid:0", "a=mid:9")
            expected = ("stale_offer", "bad_sdp", "not_in_media")
            self._do(lambda: self._ask(client, "answer", expected, n=last["n"], sdp=text))

    @rule(name=person, all_of_them=st.booleans(), count=st.integers(0, 2))
    def choose(self, name: str, all_of_them: bool, count: int) -> None:
        client = self.clients[name]
        tracks = [
            t for c in self.clients.values() if c is not client for t in c.person.tracks.values()
        ]
        chosen = tracks[:count]
        expected = ("not_in_media", "no_such_track")
        reply = self._do(
            lambda: self._ask(client, "subscribe", expected, auto=all_of_them, tracks=chosen)
        )
        if reply is not None:
            client.chosen = None if all_of_them else set(chosen)

    @rule(name=person)
    def restart(self, name: str) -> None:
        self._do(self._ask, self.clients[name], "restart", ("not_in_media",))

    @rule(name=person)
    def lose_the_chat_and_come_back(self, name: str) -> None:
        self._do(self._come_back, self.clients[name])

    def _come_back(self, client: Client) -> None:
        self.world.ask("session_closed", session=client.person.session)
        client.lives += 1
        client.person.session = f"s-{client.person.name}-{client.lives}"
        before = client.person.participant
        client.person.join(resume=client.person.resume)
        if client.person.participant != before or not client.joined:
            self._gone(client)
        client.joined = True
        self._take_in()

    @rule(name=person)
    def change_hubs(self, name: str) -> None:
        """The hub's connection is lost and made again before anybody noticed."""
        client = self.clients[name]
        hub = client.person.hub
        sessions = [c.person.session for c in self.clients.values()]

        def act() -> None:
            for each in self.clients.values():
                each.person.hub = self.world.hub = again
            self.world.signaling.link_lost(hub)
            self.world.ask("sessions", sessions=sessions)
            self._take_in()

        again = Hub()
        self._do(act)

    @rule(seconds=st.sampled_from([0.25, 5.0, ANSWER_S]))
    def let_time_pass(self, seconds: float) -> None:
        self._do(self.world.advance, seconds)
        self._do(self._take_in)

    # What holds

    def _check_offer(self, client: Client, frame: Map) -> None:
        media = sdp.parse(frame["sdp"]).media
        mids = [each.mid for each in media]
        assert mids == [str(n) for n in range(len(mids))]
        carried = {entry["mid"]: entry["track"] for entry in frame["tracks"]}
        assert {m.mid for m in media if m.direction == "sendonly"} == carried.keys()
        assert len(set(carried.values())) == len(carried)
        ssrcs = [ssrc for each in media for ssrc in each.ssrcs]
        assert len(set(ssrcs)) == len(ssrcs)
        if not client.offers:
            return
        last = client.offers[-1]
        assert frame["n"] > last["n"]
        before = sdp.parse(last["sdp"]).media
        assert [(m.mid, m.kind) for m in before] == [(m.mid, m.kind) for m in media[: len(before)]]
        tracks_before = {entry["mid"]: entry["track"] for entry in last["tracks"]}
        for mid, track in carried.items():
            # Between two tracks of an m-line stands an offer in which it is inactive.
            assert tracks_before.get(mid, track) == track

    @invariant()
    def somebody_who_is_in_is_known(self) -> None:
        for client in self.clients.values():
            assert (client.participant is not None) >= client.joined

    def _settle(self) -> None:
        """Everybody answers what is outstanding until nothing more is offered."""
        for _ in range(20):
            self._take_in()
            due = [c for c in self.clients.values() if c.joined and self._outstanding(c)]
            if not due:
                return
            for client in due:
                assert self._answer(client, client.offers[-1])
        raise AssertionError("offers never end")

    def _outstanding(self, client: Client) -> bool:
        subscribing = client.participant.subscribing
        return subscribing is not None and subscribing.answer_until is not None

    def _check_settled(self, client: Client) -> None:
        participant = client.participant
        wanted = {track.id for track in participant.wants()}
        others = [c for c in self.clients.values() if c is not client and c.joined]
        published = {track for c in others for track in c.person.tracks.values() if c.sending}
        if client.chosen is None:
            assert wanted == {t.id for t in participant.room.tracks_for(participant)} <= published
        subscribing = participant.subscribing
        if subscribing is None:
            assert not wanted
            return
        assert not subscribing.offer_due
        shown = {slot.track.id for slot in subscribing.slots if slot.track is not None}
        assert shown == wanted - subscribing._declined


TestNegotiation = Negotiation.TestCase
