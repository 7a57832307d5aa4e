"""What waits to be written to one connection, bounded in bytes."""

from typing import Protocol

from chatd.errors import Close


class Pipe(Protocol):
    """The way to one client. Nothing here blocks or raises; what cannot be sent now is queued."""

    def write(self, data: bytes) -> int:
        """Send whole WebSocket frames; return how many bytes the system has not taken yet."""

    def unsent_bytes(self) -> int:
        """Return how many bytes the system has not taken yet."""

    def close(self, close: Close) -> None:
        """Send a close frame after everything written, then end the connection soon."""


class Outbox:
    """Frames of one loop iteration, written as one piece.

    The bound is on what the client leaves unread: more than `max_bytes` unsent after a write is
    an overflow, and the hub closes the connection as a slow reader; its recovery brings the
    rest. A broadcaster never waits. So at most `max_bytes`, the frames of one iteration, and the
    answers excused below are held.
    """

    __slots__ = ("_max_bytes", "_pipe", "chunks", "descriptor", "excused_bytes", "pending_bytes")

    def __init__(self, pipe: Pipe, max_bytes: int) -> None:
        self._pipe = pipe
        self._max_bytes = max_bytes
        # Frames since the last flush; `chatd.delivery` adds to them where they are many.
        self.chunks: list[bytes] = []
        # What may lie unsent besides, until everything is sent.
        self.excused_bytes = 0
        self.pending_bytes = 0
        # The pipe's socket while it takes what `take` returns without the pipe: nothing is
        # queued before it and nothing encrypts it. -1 when everything goes by the pipe.
        self.descriptor = -1

    def append(self, data: bytes) -> bool:
        """Queue `data`; True when it is the first since the last flush, which is then due."""
        chunks = self.chunks
        chunks.append(data)
        self.pending_bytes += len(data)
        return len(chunks) == 1

    def excuse(self, size: int) -> None:
        """Allow `size` bytes more until everything is sent: the client asked for them at once.

        A recovery of 2 MiB on a slow line would otherwise end in a close and the same recovery
        again. A client with unsent bytes is not read from, so such answers do not pile up.
        """
        self.excused_bytes += size

    def flush(self) -> bool:
        """Write everything as one piece; True on overflow."""
        return self.write(self.take()) if self.chunks else False

    def take(self) -> bytes:
        """Return everything as one piece for the caller to write; there is something."""
        chunks = self.chunks
        # One chunk, the usual case in a fan-out, is shared between receivers and not copied.
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.pending_bytes = 0
        return data

    def write(self, data: bytes) -> bool:
        """Write what was taken, or the rest of it; True on overflow."""
        unsent = self._pipe.write(data)
        if not unsent:
            self.excused_bytes = 0
            return False
        return unsent > self._max_bytes + self.excused_bytes

    def close(self, close: Close) -> None:
        """Write what is queued, then close."""
        self.flush()
        self._pipe.close(close)

    @property
    def queue_bytes(self) -> int:
        """Everything the system has not taken yet."""
        return self.pending_bytes + self._pipe.unsent_bytes()
