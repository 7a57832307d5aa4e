"""`make migration NAME=…`: write the file of a new revision, for a person to go over.

What differs is found on SQLite, which knows no comments and no partitions: those are to be checked.
"""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from metaport.db.migrate import upgrade
from metaport.db.revisions import MIGRATIONS, head
from metaport.db.schema import metadata

_FILE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {down}
'''


def begin(name: str, now: datetime) -> Path:
    """Write a revision from the last one to the tables as they are; return its path."""
    revision = f"r{now:%Y%m%d_%H%M}_{name}"
    with create_engine("sqlite://").connect() as connection:
        upgrade(connection)
        up, down = _steps(connection)
    path = MIGRATIONS / "versions" / f"{revision}.py"
    title = name.replace("_", " ").capitalize()
    path.write_text(
        _FILE.format(title=title, revision=revision, before=head(), up=up, down=down), "utf-8"
    )
    return path


def _steps(connection: Connection) -> tuple[str, str]:
    found = produce_migrations(MigrationContext.configure(connection), metadata)
    assert found.upgrade_ops is not None
    assert found.downgrade_ops is not None
    return render_python_code(found.upgrade_ops), render_python_code(found.downgrade_ops)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch("[a-z][a-z0-9_]*", sys.argv[1]):
        sys.exit("make migration NAME=what_changes")
    print(begin(sys.argv[1], datetime.now(UTC)))
