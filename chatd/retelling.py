"""What was said before, told to those who ask: in `joined` frames and page by page."""

from collections.abc import Callable, Sequence

import msgspec

from chatd.client import Client
from chatd.counters import Counters
from chatd.delivery import Delivery
from chatd.errors import NOT_JOINED, Refused
from chatd.facts import Fact, MessagesRecovered
from chatd.history import Entry
from chatd.moderation import ModerationBook
from chatd.paging import Excerpt, Pager
from chatd.refusals import Refusals
from chatd.wire import Codec, History, Past, tombstone_of

# A client that was away holds about a thousand messages; few of them are ever removed.
REMOVED_TOLD = 200


class Retelling:
    """Counts and sends messages that are not live. `utc_ms` tells the time."""

    def __init__(
        self,
        pager: Pager,
        *,
        delivery: Delivery,
        counters: Counters,
        refusals: Refusals,
        owe: Callable[[Fact], None],
        utc_ms: Callable[[], int],
        moderation: ModerationBook,
    ) -> None:
        self._pager = pager
        self._delivery = delivery
        self._counters = counters
        self._refusals = refusals
        self._owe = owe
        self._utc_ms = utc_ms
        self._moderation = moderation

    def page(self, client: Client, wish: History) -> None:
        """Answer a `history` frame, at once or later.

        Raises:
            Refused: NOT_JOINED, or too many pages are under way.
        """
        if wish.room not in client.rooms:
            raise Refused(NOT_JOINED, id=wish.id)

        def answer(found: Excerpt | Refused) -> None:
            if isinstance(found, Refused):
                found.id = wish.id
                self._refusals.tell(client, found)
            elif client.open:
                messages = self.payloads(wish.room, found.epoch, found.entries, client.codec)
                past = Past(wish.id, wish.room, found.epoch, messages, found.more)
                self.tell(client, wish.room, client.codec.frame(past), len(messages))

        self._pager.page(client.session, wish, answer)

    def payloads(
        self, room: str, epoch: str, entries: Sequence[Entry], codec: Codec
    ) -> list[msgspec.Raw]:
        """Return the frames of `entries`; of those that were removed only the place is told."""
        gone = self._moderation.gone(room, epoch)
        if not gone:
            return [msgspec.Raw(entry.payload(codec)) for entry in entries]
        return [
            msgspec.Raw(
                tombstone_of(entry.packed, codec) if entry.offset in gone else entry.payload(codec)
            )
            for entry in entries
        ]

    def removed(self, room: str, epoch: str, top: int) -> list[int] | None:
        """Return the newest removed offsets of a room: who comes back may still show them."""
        gone = self._moderation.gone(room, epoch)
        return sorted(offset for offset in gone if offset <= top)[-REMOVED_TOLD:] or None

    def tell(self, client: Client, room: str, told: bytes, count: int) -> None:
        """Send a frame with `count` messages in it that were said before."""
        if count:
            self._counters.recovered += count
            self._owe(MessagesRecovered(room, client.identity.user_id, count, self._utc_ms()))
            client.outbox.excuse(len(told))
        self._delivery.write(client, told)
