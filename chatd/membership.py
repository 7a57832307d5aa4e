"""Who is in which room: joining, leaving, and being there without a chat connection."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chatd.bus import Bus, Page
from chatd.client import Client
from chatd.delivery import Delivery
from chatd.door import Door, check_seat
from chatd.errors import (
    BAD_REQUEST,
    BAD_ROOM,
    BANNED,
    NOT_JOINED,
    ROOMS_AWAY,
    TOO_MANY_ROOMS,
    Refused,
)
from chatd.grants import Rights
from chatd.join_queue import JoinQueue
from chatd.limits import Limits
from chatd.moderation import Sanction
from chatd.recovery import settle
from chatd.refusals import Refusals
from chatd.retelling import Retelling
from chatd.room_book import RoomSettings
from chatd.room_name import is_room_name
from chatd.rooms import Room, Rooms
from chatd.states import StateBoards
from chatd.warden import Warden
from chatd.wire import UNASKED, Join, Joined, Leave, Left, Muted

_log = logging.getLogger("chatd.membership")


class Attendance:
    """Somebody in a room without a chat connection; see `Membership.attach`."""

    def __init__(self, membership: "Membership", room: str, user: str) -> None:
        self._membership: Membership | None = membership
        self._room = room
        self._user = user

    def detach(self) -> None:
        """Leave; harmless when repeated."""
        membership, self._membership = self._membership, None
        if membership is not None:
            membership.detach(self._room, self._user)


class Membership:
    """The way in and out of the rooms of this process.

    `draining` says whether everyone is being sent away: then what they showed stays as it is.
    """

    def __init__(
        self,
        bus: Bus,
        rooms: Rooms[Client],
        *,
        states: StateBoards,
        delivery: Delivery,
        refusals: Refusals,
        retelling: Retelling,
        limits: Limits,
        draining: Callable[[], bool],
        door: Door,
        monotonic: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        warden: Warden,
    ) -> None:
        self._warden = warden
        warden.review = self.changed
        self._bus = bus
        self._rooms = rooms
        self._states = states
        self._delivery = delivery
        self._refusals = refusals
        self._retelling = retelling
        self._limits = limits
        self._draining = draining
        self._door = door
        self._queue = JoinQueue(limits, monotonic, later, begin=self._begin, refuse=self._refuse)

    def join(self, client: Client, join: Join) -> None:
        """Make `client` a member, once the bus has answered.

        Raises:
            Refused: BAD_REQUEST, a join is under way; TOO_MANY_ROOMS; ROOM_FULL; what the door
                refuses.
        """
        try:
            self._queue.add(client, join)
        except Refused as refused:
            refused.id = join.id
            raise

    def check_entry(self, client: Client, room: str) -> None:
        """Refuse what a join of `room` would be refused with now.

        Raises:
            Refused: BAD_ROOM, what the door refuses, or ROOM_FULL.
        """
        if not is_room_name(room):
            raise Refused(BAD_ROOM)
        self._check_seat(client, self._door.admit(client.identity, room))

    def subscribe(self, client: Client, room: str) -> None:
        """Make `client` a member without being asked; harmless where it is one, or must not be."""
        known = room in client.rooms or room in client.joining
        if not known and is_room_name(room):
            try:
                self._queue.add(client, Join(UNASKED, room))
            except Refused as refused:
                _log.debug("%s is not subscribed to %s: %s", client.session, room, refused)

    def _begin(self, client: Client, join: Join) -> None:
        if join.room in client.joining:
            if join.room not in client.subscribing:
                raise Refused(BAD_REQUEST, "a join of this room is under way")
            # What the client wishes itself comes before what nobody asked for.
            client.joining.pop(join.room).dismiss(client)
        known = len(client.rooms) + len(client.joining)
        if join.room not in client.rooms and known >= client.state.limits.rooms:
            raise Refused(TOO_MANY_ROOMS)
        settings = self._door.admit(client.identity, join.room)
        self._check_seat(client, settings)
        room = self._rooms.open(join.room)
        room.ephemeral = not settings.persistent
        held = room.prepare(client)
        client.joining[join.room] = room
        client.subscribing.discard(join.room)
        if join.id == UNASKED:
            client.subscribing.add(join.room)
        history = min(join.history, self._limits.history)

        def holds() -> bool:
            # Who left meanwhile may have begun another join, which has its own answer to come.
            return client.joining.get(join.room) is room and room.holds(client, held)

        def answer(page: Page | Refused) -> None:
            if holds():
                self._admit(client, join, room, page)
            else:
                self._refuse(client, join, Refused(NOT_JOINED, "left meanwhile"))

        def read() -> None:
            if holds():
                self._bus.read(join.room, join.since, history, answer)
            else:
                self._refuse(client, join, Refused(NOT_JOINED, "left meanwhile"))

        self._rooms.known(join.room, read)

    def _admit(self, client: Client, join: Join, room: Room[Client], page: Page | Refused) -> None:
        del client.joining[join.room]
        client.subscribing.discard(join.room)
        if isinstance(page, Refused):
            self._turn_away(client, join, room, page)
            return
        try:
            # Others may have come while the bus was asked.
            self._check_seat(client, self._door.settings(join.room))
        except Refused as refused:
            self._turn_away(client, join, room, refused)
            return
        held = room.admit(client, client.codec, client.outbox)
        page = settle(page, held, join.since, min(join.history, self._limits.history))
        room.unwatch(client)
        if join.room not in client.rooms:
            client.rooms[join.room] = room
            user, name = client.identity.user_id, client.identity.name
            self._rooms.enter(room, user, name)
        self._note_rights(client, join.room)
        if join.presence:
            room.watch(client, client.codec, client.outbox)
        self._states.look_away(room, client)
        self._tell_joined(client, join, room, page)
        self.note_silence(client, join.room)
        self._warden.entered(client, join.room, shows=join.space)

    def _turn_away(self, client: Client, join: Join, room: Room[Client], refused: Refused) -> None:
        room.dismiss(client)
        if client.rooms.pop(join.room, None) is not None:
            self._depart(room, client.identity.user_id)
        self._rooms.close_if_empty(room)
        self._refuse(client, join, refused)

    def _refuse(self, client: Client, join: Join, refused: Refused) -> None:
        if join.id != UNASKED:
            refused.id = join.id
            self._refusals.tell(client, refused)

    def _check_seat(self, client: Client, settings: RoomSettings) -> None:
        """Raise ROOM_FULL for one user more than fit in."""
        user = client.identity.user_id
        room = self._rooms.get(settings.room)
        if room is not None:
            check_seat(settings, user, room.roster)
        self._warden.check_seat(settings.room, user)

    def _note_rights(self, client: Client, room: str) -> None:
        if client.identity.may(Rights.SEND, room):
            client.read_only.discard(room)
        else:
            client.read_only.add(room)

    def note_silence(self, client: Client, room: str) -> None:
        """Know what of `client` is muted in `room`, and tell it where that is news."""
        before = client.muted.get(room)
        silence = self._door.silence(client.identity.user_id, room)
        if silence is None:
            client.muted.pop(room, None)
        else:
            client.muted[room] = silence
        if silence != before:
            told = silence or Sanction(room, client.identity.user_id)
            what: list[str] = sorted(told.what)
            by, note = told.by or None, told.note or None
            self._delivery.reply(client, Muted(room, what, told.until_ms, by, note))

    def _tell_joined(self, client: Client, join: Join, room: Room[Client], page: Page) -> None:
        joined = client.codec.frame(
            Joined(
                join.room,
                page.epoch,
                page.offset,
                page.recovered,
                self._retelling.payloads(join.room, page.epoch, page.entries, client.codec),
                None if join.id == UNASKED else join.id,
                room.roster.members() if join.presence else None,
                room.roster.count if join.presence else None,
                self._states.look(room, client) if join.state else None,
                room.roster.sample() if join.presence else None,
                self._retelling.removed(join.room, page.epoch, page.offset),
            )
        )
        if join.state:
            client.outbox.excuse(len(joined))
        self._retelling.tell(client, join.room, joined, len(page.entries))

    def leave(self, client: Client, leave: Leave) -> None:
        """End a membership; harmless where there is none."""
        self._end(client, leave.room)
        self._delivery.reply(client, Left(leave.room, leave.id))

    def expel(self, client: Client, room: str, reason: str, **told: Any) -> bool:
        """End a membership from this side, with what `left` tells; False where there is none."""
        if room not in client.rooms and room not in client.joining and room not in client.waiting:
            return False
        self._end(client, room)
        self._delivery.reply(client, Left(room, reason=reason, **told))
        return True

    def review(self, client: Client) -> None:
        """Look again at every room of a connection whose grants have changed."""
        for room in (*client.rooms, *client.joining, *client.waiting):
            self._judge(client, room)

    def changed(self, room: str) -> None:
        """Look again at everybody in a room about which something else is laid down now."""
        place = self._rooms.get(room)
        if place is None:
            return
        for client in place.members():
            self._judge(client, room)
        with suppress(Refused):
            place.ephemeral = not self._door.settings(room).persistent

    def _judge(self, client: Client, room: str) -> None:
        try:
            self._door.admit(client.identity, room)
        except Refused as refused:
            # Who is in stays in while nothing is known.
            if refused.refusal is not ROOMS_AWAY:
                self._expel_refused(client, room, refused)
        else:
            self._note_rights(client, room)
            if room in client.rooms:
                self.note_silence(client, room)

    def _expel_refused(self, client: Client, room: str, refused: Refused) -> None:
        sanction = self._door.barred(client.identity.user_id, room)
        if refused.refusal is not BANNED or sanction is None:
            self.expel(client, room, refused.refusal.reason)
            return
        self.expel(
            client,
            room,
            "kicked" if sanction.kicked else "banned",
            retry_after_ms=refused.retry_after_ms,
            by=sanction.by or None,
            note=sanction.note or None,
        )

    def _end(self, client: Client, name: str) -> None:
        self._queue.drop(client, name)
        client.subscribing.discard(name)
        joining = client.joining.pop(name, None)
        if joining is not None:
            joining.dismiss(client)
        room = client.rooms.pop(name, None)
        client.read_only.discard(name)
        client.muted.pop(name, None)
        if room is not None:
            self._exit(client, room)
        elif joining is not None:
            self._rooms.close_if_empty(joining)
        if client.relay is not None and name in client.relay.rooms:
            client.relay.rooms.discard(name)
            client.relay.submit(None, {"t": "media.leave", "room": name})

    def leave_all(self, client: Client) -> None:
        """End every membership of a connection that is gone."""
        self._queue.drop_all(client)
        for room in list(client.joining.values()):
            room.dismiss(client)
            self._rooms.close_if_empty(room)
        client.joining.clear()
        for room in list(client.rooms.values()):
            self._exit(client, room)
        client.rooms.clear()

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

    def _exit(self, client: Client, room: Room[Client]) -> None:
        room.dismiss(client)
        self._depart(room, client.identity.user_id)

    def _depart(self, room: Room[Client], user: str) -> None:
        self._rooms.exit(room, user)
        if user not in room.roster and not self._draining():
            self._states.forget(room, user)
