"""The pure-Python twin of `sfu.inlet`: what it is for, and its fallback, which takes nothing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfu.aiortc_seam import Receiver
    from sfu.publisher import Publisher
    from sfu.transport import TransportCounters

__all__ = ["DECIDED", "FORWARDED", "NOT_TAKEN", "Inlet"]

# What `Inlet.receive` did with a datagram: nothing; all there is to do, with no deadline moved;
# decrypted it and called the publisher, as the peer's transport would have.
NOT_TAKEN, FORWARDED, DECIDED = 0, 1, 2


class Inlet:
    """How RTP of one peer gets in: keys, and the publisher it belongs to.

    **Taken or not, a datagram has the same effect**: the compiled twin may take the next number of
    an SSRC that feeds an unmuted track nobody waits for, if it can start no key frame.
    """

    def __init__(self, counters: "TransportCounters") -> None:
        """``counters`` tell of datagrams that cannot be decrypted."""

    def key(self, receiver: "Receiver") -> None:
        """Decrypt with these keys from now on."""

    def unkey(self) -> None:
        """Have no keys, and take nothing."""

    def serve(self, publisher: "Publisher") -> None:
        """Let packets in for this publisher."""

    def receive(self, datagram: bytes, now: float) -> int:
        """Take an SRTP datagram; returns one of the three constants."""
        return NOT_TAKEN
