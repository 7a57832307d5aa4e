"""What moderation lays down, carried out on the connections of this process."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from chatd.client import Client
from chatd.delivery import Delivery
from chatd.errors import BARRED, KICKED, MUTED, Refused
from chatd.membership import Membership
from chatd.moderation import ModerationBook, Removal
from chatd.people import People
from chatd.refusals import Refusals
from chatd.rooms import Rooms
from chatd.wire import Removed, Send


class Moved(NamedTuple):
    """How many connections of a user were moved, and of how many the other room was refused."""

    moved: int
    refused: int
    reason: str | None


class Bailiff:
    """The `moderation.Moderated` of a hub. `utc_ms` tells the time."""

    def __init__(
        self,
        book: ModerationBook,
        people: People,
        rooms: Rooms[Client],
        *,
        membership: Membership,
        delivery: Delivery,
        refusals: Refusals,
        utc_ms: Callable[[], int],
    ) -> None:
        self._book = book
        self._people = people
        self._rooms = rooms
        self._membership = membership
        self._delivery = delivery
        self._refusals = refusals
        self._utc_ms = utc_ms

    def greet(self, client: Client) -> None:
        """Let somebody in who is not barred from the server.

        Raises:
            Refused: KICKED or BARRED.
        """
        sanction = self._book.barred_everywhere(client.identity.user_id, self._utc_ms())
        if sanction is None:
            return
        left_ms = sanction.left_ms(self._utc_ms())
        if left_ms is None:
            raise Refused(BARRED, sanction.note or None)
        raise Refused(KICKED, sanction.note or None, retry_after_ms=left_ms)

    def check_send(self, client: Client, send: Send) -> None:
        """Refuse what somebody says who is muted, as long as they are.

        Raises:
            Refused: MUTED.
        """
        silence = client.muted[send.room]
        if silence.until_ms is not None and silence.until_ms <= self._utc_ms():
            self._membership.note_silence(client, send.room)
            again = client.muted.get(send.room)
            if again is None:
                return
            silence = again
        if "text" in silence.what:
            left_ms = silence.left_ms(self._utc_ms())
            raise Refused(MUTED, silence.note or None, id=send.id, retry_after_ms=left_ms)

    def sanctioned(self, user: str) -> None:
        """Look again at everybody of `user`: send away, out of rooms, or tell what is muted."""
        for client in self._people.of(user):
            try:
                self.greet(client)
            except Refused as refused:
                self._refusals.tell(client, refused)
            else:
                self._membership.review(client)

    def removed(self, removal: Removal) -> None:
        """Have the people in a room show a message no more."""
        room = self._rooms.get(removal.room)
        if room is None:
            return
        told = Removed(
            removal.room,
            removal.epoch,
            removal.offset,
            f"{removal.epoch}-{removal.offset}",
            removal.by or None,
            removal.note or None,
        )
        for codec, audience in room.audiences():
            data = codec.frame(told)
            for client in audience:
                self._delivery.write(client, data)

    def move(self, user: str, room: str, to: str, by: str, note: str) -> Moved:
        """Bring the connections of `user` that are in `room` into another one instead."""
        moved, refused, reason = 0, 0, None
        for client in self._of(user, room):
            try:
                self._membership.check_entry(client, to)
            except Refused as refusal:
                refused, reason = refused + 1, refusal.refusal.reason
                continue
            self._membership.expel(client, room, "moved", to=to, by=by or None, note=note or None)
            self._membership.subscribe(client, to)
            moved += 1
        return Moved(moved, refused, reason)

    def _of(self, user: str, room: str) -> Iterable[Client]:
        return [client for client in self._people.of(user) if room in client.rooms]
