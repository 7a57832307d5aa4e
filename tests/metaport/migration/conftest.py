"""Pairs of databases; the server is that of `tests.metaport`."""

import pytest


@pytest.fixture
def target_url(postgres_server: object) -> str:
    """Return the URL of a second empty PostgreSQL database."""
    made: str = postgres_server.new_database()  # type: ignore[attr-defined]
    return made
