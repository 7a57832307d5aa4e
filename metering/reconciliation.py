"""Are the figures right? What was counted, beside what others know of the same day.

1. Messages counted in a room, beside the offsets its messages were given, which are dense.
2. Seconds counted for a person in a room, beside when the SFU says they were there.
3. Sums by hour, day and month, beside the windows they are sums of.
4. Closed months, beside the ledger as it is now: usage that came late, and is to be corrected.

Nothing is put right here. A difference is for a person to explain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

# What is compared, in Korean and in English.
CHECKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "messages": ("메시지 수와 방 번호", "messages counted, offsets given"),
        "history": ("보관한 메시지와 방 번호", "messages kept, offsets given"),
        "seconds": ("참여 시간과 SFU의 출석", "seconds counted, attendance of the SFU"),
        "sessions": ("참여 시간과 참여별 시간", "seconds counted, seconds by session"),
        "windows": ("일 합계와 구간", "sums by day, windows"),
        "hours": ("시 합계와 일 합계", "sums by hour, sums by day"),
        "month": ("월 합계와 일 합계", "sums by month, sums by day"),
        "closed": ("마감한 달과 지금의 장부", "closed months, the ledger now"),
    }
)

# What a comparison is of: places, meters, people.
Key = tuple[str, ...]


class Difference(NamedTuple):
    """Two figures of the same thing that are not the same."""

    check: str
    key: Key
    counted: int
    known: int

    def as_json(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return self._asdict() | {"key": list(self.key), "difference": self.counted - self.known}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared for a day, and what differs; `skipped` says what could not be compared.

    Each machine compares for itself, `node` is its first hub: only there are the attendances of its
    SFUs. What is in the ledger is compared by each of them.
    """

    day: str
    checked_at_s: int
    compared: Mapping[str, int]
    differences: tuple[Difference, ...]
    skipped: Mapping[str, str]
    node: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what was found as plain values."""
        return {
            "day": self.day,
            "node": self.node,
            "checked_at_s": self.checked_at_s,
            "compared": dict(self.compared),
            "differences": [list(difference) for difference in self.differences],
            "skipped": dict(self.skipped),
        }


def reconciliation_of(kept: Mapping[str, Any]) -> Reconciliation:
    """Return what `Reconciliation.as_json` was written from."""
    return Reconciliation(
        kept["day"],
        kept["checked_at_s"],
        kept["compared"],
        tuple(
            Difference(check, tuple(key), counted, known)
            for check, key, counted, known in kept["differences"]
        ),
        kept["skipped"],
        kept["node"],
    )


def merged(found: Sequence[Reconciliation]) -> Mapping[str, int]:
    """Return how much was compared of a day by all machines together.

    Attendances are of each machine's own SFUs and add up; everything else is in the ledger, and is
    the same to each of them but for what came in between.
    """
    compared: dict[str, int] = {}
    for each in found:
        for check, count in each.compared.items():
            before = compared.get(check, 0)
            compared[check] = before + count if check == "seconds" else max(before, count)
    return compared


def differing(
    check: str, counted: Mapping[Key, int], known: Mapping[Key, int]
) -> Iterator[Difference]:
    """Compare two tables of figures; what is missing in one counts as 0."""
    for key in sorted(counted.keys() | known.keys()):
        if counted.get(key, 0) != known.get(key, 0):
            yield Difference(check, key, counted.get(key, 0), known.get(key, 0))


def seconds_within(since_ms: int, until_ms: int, start_s: int, end_s: int) -> int:
    """Count the whole seconds of a stretch that fall in [start_s, end_s)."""
    first, last = max(since_ms // 1000, start_s), min(until_ms // 1000, end_s)
    return max(0, last - first)
