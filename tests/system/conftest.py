"""A running server and a browser; what the server printed is shown with a failed test."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from loadtest.launch import Server, running
from tests.system.browser import launched


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder with a short path: a Unix socket inside has room for 103 bytes."""
    path = Path(tempfile.mkdtemp(prefix="metaport-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    """Run the whole product on embedded defaults, rate limits included."""
    async with running(folder / "data") as server:
        yield server
    print(server.output)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Run the system's Chromium."""
    async with launched() as browser:
        yield browser
