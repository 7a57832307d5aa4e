"""Media frames between the connections of a hub and the `media.Media` port."""

from chatd.client import Client
from chatd.delivery import Delivery
from chatd.errors import NO_MEDIA, NOT_JOINED, RATE_LIMITED, Refused
from chatd.media import Media
from chatd.refusals import Refusals
from chatd.relay import Answer, Relay
from chatd.wire import MediaFrame


class Exchange:
    """Gives each connection its `Relay`. Of one connection `pending` frames may wait."""

    def __init__(
        self, media: Media | None, delivery: Delivery, refusals: Refusals, pending: int
    ) -> None:
        self._media = media
        self._delivery = delivery
        self._refusals = refusals
        self._pending = pending

    def carry(self, client: Client, frame: MediaFrame) -> None:
        """Send a frame on its way; the answer comes later.

        Raises:
            Refused: NO_MEDIA, NOT_JOINED or RATE_LIMITED.
        """
        if self._media is None:
            raise Refused(NO_MEDIA, id=frame.id)
        leaves = frame.t == "media.leave"
        if frame.room not in client.rooms and not leaves:
            raise Refused(NOT_JOINED, id=frame.id)
        if client.relay is None:
            client.relay = Relay(
                self._media, client, lambda id, answer: self._answer(client, id, answer)
            )
        if client.relay.pending >= self._pending:
            raise Refused(RATE_LIMITED, id=frame.id, retry_after_ms=1000)
        if leaves:
            client.relay.rooms.discard(frame.room)
        else:
            client.relay.rooms.add(frame.room)
        client.relay.submit(frame.id, frame.raw)

    def _answer(self, client: Client, request_id: int, answer: Answer) -> None:
        if isinstance(answer, Refused):
            answer.id = request_id
            self._refusals.tell(client, answer)
        else:
            self._delivery.reply(client, {**answer, "id": request_id})
