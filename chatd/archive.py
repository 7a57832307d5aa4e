"""The archive: every message there ever was, for those who page beyond the hot end.

`Archive` is the port, `MemoryArchive` the test double. Epochs of a room stand in the order they
began in; a page is of one epoch, so a room's past is read page by page, whatever its epochs.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chatd.errors import ChatError
from chatd.wire import Message, Since


class ArchiveAway(ChatError):
    """The archive cannot answer now; nothing is lost, ask again later."""


class Stretch(msgspec.Struct, gc=False):
    """Messages that follow each other in one epoch, oldest first.

    `more` says whether there are further ones in the direction that was read. An empty stretch
    has the epoch "".
    """

    epoch: str
    messages: Sequence[Message]
    more: bool


NOTHING = Stretch("", (), False)


class Archive(Protocol):
    """The whole past of every room.

    Guarantee asked of an implementation: what was acknowledged before a call is in its answer,
    each message once, with no gap but what a retention has deleted; where it cannot be sure of
    that, it raises `ArchiveAway`. An epoch it does not know is newer than all it knows.
    """

    async def before(self, room: str, place: Since | None, limit: int) -> Stretch:
        """Return up to `limit` messages that end right before `place`, or the newest.

        Raises:
            ArchiveAway
        """

    async def after(self, room: str, place: Since | None, limit: int) -> Stretch:
        """Return up to `limit` messages that begin right after `place`, or the oldest.

        Raises:
            ArchiveAway
        """


class MemoryArchive:
    """An archive that lives as long as its process. Set `away` and it cannot answer."""

    def __init__(self) -> None:
        # room -> epoch -> offset -> message; epochs in the order they began in.
        self._rooms: dict[str, dict[str, dict[int, Message]]] = {}
        self.away = False

    def keep(self, epoch: str, message: Message) -> None:
        """Add a message, or replace the one at its place."""
        epochs = self._rooms.setdefault(message.room, {})
        epochs.setdefault(epoch, {})[message.offset] = message

    async def before(self, room: str, place: Since | None, limit: int) -> Stretch:
        epochs = self._epochs(room)
        if place is not None and place.epoch in epochs:
            newer = list(epochs)[list(epochs).index(place.epoch) + 1 :]
            epochs = {epoch: kept for epoch, kept in epochs.items() if epoch not in newer}
            epochs[place.epoch] = [m for m in epochs[place.epoch] if m.offset < place.offset]
        told = [epoch for epoch, kept in epochs.items() if kept]
        if not told:
            return NOTHING
        kept = epochs[told[-1]]
        return Stretch(told[-1], kept[-limit:], len(kept) > limit or len(told) > 1)

    async def after(self, room: str, place: Since | None, limit: int) -> Stretch:
        epochs = self._epochs(room)
        if place is not None and place.epoch not in epochs:
            return NOTHING
        if place is not None:
            older = list(epochs)[: list(epochs).index(place.epoch)]
            epochs = {epoch: kept for epoch, kept in epochs.items() if epoch not in older}
            epochs[place.epoch] = [m for m in epochs[place.epoch] if m.offset > place.offset]
        told = [epoch for epoch, kept in epochs.items() if kept]
        if not told:
            return NOTHING
        kept = epochs[told[0]]
        return Stretch(told[0], kept[:limit], len(kept) > limit or len(told) > 1)

    def _epochs(self, room: str) -> dict[str, list[Message]]:
        if self.away:
            raise ArchiveAway("the archive is away")
        return {
            epoch: [kept[offset] for offset in sorted(kept)]
            for epoch, kept in self._rooms.get(room, {}).items()
        }
