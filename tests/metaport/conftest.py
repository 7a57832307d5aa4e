"""A private PostgreSQL server: started once for the session, a fresh database for each test."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

OWNER = "postgres"


class PostgresServer:
    """A throw-away cluster, reachable only through a Unix socket in its own directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._data = directory / "data"
        self._numbers = itertools.count(1)
        # The server refuses to run as root; then it runs as the account its package created.
        self._user = OWNER if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(directory, self._user)
        self._run(
            "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
            f"--username={OWNER}", f"--pgdata={self._data}",
        )  # fmt: skip

    def start(self) -> None:
        """Start and wait until it answers."""
        # Data that is thrown away needs no fsync.
        options = f"-c listen_addresses= -k {self.directory} -F"
        self._run(
            "pg_ctl", "start", "--wait", "--silent", f"--pgdata={self._data}",
            f"--log={self.directory / 'log'}", f"--options={options}",
        )  # fmt: skip

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        self._run(
            "pg_ctl", "stop", "--wait", "--silent", "--mode=immediate", f"--pgdata={self._data}"
        )

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self._run("createdb", f"--host={self.directory}", f"--username={OWNER}", name)
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://{OWNER}@/{database}?host={self.directory}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), *arguments],
            cwd=self.directory,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"{program}: {done.stderr}", pytrace=False)


def _program(name: str) -> str:
    """Find a program of PostgreSQL: newest version first where several are installed."""
    places = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/opt/homebrew/opt").glob("postgresql@*/bin"),
        *Path("/usr/local/opt").glob("postgresql@*/bin"),
    ]
    places.sort(key=lambda place: [int(n) for n in place.parent.name.split("@")[-1].split(".")])
    found = [place / name for place in reversed(places) if (place / name).exists()]
    program = str(found[0]) if found else shutil.which(name)
    if program is None:
        pytest.fail(f"PostgreSQL is missing: {name} was not found", pytrace=False)
    return program


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server for the session; fails by name where it is not installed."""
    # Not under pytest's own directories: the path of a socket has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="metaport-pg-", dir="/tmp"))
    try:
        server = PostgresServer(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """Return the URL of an empty PostgreSQL database."""
    return postgres_server.new_database()
