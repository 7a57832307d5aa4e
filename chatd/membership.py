"""Who is in which room: joining, leaving, and being there without a chat connection."""

from collections.abc import Callable

import msgspec

from chatd.bus import Bus, Page
from chatd.client import Client
from chatd.delivery import Delivery
from chatd.errors import BAD_REQUEST, NOT_JOINED, TOO_MANY_ROOMS, Refused
from chatd.grants import Rights
from chatd.limits import Limits
from chatd.recovery import settle
from chatd.refusals import Refusals
from chatd.retelling import Retelling
from chatd.rooms import Room, Rooms
from chatd.states import StateBoards
from chatd.wire import Join, Joined, Leave, Left


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
    ) -> None:
        self._bus = bus
        self._rooms = rooms
        self._states = states
        self._delivery = delivery
        self._refusals = refusals
        self._retelling = retelling
        self._limits = limits
        self._draining = draining

    def join(self, client: Client, join: Join) -> None:
        """Make `client` a member, once the bus has answered.

        Raises:
            Refused: BAD_REQUEST, a join is under way; TOO_MANY_ROOMS.
        """
        if join.room in client.joining:
            raise Refused(BAD_REQUEST, "a join of this room is under way", id=join.id)
        known = len(client.rooms) + len(client.joining)
        if join.room not in client.rooms and known >= client.state.limits.rooms:
            raise Refused(TOO_MANY_ROOMS, id=join.id)
        room = self._rooms.open(join.room)
        room.prepare(client)
        client.joining[join.room] = room
        history = min(join.history, self._limits.history)
        self._bus.read(
            join.room, join.since, history, lambda page: self._admit(client, join, room, page)
        )

    def _admit(self, client: Client, join: Join, room: Room[Client], page: Page | Refused) -> None:
        if client.joining.pop(join.room, None) is not room:
            self._refusals.tell(client, Refused(NOT_JOINED, "left meanwhile", id=join.id))
            return
        if isinstance(page, Refused):
            self._turn_away(client, join, room, page)
            return
        held = room.admit(client, client.codec, client.outbox)
        page = settle(page, held, join.since, min(join.history, self._limits.history))
        room.unwatch(client)
        if join.room not in client.rooms:
            client.rooms[join.room] = room
            if not client.identity.may(Rights.SEND, join.room):
                client.read_only.add(join.room)
            user, name = client.identity.user_id, client.identity.name
            self._rooms.enter(room, user, name)
        if join.presence:
            room.watch(client, client.codec, client.outbox)
        self._states.look_away(room, client)
        self._tell_joined(client, join, room, page)

    def _turn_away(self, client: Client, join: Join, room: Room[Client], refused: Refused) -> None:
        room.dismiss(client)
        if client.rooms.pop(join.room, None) is not None:
            self._depart(room, client.identity.user_id)
        self._rooms.close_if_empty(room)
        refused.id = join.id
        self._refusals.tell(client, refused)

    def _tell_joined(self, client: Client, join: Join, room: Room[Client], page: Page) -> None:
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
        self._retelling.tell(client, join.room, joined, len(page.entries))

    def leave(self, client: Client, leave: Leave) -> None:
        """End a membership; harmless where there is none."""
        joining = client.joining.pop(leave.room, None)
        if joining is not None:
            joining.dismiss(client)
        room = client.rooms.pop(leave.room, None)
        client.read_only.discard(leave.room)
        if room is not None:
            self._exit(client, room)
        elif joining is not None:
            self._rooms.close_if_empty(joining)
        if client.relay is not None and leave.room in client.relay.rooms:
            client.relay.rooms.discard(leave.room)
            client.relay.submit(None, {"t": "media.leave", "room": leave.room})
        self._delivery.reply(client, Left(leave.id, leave.room))

    def leave_all(self, client: Client) -> None:
        """End every membership of a connection that is gone."""
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
