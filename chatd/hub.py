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
from typing import Any, cast

import msgspec

from chatd.archive import Archive
from chatd.bus import Bus, Clock, Draft, Page, Publication, Receipt
from chatd.client import Client
from chatd.counters import Counters
from chatd.delivery import Delivery
from chatd.errors import (
    BAD_FRAME,
    BAD_REQUEST,
    INTERNAL,
    NO_MEDIA,
    NOT_JOINED,
    RATE_LIMITED,
    SLOW_READER,
    STORAGE_FULL,
    TOO_MANY_ROOMS,
    Close,
    FactsRefused,
    Refused,
)
from chatd.facts import Fact, Facts, MessageAccepted, MessagesRecovered, RoomOpened
from chatd.limits import Limits
from chatd.media import Media
from chatd.outbox import Outbox, Pipe
from chatd.owed import OwedFacts
from chatd.paging import Excerpt, Pager
from chatd.recovery import settle
from chatd.relay import Answer, Relay
from chatd.rooms import Room, Rooms
from chatd.session import Authenticator, Session, too_fast
from chatd.states import StateBoards
from chatd.timesheet import Timesheet
from chatd.websocket import PING, PONG, frame
from chatd.wire import (
    Codec,
    Error,
    Hello,
    History,
    Join,
    Joined,
    Leave,
    Left,
    MediaFrame,
    Past,
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


def _random_session() -> str:
    return secrets.token_hex(12)


class Attendance:
    """Somebody in a room without a chat connection; see `Hub.attach`."""

    def __init__(self, hub: "Hub", room: str, user: str) -> None:
        self._hub: Hub | None = hub
        self._room = room
        self._user = user

    def detach(self) -> None:
        """Leave; harmless when repeated."""
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.detach(self._room, self._user)


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
    ) -> None:
        self.limits = limits or Limits()
        # Set when everyone is sent away: who goes first is then no news to who goes next.
        self.draining = False
        self.counters = Counters(self._queue_bytes)
        self.clock = clock
        self._bus = bus
        self._authenticator = authenticator
        self._media = media
        self._pager = Pager(bus, archive, self.limits.history)
        self._defer = defer or _call_soon
        self._new_session = new_session
        self._clients: dict[str, Client] = {}
        self._timesheet = Timesheet()
        self._drafts: list[Draft] = []
        self._owed = OwedFacts(facts, clock, self.counters)
        self._delivery = Delivery(self.counters, self._schedule)
        self._rooms: Rooms[Client] = Rooms(
            bus, self.counters, self.limits.presence_members, self._announce
        )
        self._states = StateBoards(self.limits, self.counters, self._delivery, later or _call_later)
        self._flush_deferred = False
        self._handlers: dict[type, Callable[[Client, Any], None]] = {
            Hello: self._welcome,
            Join: self._join,
            Send: self._send,
            Leave: self._leave,
            History: self._page,
            Ping: self._pong,
            Refresh: self._refresh,
            State: self._state,
            MediaFrame: self._carry,
        }
        bus.listen(self)

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
            self._refuse(client, refused)
        except Exception:
            # A bug of ours ends neither the loop nor the others' conversations.
            _log.exception("a frame made the hub fail")
            self._refuse(client, Refused(INTERNAL))

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
            self._refuse(client, refused)
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
        for room in list(client.joining.values()):
            room.dismiss(client)
            self._rooms.close_if_empty(room)
        client.joining.clear()
        for room in list(client.rooms.values()):
            self._exit(client, room)
        client.rooms.clear()
        if client.relay is not None:
            client.relay.end()
        if self._clients.pop(client.session, None) is not None:
            self.counters.connections -= 1
            self._owe(self._timesheet.closed(client.identity.user_id, *self._moment()))

    def tick(self) -> None:
        """Do what is due by time: checkpoints, counts of big rooms, forgetting."""
        now, utc_ms = self._moment()
        # While the log refuses, stretches grow longer instead of piling up.
        if not self._owed.refused:
            # Everyone within 3 s even when all came at once; about 3 µs a user and checkpoint.
            share = max(100, len(self._timesheet) // 6)
            self._owed.owe(self._timesheet.checkpoint(now, utc_ms, share))
        self._rooms.settle_crowds()
        self._bus.sweep(now)
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

    def settled_ms(self, utc_ms: int) -> int:
        """Return up to when everything is told that may be: later facts begin then or later."""
        return min(self._timesheet.settled_ms(utc_ms), self._owed.settled_ms(utc_ms))

    def sessions(self) -> list[str]:
        """Return the ids of everyone connected."""
        return list(self._clients)

    def client(self, session: str) -> Client | None:
        """Return the connection with this id, None when it has ended."""
        return self._clients.get(session)

    def attach(self, room: str, user_id: str, name: str) -> Attendance:
        """Count somebody without a chat connection as present in `room`."""
        place = self._rooms.open(room)
        place.guests += 1
        self._rooms.enter(place, user_id, name)
        return Attendance(self, room, user_id)

    def detach(self, room: str, user_id: str) -> None:
        """Undo `attach`; called through its `Attendance`."""
        place = self._rooms.open(room)
        place.guests -= 1
        self._depart(place, user_id)

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

    def ordered(self, publications: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        """Commit, acknowledge, deliver: steps 1 and 2 of `flush`."""
        self._owed.commit([self._accepted(publication) for publication in publications])
        for receipt in receipts:
            draft = receipt.draft
            self._delivery.reply(
                cast("Client", draft.sender),
                Sent(
                    draft.request_id,
                    draft.room,
                    receipt.offset,
                    receipt.message_id,
                    receipt.at_ms,
                ),
            )
        self.counters.messages_in += len(publications)
        self._deliver(publications)

    def refused(self, drafts: Sequence[Draft], refusal: FactsRefused) -> None:
        """Tell each sender that the message was not stored."""
        for draft in drafts:
            self._refuse(
                cast("Client", draft.sender),
                Refused(STORAGE_FULL, id=draft.request_id, retry_after_ms=refusal.retry_after_ms),
            )

    def opened(self, fact: RoomOpened) -> None:
        """Owe the log a new room; it is committed before, or with, the room's first message."""
        self._owe(fact)

    # Requests.

    def _welcome(self, client: Client, hello: Hello) -> None:
        identity = client.identity
        self._clients[client.session] = client
        self.counters.connections += 1
        self.counters.connections_total += 1
        self._owe(self._timesheet.opened(identity.user_id, *self._moment()))
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

    def _join(self, client: Client, join: Join) -> None:
        if join.room in client.joining:
            raise Refused(BAD_REQUEST, "a join of this room is under way", id=join.id)
        known = len(client.rooms) + len(client.joining)
        if join.room not in client.rooms and known >= client.state.limits.rooms:
            raise Refused(TOO_MANY_ROOMS, id=join.id)
        room = self._rooms.open(join.room)
        room.prepare(client)
        client.joining[join.room] = room
        history = min(join.history, self.limits.history)
        self._bus.read(
            join.room, join.since, history, lambda page: self._admit(client, join, room, page)
        )

    def _admit(self, client: Client, join: Join, room: Room["Client"], page: Page | None) -> None:
        if client.joining.pop(join.room, None) is not room:
            self._refuse(client, Refused(NOT_JOINED, "left meanwhile", id=join.id))
            return
        if page is None:
            self._turn_away(client, join, room)
            return
        held = room.admit(client, client.codec, client.outbox)
        page = settle(page, held, join.since, min(join.history, self.limits.history))
        room.unwatch(client)
        if join.room not in client.rooms:
            client.rooms[join.room] = room
            user, name = client.identity.user_id, client.identity.name
            self._rooms.enter(room, user, name)
        if join.presence:
            room.watch(client, client.codec, client.outbox)
        self._states.look_away(room, client)
        self._tell_joined(client, join, room, page)

    def _turn_away(self, client: Client, join: Join, room: Room["Client"]) -> None:
        room.dismiss(client)
        if client.rooms.pop(join.room, None) is not None:
            self._depart(room, client.identity.user_id)
        self._rooms.close_if_empty(room)
        self._refuse(client, Refused(TOO_MANY_ROOMS, id=join.id, retry_after_ms=60_000))

    def _tell_joined(self, client: Client, join: Join, room: Room["Client"], page: Page) -> None:
        joined = client.codec.frame(
            Joined(
                join.id,
                join.room,
                page.epoch,
                page.offset,
                page.recovered,
                [msgspec.Raw(entry.payload(client.codec)) for entry in page.entries],
                room.roster.members() if join.presence else None,
                room.roster.count if join.presence else None,
                self._states.look(room, client) if join.state else None,
            )
        )
        if join.state:
            client.outbox.excuse(len(joined))
        self._tell_past(client, join.room, joined, len(page.entries))

    def _tell_past(self, client: Client, room: str, told: bytes, count: int) -> None:
        """Send a frame with `count` messages in it that were said before."""
        if count:
            self.counters.recovered += count
            utc_ms = self._moment()[1]
            self._owe(MessagesRecovered(room, client.identity.user_id, count, utc_ms))
            client.outbox.excuse(len(told))
        self._delivery.write(client, told)

    def _page(self, client: Client, wish: History) -> None:
        if wish.room not in client.rooms:
            raise Refused(NOT_JOINED, id=wish.id)

        def answer(found: Excerpt | Refused) -> None:
            if isinstance(found, Refused):
                found.id = wish.id
                self._refuse(client, found)
            elif client.open:
                messages = [msgspec.Raw(entry.payload(client.codec)) for entry in found.entries]
                past = Past(wish.id, wish.room, found.epoch, messages, found.more)
                self._tell_past(client, wish.room, client.codec.frame(past), len(messages))

        self._pager.page(client.session, wish, answer)

    def _send(self, client: Client, send: Send) -> None:
        if send.room not in client.rooms:
            raise Refused(NOT_JOINED, id=send.id)
        identity = client.identity
        self._drafts.append(
            Draft(send.room, identity.user_id, identity.name, send.body, send.key, client, send.id)
        )
        self._schedule()

    def _leave(self, client: Client, leave: Leave) -> None:
        joining = client.joining.pop(leave.room, None)
        if joining is not None:
            joining.dismiss(client)
        room = client.rooms.pop(leave.room, None)
        if room is not None:
            self._exit(client, room)
        elif joining is not None:
            self._rooms.close_if_empty(joining)
        if client.relay is not None and leave.room in client.relay.rooms:
            client.relay.rooms.discard(leave.room)
            client.relay.submit(None, {"t": "media.leave", "room": leave.room})
        self._delivery.reply(client, Left(leave.id, leave.room))

    def _pong(self, client: Client, ping: Ping) -> None:
        self._delivery.reply(client, Pong(ping.id))

    def _state(self, client: Client, state: State) -> None:
        room = client.rooms.get(state.room)
        if room is None:
            raise Refused(NOT_JOINED, id=state.id)
        wait_s = client.state.take_state(self.clock.monotonic())
        if wait_s and state.id is None:
            self.counters.states_dropped += 1  # as fast as values come, a later one replaces it
            return
        if wait_s:
            raise too_fast(state, wait_s)
        self._states.put(room, client.identity.user_id, state)
        if state.id is not None:
            self._delivery.reply(client, Stated(state.id, state.room))

    def _refresh(self, client: Client, refresh: Refresh) -> None:
        # Rooms already joined stay joined: a grant is looked at when a room is entered.
        expires_in = client.identity.expires_in(self.clock.time())
        self._delivery.reply(client, Refreshed(refresh.id, expires_in))

    def _carry(self, client: Client, frame: MediaFrame) -> None:
        if self._media is None:
            raise Refused(NO_MEDIA, id=frame.id)
        leaves = frame.t == "media.leave"
        if frame.room not in client.rooms and not leaves:
            raise Refused(NOT_JOINED, id=frame.id)
        if client.relay is None:
            client.relay = Relay(
                self._media, client, lambda id, answer: self._answer(client, id, answer)
            )
        if client.relay.pending >= self.limits.media_pending:
            raise Refused(RATE_LIMITED, id=frame.id, retry_after_ms=1000)
        if leaves:
            client.relay.rooms.discard(frame.room)
        else:
            client.relay.rooms.add(frame.room)
        client.relay.submit(frame.id, frame.raw)

    def _answer(self, client: Client, request_id: int, answer: Answer) -> None:
        if isinstance(answer, Refused):
            answer.id = request_id
            self._refuse(client, answer)
        else:
            self._delivery.reply(client, {**answer, "id": request_id})

    # Presence.

    def _exit(self, client: Client, room: Room[Client]) -> None:
        room.dismiss(client)
        self._depart(room, client.identity.user_id)

    def _depart(self, room: Room[Client], user: str) -> None:
        self._rooms.exit(room, user)
        if user not in room.roster and not self.draining:
            self._states.forget(room, user)

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

    def _accepted(self, publication: Publication) -> MessageAccepted:
        message = publication.message
        room = self._rooms.get(message.room)
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
            room.listeners if room is not None else 0,
        )

    def _deliver(self, publications: Sequence[Publication]) -> None:
        by_room: dict[str, list[Publication]] = {}
        for publication in publications:
            by_room.setdefault(publication.message.room, []).append(publication)
        for name, batch in by_room.items():
            room = self._rooms.get(name)
            if room is not None:
                self._delivery.publish(room, batch)

    def _refuse(self, client: Client, refused: Refused) -> None:
        refusal = refused.refusal
        self.counters.errors[refusal.reason] += 1
        if refusal is BAD_FRAME:
            self.counters.bad_frames += 1
        self._delivery.reply(
            client,
            Error(
                refusal.code, refusal.reason, refused.message, refused.id, refused.retry_after_ms
            ),
        )
        if refusal.closes is not None:
            self.close(client, refusal.closes)

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
