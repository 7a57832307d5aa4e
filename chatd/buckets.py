"""Token buckets by key: one for each user, or each address."""

from collections import OrderedDict

from chatd.limits import TokenBucket


class Buckets:
    """At most `keys` buckets of one rate; the one used longest ago makes room for another.

    Whoever is forgotten begins with a full bucket again: with too many keys the limit is looser,
    never stricter.
    """

    def __init__(self, per_s: float, burst: float, keys: int = 10_000) -> None:
        self._rate = (per_s, burst)
        self._keys = keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: str, now: float) -> TokenBucket:
        """Return the bucket of `key`, a full one when there is none."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._keys:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = TokenBucket(*self._rate, now)
        else:
            self._buckets.move_to_end(key)
        return bucket

    def known(self, key: str) -> TokenBucket | None:
        """Return the bucket of `key`, None when there is none."""
        return self._buckets.get(key)

    def take(self, key: str, now: float) -> float:
        """Take a token of `key`; return 0.0, or the seconds until there is one."""
        return self.of(key, now).take(now)
