"""Connections to PostgreSQL, and its way of quoting."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from metaport.db.engine import first_line
from metaport.migration.endpoint import Endpoint
from metaport.migration.errors import Interrupted, MigrationError, Unreachable

# So that the same value is the same text on every server, and names are always written in full.
SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    "check_function_bodies": "off",
    "jit": "off",
}
# An index over five million rows sorts in memory with this much; the default spills to disk.
INDEXING = {"maintenance_work_mem": "256MB"}

# The server went away, or ends this connection: class 57P, class 08, or nothing sensible at all.
GONE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
)


async def open_postgres(endpoint: Endpoint, **settings: str) -> Any:
    """Connect with settings under which values read the same everywhere. Raises Unreachable."""
    try:
        return await asyncpg.connect(
            endpoint.dsn,
            server_settings={**SETTINGS, **settings, "application_name": "metaport db"},
            timeout=20,
        )
    except (*GONE, asyncpg.PostgresError, ValueError) as error:
        raise Unreachable(
            f"데이터베이스에 연결할 수 없습니다: {endpoint.shown}: {first_line(error)}",
            f"no connection to {endpoint.shown}: {first_line(error)}",
        ) from error


@asynccontextmanager
async def talking_to(endpoint: Endpoint) -> AsyncIterator[None]:
    """Turn what PostgreSQL says within into a sentence that names the database.

    Raises Interrupted where it went away, MigrationError where it refuses.
    """
    try:
        yield
    except GONE as error:
        raise lost(endpoint, error) from error
    except asyncpg.PostgresError as error:
        raise MigrationError(
            f"{endpoint.shown}: {first_line(error)}", f"{endpoint.shown}: {first_line(error)}"
        ) from error


def lost(endpoint: Endpoint, error: BaseException) -> Interrupted:
    """Say that a database went away; what asyncpg says of its own state helps nobody."""
    why = "" if isinstance(error, asyncpg.InterfaceError) else f": {first_line(error)}"
    return Interrupted(
        f"데이터베이스와 연결이 끊겼습니다: {endpoint.shown}{why}",
        f"the connection to {endpoint.shown} is lost{why}",
    )


def quoted(*names: str) -> str:
    """Quote a name, or a list of them."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


def qualified(schema: str, name: str) -> str:
    """Quote a table's full name."""
    return f"{quoted(schema)}.{quoted(name)}"


def literal(text: str, type_name: str) -> str:
    """Write a value as SQL; `type_name` as `format_type` writes it."""
    return f"{string(text)}::{type_name}"


def string(text: str) -> str:
    """Write a string as SQL."""
    return "'" + text.replace("'", "''") + "'"


def row_of(expressions: Sequence[str]) -> str:
    """Write several expressions as one row, one as itself."""
    return expressions[0] if len(expressions) == 1 else f"({', '.join(expressions)})"
