"""Bring the schema of a database to another revision, all of the way or not at all."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, select, text

from metaport.db.errors import DatabaseError, NoSuchRevision
from metaport.db.revisions import MIGRATIONS, found, head, known
from metaport.db.tables import metadata
from metaport.db.tables.revision import schema_revision

# Any number will do as long as it is always the same one: it keeps two processes that start at
# once from creating the schema together.
SCHEMA_LOCK = 0x6D657461706F7274

# Who works on a table while it is changed waits as long as the change waits for those before it.
LOCK_TIMEOUT_S = 10

BASE = "base"

logging.getLogger("alembic").setLevel(logging.WARNING)


def upgrade(connection: Connection, to: str | None = None) -> str | None:
    """Bring the schema forward to a revision, or the last; return the revision it had.

    Raises SchemaUnknown, NoSuchRevision.
    """
    target = _one_of(to or head())
    with _alone(connection):
        was = found(connection)
        if was is None or known().index(was) < known().index(target):
            _move(connection, was, target, up=True)
        return was


def downgrade(connection: Connection, to: str) -> str | None:
    """Bring the schema back to a revision, or to nothing ("base"); return the one it had.

    What the revisions taken back had added is lost. Raises SchemaUnknown, NoSuchRevision.
    """
    target = to if to == BASE else _one_of(to)
    with _alone(connection):
        was = found(connection)
        if was is not None and (target == BASE or known().index(target) < known().index(was)):
            _move(connection, was, target, up=False)
        return was


def _one_of(revision: str) -> str:
    """Return the id that `revision` is, or is a part of."""
    if revision in known():
        return revision
    meant = [name for name in known() if revision and revision in name]
    if len(meant) != 1:
        raise NoSuchRevision(f"{revision!r} is none of {', '.join(known())}")
    return meant[0]


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold a transaction in which nobody else changes the schema."""
    if connection.dialect.name == "postgresql":
        with connection.begin():
            connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
            yield
        return
    # A table is changed by copying it, which must not delete what refers to it. Inside a
    # transaction the pragma does nothing.
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    connection.rollback()
    try:
        with connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise DatabaseError("the change would leave rows that refer to nothing")
    finally:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.rollback()


def _move(connection: Connection, was: str | None, target: str, *, up: bool) -> None:
    metadata.create_all(connection, tables=[schema_revision])
    kept = connection.scalar(select(schema_revision.c.version_num))
    if kept is None and was is not None:  # a numbered version of before
        connection.execute(insert(schema_revision).values(version_num=was))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)
    steps = script._upgrade_revs if up else script._downgrade_revs
    with EnvironmentContext(
        config, script, fn=lambda at, _: steps(target, at), destination_rev=target
    ) as environment:
        environment.configure(
            connection=connection,
            target_metadata=metadata,
            version_table=schema_revision.name,
            transactional_ddl=True,
        )
        environment.run_migrations()
