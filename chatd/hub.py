"""The hub: rooms, members and the one flush per loop iteration.

A shell (`chatd.server`) calls `connect`, `receive`, `handle_timeout` and `disconnected`, and
`tick` about twice a second while anything is open. The hub calls `defer(flush)` when something
waits to be written.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from chatd.archive import Archive
from chatd.bailiff import Bailiff
from chatd.body import body_bytes
from chatd.bus import Bus, Clock, Draft, Publication, Receipt
from chatd.caps import Caps
from chatd.client import Client
from chatd.comings import ONLINE, Comings
from chatd.counters import Counters
from chatd.delivery import Delivery
from chatd.door import Door, check_seat
from chatd.elsewhere import Elsewhere
from chatd.errors import (
    BUS_AWAY,
    FORBIDDEN,
    INTERNAL,
    NOT_JOINED,
    OVER_BUDGET,
    PLACE_LOST,
    SLOW_READER,
    STORAGE_FULL,
    TOKEN_REVOKED,
    BusAway,
    Close,
    FactsRefused,
    Refused,
)
from chatd.exchange import Exchange
from chatd.facts import Fact, Facts, MessageAccepted, MessagesDelivered, RoomOpened
from chatd.grants import Grant, Grants, Rights
from chatd.limits import Limits
from chatd.lookout import Lookout
from chatd.media import Media
from chatd.membership import Attendance, Membership
from chatd.moderation import MemoryModeration, ModerationBook
from chatd.neighbours import Neighbours
from chatd.online import LocalOnline, Online
from chatd.outbox import Outbox, Pipe
from chatd.owed import OwedFacts
from chatd.paces import Paces
from chatd.paging import Pager
from chatd.people import People
from chatd.podium import Podium, Speech
from chatd.refusals import Refusals
from chatd.retelling import Retelling
from chatd.room_book import MemoryRoomBook, RoomBook, RoomsAway
from chatd.rooms import Room, Rooms
from chatd.session import Authenticator, Identity, Session, too_fast
from chatd.spaces import MemorySpaces, SpaceBook
from chatd.states import StateBoards
from chatd.timesheet import Person, Timesheet
from chatd.warden import Warden
from chatd.websocket import PING, PONG, frame
from chatd.wire import (
    AskOnline,
    Codec,
    Hello,
    History,
    Join,
    Leave,
    MediaFrame,
    Ping,
    Pong,
    Presence,
    Refresh,
    Refreshed,
    Send,
    Sent,
    State,
    Stated,
    User,
    Welcome,
)

_log = logging.getLogger("chatd.hub")
_PING = frame(b"", PING)


# Closing one takes about 30 µs.
_WAVE = 128


def _random_session() -> str:
    return secrets.token_hex(12)


class Hub:
    """Everything the connections of one process share. One thread, no `await`."""

    def __init__(
        self,
        bus: Bus,
        facts: Facts,
        authenticator: Authenticator,
        clock: Clock = time,
        media: Media | None = None,
        *,
        archive: Archive | None = None,
        limits: Limits | None = None,
        defer: Callable[[Callable[[], None]], object] | None = None,
        later: Callable[[float, Callable[[], None]], object] | None = None,
        new_session: Callable[[], str] = _random_session,
        book: RoomBook | None = None,
        guest_rooms: Grants = None,
        online: Online | None = None,
        neighbours: Neighbours | None = None,
        caps: Caps | None = None,
        moderation: ModerationBook | None = None,
        spaces: SpaceBook | None = None,
        comings_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.limits = limits or Limits()
        # Set when everyone is sent away: who goes first is then no news to who goes next.
        self.draining = False
        self.room_changed: Callable[[str], None] = lambda room: None
        """Called with a room about which something else is laid down; replace it to be told."""
        self.counters = Counters(self._queue_bytes)
        self.clock = clock
        self._bus = bus
        self._authenticator = authenticator
        self._pager = Pager(bus, archive, self.limits.history)
        self._defer = defer or _call_soon
        self._new_session = new_session
        self._clients: dict[str, Client] = {}
        self._people = People()
        self._paces = Paces(self.limits)
        self._book = book or MemoryRoomBook()
        self._caps = caps
        moderation = moderation or MemoryModeration()
        self._door = Door(
            self._book,
            guest_rooms,
            moderation=moderation,
            utc_ms=lambda: self._moment()[1],
            spaces=lambda room: self._warden.check(room),  # noqa: PLW0108 - made below
        )
        self._timesheet = Timesheet()
        self._drafts: list[Draft] = []
        self._owed = OwedFacts(facts, clock, self.counters)
        self._delivery = Delivery(self.counters, self._schedule)
        self.comings = Comings(comings_wanted, self._owe, lambda: self._moment()[1])
        self._rooms: Rooms[Client] = Rooms(
            bus,
            self.counters,
            self.limits.presence_members,
            self._announce,
            neighbours=neighbours,
            comings=self.comings,
        )
        self._states = StateBoards(
            self.limits, self.counters, self._delivery, later or _call_later, neighbours
        )
        # None where there is no other process.
        self._neighbours = neighbours
        if neighbours is not None:
            neighbours.begin(Elsewhere(self._rooms, self._states), lambda: self.draining)
        self._refusals = Refusals(self.counters, self._delivery, self.close)
        self._retelling = Retelling(
            self._pager,
            delivery=self._delivery,
            counters=self.counters,
            refusals=self._refusals,
            owe=self._owe,
            utc_ms=lambda: self._moment()[1],
            moderation=moderation,
        )
        spaces = spaces or MemorySpaces()
        self._warden = Warden(spaces, self._rooms, self._delivery, clock.time)
        spaces.listen(self._warden.changed)
        self._membership = Membership(
            bus,
            self._rooms,
            states=self._states,
            delivery=self._delivery,
            refusals=self._refusals,
            retelling=self._retelling,
            limits=self.limits,
            draining=lambda: self.draining,
            door=self._door,
            monotonic=clock.monotonic,
            later=later or _call_later,
            warden=self._warden,
        )
        self.bailiff = Bailiff(
            moderation,
            self._people,
            self._rooms,
            membership=self._membership,
            delivery=self._delivery,
            refusals=self._refusals,
            utc_ms=lambda: self._moment()[1],
        )
        self._podium = Podium(
            bus,
            self._rooms,
            door=self._door,
            limits=self.limits,
            caps=caps,
            submit=self._submit,
            defer=self._defer,
        )
        self._exchange = Exchange(media, self._delivery, self._refusals, self.limits.media_pending)
        self._online = online or LocalOnline()
        self._lookout = Lookout(
            self._online,
            self.limits,
            self._delivery,
            later or _call_later,
            lambda: self.draining,
        )
        self._flush_deferred = False
        self._handlers: dict[type, Callable[[Client, Any], None]] = {
            Hello: self._welcome,
            Join: self._membership.join,
            Send: self._send,
            Leave: self._membership.leave,
            History: self._retelling.page,
            Ping: self._pong,
            Refresh: self._refresh,
            State: self._state,
            MediaFrame: self._exchange.carry,
            AskOnline: self._lookout.ask,
        }
        bus.listen(self)
        self._book.listen(self._room_changed)
        moderation.listen(self.bailiff)

    # What a shell calls.

    def connect(self, pipe: Pipe, codec: Codec, limits: Limits | None = None) -> Client:
        """Begin a conversation over `pipe`."""
        limits = limits or self.limits
        session = Session(self._new_session(), codec, limits, self.clock.monotonic())
        return Client(session, Outbox(pipe, limits.outbox_bytes), self.push)

    def receive(self, client: Client, payload: bytes) -> None:
        """Take one WebSocket message of the client's subprotocol."""
        if not client.open:
            return
        try:
            request = client.state.receive_message(
                payload, self.clock.monotonic(), self.clock.time(), self._authenticator
            )
            self._handlers[type(request)](client, request)
        except Refused as refused:
            self._refusals.tell(client, refused)
        except Exception:
            # A bug of ours ends neither the loop nor the others' conversations.
            _log.exception("a frame made the hub fail")
            self._refusals.tell(client, Refused(INTERNAL))

    def answer_ping(self, client: Client, payload: bytes) -> None:
        """Answer a WebSocket ping (RFC 6455, section 5.5.3)."""
        self._delivery.write(client, frame(payload, PONG))

    def handle_timeout(self, client: Client) -> float:
        """Ping, or close what is late or silent; return the seconds until the next call."""
        now = self.clock.monotonic()
        try:
            if client.state.handle_timeout(now):
                self._delivery.write(client, _PING)
        except Refused as refused:
            self._refusals.tell(client, refused)
        return max(0.0, client.state.next_deadline() - now)

    def close(self, client: Client, close: Close) -> None:
        """End a conversation from this side."""
        if client.open:
            self.counters.closes[close.code] += 1
            self.disconnected(client)
            self.counters.bytes_out += client.outbox.pending_bytes
            client.outbox.close(close)

    def disconnected(self, client: Client) -> None:
        """Forget `client`: it hears nothing more, and the others are told."""
        if not client.open:
            return
        client.open = False
        self._membership.leave_all(client)
        if client.relay is not None:
            client.relay.end()
        self._judge_hello(client, good=False)
        if self._clients.pop(client.session, None) is not None:
            self.counters.connections -= 1
            self._lookout.forget(client)
            if self._people.went(client):
                self._online.went(client.identity.user_id, self.clock.monotonic())
            self.comings.went(ONLINE, client.identity.user_id)
            self._owe(self._timesheet.closed(_person(client.identity), *self._moment()))

    def tick(self) -> None:
        """Do what is due by time: checkpoints, counts of big rooms, forgetting."""
        now, utc_ms = self._moment()
        # While the log refuses, stretches grow longer instead of piling up.
        if not self._owed.refused:
            # Everyone within 3 s even when all came at once; about 3 µs a user and checkpoint.
            share = max(100, len(self._timesheet) // 6)
            self._owed.owe(self._timesheet.checkpoint(now, utc_ms, share))
        self._rooms.settle_crowds()
        self._warden.tick()
        self._bus.sweep(now)
        self._online.sweep(now)
        if self._neighbours is not None:
            self._neighbours.sweep()
        if self._owed:
            self._schedule()

    def finish(self) -> None:
        """Keep the last facts of a clean end.

        Raises:
            FactsRefused: they are still owed.
        """
        self.flush()
        now, utc_ms = self._moment()
        self._owed.owe(self._timesheet.checkpoint_all(now, utc_ms))
        self._owed.commit()

    # What the rest of the process calls.

    @property
    def busy(self) -> bool:
        """Whether `tick` has anything to do."""
        return bool(self._clients or self._rooms or self._owed)

    @property
    def users(self) -> int:
        """Tell how many different users are connected here."""
        return len(self._timesheet)

    def settled_ms(self, utc_ms: int) -> int:
        """Return up to when everything is told that may be: later facts begin then or later."""
        return min(self._timesheet.settled_ms(utc_ms), self._owed.settled_ms(utc_ms))

    def sessions(self) -> list[str]:
        """Return the ids of everyone connected."""
        return list(self._clients)

    def client(self, session: str) -> Client | None:
        """Return the connection with this id, None when it has ended."""
        return self._clients.get(session)

    def sign_out(self, revoked: Callable[[Identity], bool]) -> int:
        """Close everyone whose token is `revoked`; return how many they were."""
        gone = [client for client in self._clients.values() if revoked(client.identity)]
        for client in gone:
            self._refusals.tell(client, Refused(TOKEN_REVOKED))
        return len(gone)

    def admit(self, identity: Identity, room: str, right: Rights, *, attends: bool = False) -> None:
        """Let somebody use a room without a chat connection; who `attends` needs a place in it.

        Raises:
            Refused: what the door or a full room says.
        """
        settings = self._door.admit(identity, room, right)
        place = self._rooms.get(room)
        if attends and place is not None:
            check_seat(settings, identity.user_id, place.roster)

    def present(self, room: str) -> int:
        """Return how many users are in `room`."""
        place = self._rooms.get(room)
        return 0 if place is None else place.roster.count

    def subscribe(self, user_id: str, room: str) -> None:
        """Bring the connections a user has now into `room`, where they may be in it.

        What is to hold for later ones too is laid down in the token or in the room's settings.
        """
        for client in self._people.of(user_id):
            self._membership.subscribe(client, room)

    def unsubscribe(self, user_id: str, room: str) -> None:
        """Take the connections a user has now out of `room`."""
        for client in self._people.of(user_id):
            self._membership.expel(client, room, "unsubscribed")

    def say(self, speech: Speech) -> None:
        """Say something as the server; `speech` is told how it ended.

        Raises:
            Refused: it cannot be said.
        """
        self._podium.say(speech)

    def people_in(self, room: str) -> dict[str, tuple[str, int]]:
        """Return who is in `room` by a connection to this process: their name and how many."""
        place = self._rooms.get(room)
        found: dict[str, tuple[str, int]] = {}
        for client in place.live() if place is not None else ():
            user, name = client.identity.user_id, client.identity.name
            found[user] = name, found.get(user, (name, 0))[1] + 1
        return found

    def connections_of(self, user: str, pattern: str) -> int:
        """Return how many connections of `user` are here in a room that fits a pattern."""
        grant = Grant(pattern)
        return sum(any(map(grant.covers, client.rooms)) for client in self._people.of(user))

    def room_names(self) -> list[str]:
        """Return the rooms somebody of this process is in."""
        return self._rooms.names()

    def attach(self, room: str, user_id: str, name: str) -> Attendance:
        """Count somebody without a chat connection as present in `room`."""
        return self._membership.attach(room, user_id, name)

    def push(self, client: Client, frame: dict[str, Any]) -> None:
        """Send `frame` to `client`; nothing happens when it has gone."""
        self._delivery.reply(client, frame)

    def flush(self) -> None:
        """Do what this loop iteration has gathered.

        1. Order the drafts and commit all facts; a crash before the commit loses nothing that
           was acknowledged.
        2. Queue acknowledgements and messages; a crash here is a client that asks again with
           its key, or recovers.
        3. Write each outbox once; a crash here likewise.
        """
        try:
            self._flush()
        finally:
            self._flush_deferred = False
            if self._delivery.due or self._drafts or (self._owed and not self._owed.refused):
                self._schedule()

    # What the bus calls.

    def lapsed(self, name: str) -> None:
        """Have the members of a room join again: what they know of its order holds no longer.

        They hear nothing more at once, and are closed in waves, so that thousands do not hold
        the loop.
        """
        room = self._rooms.get(name)
        if room is not None:
            clients = room.live()
            for client in clients:
                room.dismiss(client)
            self._close_in_waves(clients)

    def ordered(self, publications: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        """Commit, acknowledge, deliver: steps 1 and 2 of `flush`."""
        facts: list[Fact] = []
        accepted = 0
        now = self.clock.monotonic()
        for publication in publications:
            if publication.own:
                facts.append(self._accepted(publication))
                accepted += 1
            elif count := self._listeners(publication):
                message = publication.message
                size = body_bytes(message.body)
                facts.append(
                    MessagesDelivered(message.room, message.from_, count, message.at, size)
                )
                self._paces.heard(self._rooms.open(message.room), message.from_, now)
        for receipt in receipts:
            if receipt.unkept is not None:
                facts.append(
                    self._accepted(receipt.unkept, written=False, counted=not receipt.repeat)
                )
        self._owed.commit(facts)
        self.counters.messages_in += accepted
        write = self._delivery.write
        for receipt in receipts:
            draft = receipt.draft
            if type(draft.sender) is Speech:
                self._podium.settled(draft.sender, receipt)
                continue
            client = cast("Client", draft.sender)
            if client.open:
                sent = Sent(
                    draft.request_id,
                    draft.room,
                    receipt.offset,
                    receipt.message_id,
                    receipt.at_ms,
                    receipt.epoch,
                )
                write(client, client.codec.frame(sent))
        self._deliver(publications)

    def refused(self, drafts: Sequence[Draft], refusal: FactsRefused) -> None:
        """Tell each sender that the message was not stored."""
        reason = BUS_AWAY if isinstance(refusal, BusAway) else STORAGE_FULL
        for draft in drafts:
            if type(draft.sender) is Speech:
                self._podium.settled(draft.sender, refusal)
                continue
            self._refusals.tell(
                cast("Client", draft.sender),
                Refused(reason, id=draft.request_id, retry_after_ms=refusal.retry_after_ms),
            )

    def opened(self, fact: RoomOpened) -> None:
        """Owe the log a new room; it is committed before, or with, the room's first message."""
        self._owe(fact)

    # Requests.

    def _welcome(self, client: Client, hello: Hello) -> None:
        self.bailiff.greet(client)
        identity = client.identity
        self._clients[client.session] = client
        if self._people.came(client):
            self._online.came(identity.user_id)
        self.comings.came(ONLINE, identity.user_id, identity.name)
        self._paces.begin(client, self.clock.monotonic())
        self._judge_hello(client, good=True)
        self.counters.connections += 1
        self.counters.connections_total += 1
        self._owe(self._timesheet.opened(_person(identity), *self._moment()))
        limits = client.state.limits
        self._delivery.reply(
            client,
            Welcome(
                User(identity.user_id, identity.name),
                client.session,
                limits.ping_s,
                limits.told(),
                identity.expires_in(self.clock.time()),
            ),
        )
        self._subscribe(client)

    def _judge_hello(self, client: Client, *, good: bool) -> None:
        greeted, client.greeted = client.greeted, None
        if greeted is not None:
            greeted(good)

    def _subscribe(self, client: Client) -> None:
        """Bring a connection into the rooms it is in without asking."""
        identity = client.identity
        rooms = list(identity.subscriptions)
        with suppress(RoomsAway):
            rooms += self._book.subscriptions(identity.user_id)
        for room in rooms:
            self._membership.subscribe(client, room)

    def _room_changed(self, room: str) -> None:
        self._membership.changed(room)
        with suppress(RoomsAway):
            settings = self._book.settings(room)
            if settings is not None and settings.subscribed:
                for user in settings.users:
                    self.subscribe(user, room)
        self.room_changed(room)

    def _send(self, client: Client, send: Send) -> None:
        room = client.rooms.get(send.room)
        if room is None:
            raise Refused(NOT_JOINED, id=send.id)
        if client.read_only and send.room in client.read_only:
            raise Refused(FORBIDDEN, "The token does not grant sending here.", id=send.id)
        if client.muted and send.room in client.muted:
            self.bailiff.check_send(client, send)
        if self._caps is not None and self._caps.refuses_messages(send.room):
            raise Refused(OVER_BUDGET, id=send.id)
        if (refused := self._paces.refuse(client, room, self.clock.monotonic())) is not None:
            refused.id = send.id
            raise refused
        identity = client.identity
        self._submit(
            Draft(
                send.room,
                identity.user_id,
                identity.name,
                send.body,
                send.key,
                client,
                send.id,
                room.ephemeral,
            )
        )

    def _submit(self, draft: Draft) -> None:
        self._drafts.append(draft)
        self._schedule()

    def _pong(self, client: Client, ping: Ping) -> None:
        self._delivery.reply(client, Pong(ping.id))

    def _state(self, client: Client, state: State) -> None:
        room = client.rooms.get(state.room)
        if room is None:
            raise Refused(NOT_JOINED, id=state.id)
        if state.room in client.read_only:
            raise Refused(FORBIDDEN, "The token does not grant sending here.", id=state.id)
        wait_s = client.state.take_state(self.clock.monotonic())
        if wait_s and state.id is None:
            self.counters.states_dropped += 1  # as fast as values come, a later one replaces it
            return
        if wait_s:
            raise too_fast(state, wait_s, "state")
        self._states.put(room, client.identity.user_id, state)
        if state.id is not None:
            self._delivery.reply(client, Stated(state.id, state.room))

    def _refresh(self, client: Client, refresh: Refresh) -> None:
        expires_in = client.identity.expires_in(self.clock.time())
        self._delivery.reply(client, Refreshed(refresh.id, expires_in))
        self._membership.review(client)
        self._subscribe(client)

    def _announce(self, room: Room[Client], presence: Presence) -> None:
        if not self.draining:
            self._delivery.announce(room, presence)

    # Facts and the flush.

    def _flush(self) -> None:
        drafts, self._drafts = self._drafts, []
        if drafts:
            self._bus.publish(drafts)
        self._owed.retry()
        self._delivery.flush(lambda client: self.close(client, SLOW_READER))

    def _owe(self, fact: Fact | None) -> None:
        if fact is not None:
            self._owed.owe((fact,))
            self._schedule()

    def _listeners(self, publication: Publication) -> int:
        room = self._rooms.get(publication.message.room)
        return room.listeners if room is not None else 0

    def _accepted(
        self, publication: Publication, *, written: bool = True, counted: bool = True
    ) -> MessageAccepted:
        message = publication.message
        room = self._rooms.get(message.room)
        delivered = room.listeners if written and room is not None else 0
        return MessageAccepted(
            message.room,
            publication.epoch,
            message.offset,
            message.id,
            message.from_,
            message.name,
            message.at,
            message.body,
            publication.key,
            delivered,
            # A bus between processes does not carry it.
            publication.ephemeral or (room is not None and room.ephemeral),
            counted,
        )

    def _deliver(self, publications: Sequence[Publication]) -> None:
        by_room: dict[str, list[Publication]] = {}
        for publication in publications:
            by_room.setdefault(publication.message.room, []).append(publication)
        for name, batch in by_room.items():
            room = self._rooms.get(name)
            if room is not None:
                self._delivery.publish(room, batch)

    def _close_in_waves(self, clients: list[Client]) -> None:
        for client in clients[:_WAVE]:
            self.close(client, PLACE_LOST)
        if clients[_WAVE:]:
            self._defer(lambda: self._close_in_waves(clients[_WAVE:]))

    def _schedule(self) -> None:
        if not self._flush_deferred:
            self._flush_deferred = True
            self._defer(self.flush)

    def _moment(self) -> tuple[float, int]:
        return self.clock.monotonic(), int(self.clock.time() * 1000)

    def _queue_bytes(self) -> int:
        return sum(client.outbox.queue_bytes for client in self._clients.values())


def _call_soon(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


def _call_later(delay_s: float, callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(delay_s, callback)


def _person(identity: Identity) -> Person:
    return Person(identity.user_id, identity.app)
