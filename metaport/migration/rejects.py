"""The file of rows that the target refused, a JSON object a line, each with its reason."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metaport.migration.catalogue import Column, Table
from metaport.migration.copy_text import Row


@dataclass(frozen=True, slots=True)
class Reject:
    """One row, by the names of its columns, and why it was refused."""

    table: str
    reason: str
    row: dict[str, str | None]

    @classmethod
    def of(cls, table: Table, columns: Sequence[Column], row: Row, reason: str) -> "Reject":
        names = (column.name for column in columns)
        return cls(table.full_name, reason, dict(zip(names, row, strict=False)))


class RejectFile:
    """Appends rejects; the file is made by the first one, for its owner's eyes only.

    Rows may be written again by a copy that is resumed: a chunk's rejects stand in the file before
    the chunk in the record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, rejects: Iterable[Reject]) -> None:
        """Append rows to the file, on disk when this returns."""
        lines = [
            json.dumps(
                {"table": reject.table, "reason": reject.reason, "row": reject.row},
                ensure_ascii=True,  # a row may be refused because it is no UTF-8
            )
            for reject in rejects
        ]
        if not lines:
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
