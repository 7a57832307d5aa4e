"""Integer counters of a hub, for metrics."""

from collections import Counter
from collections.abc import Callable


class Counters:
    """Totals since start, and the present state. Read them whenever; they only cost an add."""

    def __init__(self, queue_bytes: Callable[[], int]) -> None:
        self.connections = 0  # now open, past hello
        self.connections_total = 0
        self.rooms = 0  # now with members
        self.messages_in = 0  # accepted, repeats of a key not included
        self.messages_out = 0  # live `message` frames written
        self.recovered = 0  # messages put into `joined`
        self.states_in = 0  # ephemeral values taken
        self.states_out = 0  # `states` frames written
        self.states_dropped = 0  # over the rate, or not told to who reads slowly
        self.bytes_in = 0
        self.bytes_out = 0
        self.commits_refused = 0
        self.bad_frames = 0  # undecodable, or against RFC 6455
        self.handshakes_refused: Counter[str] = Counter()  # by reason
        self.errors: Counter[str] = Counter()  # `error` frames, by reason
        self.limited: Counter[str] = Counter()  # refused for a rate, by its name
        self.closes: Counter[int] = Counter()  # closes begun here, by code
        self._queue_bytes = queue_bytes

    @property
    def queue_bytes(self) -> int:
        """Bytes waiting for slow readers; computed when asked."""
        return self._queue_bytes()
