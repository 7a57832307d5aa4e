"""The record of a copy, kept in the target: what was planned, how far it came, by which rules.

A chunk's rows and its line in the record are written in one transaction, so that a kill leaves
whole chunks. The record stays when the copy is finished: `verify` reads from it what was left
behind and masked. A server does not start on a database whose record is unfinished.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from metaport.migration.spans import Key, Span


@dataclass(frozen=True, slots=True)
class Chunk:
    """One span of a table; `rows` is None until it has been copied."""

    table: str
    number: int
    span: Span
    rows: int | None = None
    rejected: int = 0


@dataclass(frozen=True)
class Run:
    """One copy, however often it was resumed; times are ISO 8601 in UTC."""

    source: str
    started_at: str
    version: str
    tables: tuple[str, ...]
    rules: dict[str, Any] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    masked: dict[str, list[str]] = field(default_factory=dict)
    snapshots: tuple[str, ...] = ()
    finished_at: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def resumed_at(self, now: str) -> "Run":
        """Return the run with one more snapshot."""
        return replace(self, snapshots=(*self.snapshots, now))


def read_run(text: str) -> Run:
    """Read what `Run.as_json` wrote."""
    tree = json.loads(text)
    tree["tables"], tree["snapshots"] = tuple(tree["tables"]), tuple(tree["snapshots"])
    return Run(**tree)


def key_json(key: Key | None) -> str | None:
    """Write the end of a span."""
    return None if key is None else json.dumps(key, ensure_ascii=False)


def read_key(text: str | None) -> Key | None:
    """Read the end of a span."""
    return None if text is None else tuple(json.loads(text))


RUN, CHUNK, STEP = "run", "chunk", "step"


def create(prefix: str) -> list[str]:
    """Return the statements that make the tables, the same words on every engine."""
    return [
        f"CREATE TABLE {prefix}{RUN} (one INTEGER PRIMARY KEY CHECK (one = 1), "
        "finished INTEGER NOT NULL, description TEXT NOT NULL)",
        f"CREATE TABLE {prefix}{CHUNK} (table_name TEXT NOT NULL, number INTEGER NOT NULL, "
        "after_key TEXT, until_key TEXT, copied BIGINT, rejected BIGINT NOT NULL, "
        "PRIMARY KEY (table_name, number))",
        f"CREATE TABLE {prefix}{STEP} (name TEXT PRIMARY KEY)",
    ]
