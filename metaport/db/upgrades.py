"""From one version of the schema to the next, keeping what is there.

A step runs once, inside the transaction that records the new version: a crash leaves the old
schema whole. Whoever changes a table that a step creates writes its form of then into that step.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from metaport.db.schema import VERSION, history_checkpoint, message, metadata, room_epoch


def _add_history(connection: Connection) -> None:
    metadata.create_all(connection, tables=[room_epoch, message, history_checkpoint])


# By the version that a step leads to.
STEPS: Mapping[int, Callable[[Connection], None]] = {2: _add_history}


def upgrade(connection: Connection, found: int) -> None:
    """Bring the schema from version `found` to the present one."""
    for version in range(found + 1, VERSION + 1):
        STEPS[version](connection)
