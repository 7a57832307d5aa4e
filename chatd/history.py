"""The hot end of a room's messages: what a client that comes back is given."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec

from chatd.wire import Codec, packed_to_json


class Entry(msgspec.Struct, gc=False):
    """A message as it was sent: the payload of its `message` frame."""

    offset: int
    packed: bytes
    _json: bytes | None = None

    def payload(self, codec: Codec) -> bytes:
        """Return the frame's payload in the subprotocol of `codec`."""
        if codec.packs:
            return self.packed
        if self._json is None:
            self._json = packed_to_json(self.packed)
        return self._json


class History:
    """The last entries of one room, without a gap, oldest first."""

    __slots__ = ("_entries", "_max_bytes", "_max_messages", "size_bytes")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """Keep `entry`; an offset that does not follow the last one drops what was before."""
        if self._entries and self._entries[-1].offset + 1 != entry.offset:
            self.clear()
        self._entries.append(entry)
        self.size_bytes += len(entry.packed)
        while len(self._entries) > self._max_messages or (
            self.size_bytes > self._max_bytes and len(self._entries) > 1
        ):
            self.size_bytes -= len(self._entries.popleft().packed)

    def after(self, offset: int, top: int) -> Sequence[Entry] | None:
        """Return every entry after `offset` up to `top`, None when not all of them are kept."""
        missing = top - offset
        if missing == 0:
            return ()
        if missing < 0 or missing > len(self._entries):
            return None
        return self.last(missing)

    def last(self, count: int) -> Sequence[Entry]:
        """Return the last `count` entries, fewer when there are fewer."""
        skipped = max(0, len(self._entries) - count)
        return list(islice(self._entries, skipped, None))

    def clear(self) -> None:
        """Forget every entry."""
        self._entries.clear()
        self.size_bytes = 0
