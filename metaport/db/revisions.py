"""Which revision a database has, and which ones this program knows.

Read without Alembic, which a start that finds everything in place need not import.
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, column, func, inspect, select, table

from metaport.db.errors import SchemaUnknown
from metaport.db.tables.revision import schema_revision

MIGRATIONS = Path(__file__).with_name("migrations")

# Before there were revisions, versions were numbered in a table of this name.
NUMBERED = "schema_version"
_AFTER_NUMBER: dict[int, str | None] = {
    0: None,
    1: "r20261109_0900_usage",
    2: "r20261119_0900_history",
}


@cache
def known() -> tuple[str, ...]:
    """Return the ids of all revisions, oldest first."""
    return tuple(sorted(path.stem for path in (MIGRATIONS / "versions").glob("r*.py")))


def head() -> str:
    """Return the id of the revision that this program needs."""
    return known()[-1]


def found(connection: Connection) -> str | None:
    """Return the revision of a database, None where there is no schema.

    Raises SchemaUnknown for a revision of a later program.
    """
    look = inspect(connection)
    revision: str | None = None
    if look.has_table(schema_revision.name):
        revision = connection.scalar(select(schema_revision.c.version_num))
    elif look.has_table(NUMBERED):
        number = connection.scalar(select(func.max(column("version"))).select_from(table(NUMBERED)))
        if (number or 0) not in _AFTER_NUMBER:
            raise SchemaUnknown(f"version {number}", head())
        revision = _AFTER_NUMBER[number or 0]
    if revision is not None and revision not in known():
        raise SchemaUnknown(revision, head())
    return revision
