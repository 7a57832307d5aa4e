"""The pure-Python twin of `sfu.arrivals`: its specification and its fallback."""

from socket import socket

from sfu.ice import Path

__all__ = ["BATCH", "Arrivals"]

# Datagrams read before other callbacks of the loop get their turn.
BATCH = 64
# Beyond what SRTP accepts, so that longer datagrams are seen as such.
READ_BYTES = 2049


class Arrivals:
    """What a non-blocking UDP socket received; ``number`` is its `Path.local`."""

    def __init__(self, sock: socket, number: int) -> None:
        self._sock = sock
        self._number = number

    def read(self) -> list[tuple[bytes, Path]]:
        """Return the datagrams that wait, at most `BATCH` of them, each cut at 2,049 bytes."""
        datagrams: list[tuple[bytes, Path]] = []
        for _ in range(BATCH):
            try:
                datagram, address = self._sock.recvfrom(READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP error of an earlier send (RFC 1122 section 4.1.3.3): read on.
                continue
            datagrams.append((datagram, Path(self._number, address)))
        return datagrams
