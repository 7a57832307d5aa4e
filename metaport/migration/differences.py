"""What a comparison found, table by table."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

# Of each table, so that the report of a table that is all wrong can still be read.
TOLD = 50


@dataclass(frozen=True, slots=True)
class Difference:
    """One row: missing in the target, extra there, or changed in some columns."""

    what: str  # missing, extra, changed
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()


@dataclass
class Sums:
    """Rows, what their hashes add up to, and of each column the values and their sum."""

    rows: int = 0
    checksum: int = 0
    values: list[int] = field(default_factory=list)
    totals: list[Decimal | None] = field(default_factory=list)

    def add(self, other: "Sums") -> None:
        """Add what another stretch of the table comes to."""
        self.rows += other.rows
        self.checksum = (self.checksum + other.checksum) % 2**64
        self.values = _added(self.values, other.values)
        self.totals = [
            None if one is None or two is None else one + two
            for one, two in zip(
                self.totals or [Decimal(0)] * len(other.totals), other.totals, strict=True
            )
        ]


def _added(ones: list[int], others: list[int]) -> list[int]:
    return [a + b for a, b in zip(ones or [0] * len(others), others, strict=True)]


@dataclass
class TableResult:
    """One table compared; times in seconds."""

    table: str
    columns: tuple[str, ...] = ()
    source: Sums = field(default_factory=Sums)
    target: Sums = field(default_factory=Sums)
    left: int = 0
    masked: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    differing: int = 0
    told: list[Difference] = field(default_factory=list)
    missing_table: bool = False
    orphans: dict[str, int] = field(default_factory=dict)
    how: str = ""  # checksum, rows, sums
    began_at: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not (
            self.missing_table
            or self.differing
            or self.orphans
            or self.source.rows != self.target.rows
        )

    def tell(self, difference: Difference) -> None:
        """Count a difference, and keep the first of them."""
        self.differing += 1
        if len(self.told) < TOLD:
            self.told.append(difference)


@dataclass
class SequenceResult:
    """One counter: it must not give what is there already."""

    name: str
    source: int | None
    target: int | None
    greatest: int | None

    @property
    def passed(self) -> bool:
        reached = max(self.source or 0, self.greatest or 0)
        return reached == 0 or (self.target or 0) >= reached


@dataclass
class Verification:
    """A whole comparison."""

    source: str
    target: str
    rules: str
    version: str
    began_at: str
    ended_at: str = ""
    seconds: float = 0.0
    tables: list[TableResult] = field(default_factory=list)
    sequences: list[SequenceResult] = field(default_factory=list)
    schema: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return (
            not self.schema
            and all(one.passed for one in self.tables)
            and all(one.passed for one in self.sequences)
        )

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values, with the digest of all the rest."""
        tree: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str, ensure_ascii=False))
        for table, result in zip(tree["tables"], self.tables, strict=True):
            table["passed"] = result.passed
        for sequence, found in zip(tree["sequences"], self.sequences, strict=True):
            sequence["passed"] = found.passed
        tree["passed"] = self.passed
        tree["digest"] = digest(tree)
        return tree


def digest(tree: dict[str, Any]) -> str:
    """Return the SHA-256 of a report's values without its `digest`, as canonical JSON."""
    told = {name: value for name, value in tree.items() if name != "digest"}
    text = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
