"""Frames on their way out: encoded once, queued for many, written once per loop iteration."""

from collections.abc import Callable, Sequence
from typing import Any

from chatd.bus import Publication
from chatd.client import Client
from chatd.counters import Counters
from chatd.frames import send_all
from chatd.rooms import Room
from chatd.wire import Codec, Presence


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
            frames = [_live_frame(codec, publication) for publication in batch]
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            size = len(data)
            for client, outbox in audience.items():
                # `outbox.append` in line: a call for each delivery is a tenth of what it costs.
                chunks = outbox.chunks
                if not chunks:
                    due.append(client)
                chunks.append(data)
                outbox.pending_bytes += size
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
        direct: list[Client] = []
        descriptors: list[int] = []
        pieces: list[bytes] = []
        excused: list[Client] = []
        written = 0
        for client in due:
            outbox = client.outbox
            written += outbox.pending_bytes
            descriptor, chunks = outbox.descriptor, outbox.chunks
            if descriptor < 0:
                if outbox.flush() and client.open:
                    overflowed(client)
            elif chunks:
                direct.append(client)
                descriptors.append(descriptor)
                # `outbox.take` in line, as above.
                pieces.append(chunks[0] if len(chunks) == 1 else b"".join(chunks))
                chunks.clear()
                outbox.pending_bytes = 0
                if outbox.excused_bytes:
                    excused.append(client)
        self._counters.bytes_out += written
        # One call for all who read; it closes nothing, so no number is another's meanwhile.
        unsent = send_all(descriptors, pieces)
        rests = {id(direct[place]) for place, _ in unsent}
        for client in excused:
            if id(client) not in rests:
                client.outbox.excused_bytes = 0
        for place, sent in unsent:
            client = direct[place]
            if client.outbox.write(pieces[place][sent:]) and client.open:
                overflowed(client)


def _live_frame(codec: Codec, publication: Publication) -> bytes:
    if codec.packs:
        return codec.wrap(publication.packed)
    return codec.frame(publication.message)
