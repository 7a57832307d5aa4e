"""A bucket of requests for each user and each address, of one hub process."""

import math
from typing import NamedTuple

from chatd.buckets import Buckets

# A backend that follows a whole world sends tens a second; a page of a person bursts when opened.
PER_S, BURST = 50.0, 300.0


class Standing(NamedTuple):
    """What is left of somebody's requests: how many, and the seconds until all are there again."""

    left: int
    full_in_s: int
    wait_s: float


class RestLimit:
    """A bucket for each user and each address, of this hub process."""

    def __init__(self, per_s: float = PER_S, burst: float = BURST) -> None:
        self._per_s, self._burst = per_s, burst
        self._buckets = Buckets(per_s, burst)
        self.policy = f'"rest";q={int(burst)};w={math.ceil(burst / per_s)}'

    def take(self, key: str, now: float) -> Standing:
        """Take one request of somebody; `now` is monotonic."""
        bucket = self._buckets.of(key, now)
        wait_s = bucket.take(now)
        left = int(bucket.left)
        return Standing(left, math.ceil((self._burst - left) / self._per_s), wait_s)
