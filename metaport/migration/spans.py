"""Stretches of a table by its key: what is copied, and compared, at a time."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

# At a time: a few megabytes, half a second of work, and what a kill costs at most.
SPAN_ROWS = 50_000

Key = tuple[str, ...]


class Span(NamedTuple):
    """The rows after one key, exclusive, up to another, inclusive; None has no end there."""

    after: Key | None = None
    until: Key | None = None


WHOLE = Span()


def spans_between(bounds: Sequence[Key], within: Span = WHOLE) -> list[Span]:
    """Return the spans that `bounds`, in order, cut `within` into."""
    distinct = [key for n, key in enumerate(bounds) if n == 0 or key != bounds[n - 1]]
    ends = [within.after, *distinct, within.until]
    return [Span(*pair) for pair in pairwise(ends)]


def quantiles(keys: Sequence[Key], parts: int) -> list[Key]:
    """Return the keys that cut a sorted sample into about equal parts."""
    return [keys[len(keys) * n // parts] for n in range(1, parts)] if keys else []
