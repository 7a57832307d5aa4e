"""The pure-Python twin of `sfu.fanout`: its specification and its fallback."""

from collections.abc import Callable, Sequence
from socket import socket
from typing import TYPE_CHECKING, Protocol

from sfu.rewrite import patch

if TYPE_CHECKING:
    from sfu.aiortc_seam import Sender
    from sfu.ice import Path
    from sfu.transport import TransportCounters

__all__ = ["Departures", "Flow", "Route", "TransportNumbers", "forward"]


class Selection(Protocol):
    """Where a peer is: `sfu.ice.IceSession`."""

    @property
    def selected(self) -> "Path | None":
        """Return the path in use; another one is another object."""


class Departures:
    """The sockets `forward` writes to, and what waits for the end of a batch of arrivals.

    Between `gather` and `flush` packets may wait here: protected copies with their address, so
    that nobody who leaves meanwhile is missed. This twin keeps nothing: all goes by `Flow.send`.
    """

    def __init__(self, counters: "TransportCounters") -> None:
        self.counters = counters

    def open(self, number: int, sock: socket) -> None:
        """Know a socket by the number that `Path.local` gives it."""

    def close(self, number: int) -> None:
        """Forget a socket, before it is closed."""

    def gather(self) -> None:
        """Expect `flush` after a few more packets."""

    def flush(self) -> None:
        """Send what waits; dropped and counted where the kernel does not take it."""


class Route:
    """How RTP gets to one peer: keys, and the path it selected last.

    Between `key` and `unkey` the keys are those of `Flow.send`, and ``session.selected`` is
    where it sends to.
    """

    def __init__(self, departures: Departures, session: Selection) -> None:
        self.departures = departures
        self.session = session

    def key(self, sender: "Sender") -> None:
        """Protect with these keys from now on."""

    def unkey(self) -> None:
        """Have no keys: whatever is to be said of it, `Flow.send` says."""


class TransportNumbers:
    """Counts the packets of one transport, for the header extension that tells their numbers."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0

    def take(self) -> int:
        """Return the number of the next packet."""
        number = self.next
        self.next += 1
        return number


class Flow:
    """What `forward` knows of one receiver of a track; all zero at first."""

    __slots__ = (
        "egress_bytes",
        "numbers",
        "octets",
        "packets",
        "route",
        "send",
        "sequence_shift",
        "ssrc",
        "timestamp_shift",
    )

    packets: int  # RTP packets sent, retransmissions not counted
    octets: int  # their payload
    egress_bytes: int  # RTP bytes sent, retransmissions included
    ssrc: int
    sequence_shift: int
    timestamp_shift: int
    send: Callable[[bytes], None]
    route: Route | None  # `None`: every packet goes by `send`
    numbers: TransportNumbers | None  # `None`: packets have no place for one


def forward(
    flows: Sequence[Flow], template: bytes, number: int, timestamp: int, octets: int
) -> None:
    """Send a normalised packet to each receiver in its own numbers, and count it there.

    ``octets`` of it are payload; ``number`` and ``timestamp`` may be extended. Never raises where
    `Flow.send` does not.
    """
    size = len(template)
    for flow in flows:
        flow.send(
            patch(
                template,
                flow.ssrc,
                number + flow.sequence_shift,
                timestamp + flow.timestamp_shift,
                -1 if flow.numbers is None else flow.numbers.take(),
            )
        )
        flow.packets += 1
        flow.octets += octets
        flow.egress_bytes += size
