"""When the cores behind the transports want to be called: a heap of deadlines; sans-IO."""

from heapq import heappop, heappush
from itertools import count
from math import inf

from sfu.transport import PeerTransport

# A core that stays due after it was called must not keep the loop from anything else.
SHORTEST_S = 0.001


class Timers:
    """Deadlines of many cores, each asked again after it was touched.

    A deadline that moved later is found out when it comes: the core is asked, not called.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, PeerTransport]] = []
        self._next: dict[PeerTransport, float] = {}
        self._order = count()

    def touch(self, peer: PeerTransport, not_before: float = -inf) -> None:
        """Note the deadline of a peer's core, which may have come nearer."""
        if peer.core is None or peer.closed:
            return
        deadline = peer.core.next_deadline()
        if deadline is None:
            return
        deadline = max(deadline, not_before)
        if deadline < self._next.get(peer, inf):
            self._next[peer] = deadline
            heappush(self._heap, (deadline, next(self._order), peer))

    def handle_timeout(self, now: float) -> None:
        """Call the cores whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            deadline, _, peer = heappop(self._heap)
            if self._next.get(peer) != deadline:
                continue  # a nearer one was called already
            del self._next[peer]
            if peer.closed or peer.core is None:
                continue
            due = peer.core.next_deadline()
            if due is not None and due <= now:
                peer.core.handle_timeout(now)
            self.touch(peer, now + SHORTEST_S)

    def next_deadline(self) -> float | None:
        """Tell when `handle_timeout` must run."""
        return self._heap[0][0] if self._heap else None
