"""What the audience counts, and what it found: values both twins share."""

from typing import Literal, NamedTuple

# Delays are counted in steps of 10 µs; the last step holds everything from a second on.
DELAY_STEP_US = 10
DELAY_STEPS = 100_001


class Wire(NamedTuple):
    """How a message looks.

    `websocket`: a frame whose payload has `mark` from byte `at` on. `nats`: `MSG` and its size in
    a line, then the payload.
    """

    kind: Literal["websocket", "nats"]
    at: int = 0
    mark: bytes = b""


class Run(NamedTuple):
    """What was sent and what arrived in `seconds`, and the delays, counted by `DELAY_STEP_US`."""

    seconds: float
    sent: int
    delivered: int
    delays: list[int]

    def delay_ms(self, percent: float) -> float:
        """Return the delay that `percent` of the deliveries did not exceed."""
        wanted = sum(self.delays) * percent / 100
        passed = 0
        for step, count in enumerate(self.delays):
            passed += count
            if passed >= wanted and passed:
                return (step + 1) * DELAY_STEP_US / 1000
        return 0.0


class StalledError(Exception):
    """Nothing arrived for so long that something is lost."""
