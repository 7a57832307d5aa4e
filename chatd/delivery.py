"""Frames on their way out: encoded once, queued for many, written once per loop iteration."""

from collections.abc import Callable, Sequence
from typing import Any

from chatd.bus import Publication
from chatd.client import Client
from chatd.counters import Counters
from chatd.rooms import Room
from chatd.websocket import frame
from chatd.wire import MSGPACK, Codec, Presence


class Delivery:
    """The outboxes with something in them. `wake` is called when there is a first one."""

    def __init__(self, counters: Counters, wake: Callable[[], None]) -> None:
        self._counters = counters
        self._wake = wake
        self._due: list[Client] = []

    @property
    def due(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._due)

    def write(self, client: Client, data: bytes) -> None:
        """Queue whole WebSocket frames for one client."""
        if client.outbox.append(data):
            self._due.append(client)
            self._wake()

    def reply(self, client: Client, message: Any) -> None:
        """Queue one frame for one client that is still there."""
        if client.open:
            self.write(client, client.codec.frame(message))

    def publish(self, room: Room[Client], batch: Sequence[Publication]) -> None:
        """Queue messages for every member of `room`."""
        due = self._due
        for codec, audience in room.audiences():
            # Encoded and joined once; every member's outbox holds the same bytes.
            data = b"".join([_live_frame(codec, publication) for publication in batch])
            for client, outbox in audience.items():
                if outbox.append(data):
                    due.append(client)
        self._counters.messages_out += room.listeners * len(batch)
        room.hold(batch)
        if due:
            self._wake()

    def announce(self, room: Room[Client], presence: Presence) -> None:
        """Queue a presence frame for those who watch `room`."""
        for codec, watchers in room.watchers():
            data = codec.frame(presence)
            for client in watchers:
                self.write(client, data)

    def flush(self, overflowed: Callable[[Client], None]) -> None:
        """Write every outbox once; name those who have left too much unread."""
        due, self._due = self._due, []
        for client in due:
            self._counters.bytes_out += client.outbox.pending_bytes
            if client.outbox.flush() and client.open:
                overflowed(client)


def _live_frame(codec: Codec, publication: Publication) -> bytes:
    if codec is MSGPACK:
        return frame(publication.packed, MSGPACK.opcode)
    return codec.frame(publication.message)
