"""Counters of the forwarding core: plain integers that only grow."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """What passed; one may be shared by all publishers and subscribers of a process."""

    packets_in: int = 0  # RTP, as received
    bytes_in: int = 0
    packets_out: int = 0  # RTP, forwarded and repeated
    bytes_out: int = 0
    rtx_in: int = 0  # retransmissions that carried a missing packet
    rtx_out: int = 0  # packets repeated for subscribers, in RTX or plain
    nack_in: int = 0  # packets subscribers asked for
    nack_out: int = 0  # packets asked of publishers, repeats included
    pli_in: int = 0  # key frames subscribers asked for, by PLI or FIR
    pli_out: int = 0
    given_up: int = 0  # lost packets that never came
    dropped: dict[str, int] = field(default_factory=dict)  # packets not forwarded, by cause

    def drop(self, cause: str) -> None:
        """Count one dropped packet."""
        self.dropped[cause] = self.dropped.get(cause, 0) + 1
