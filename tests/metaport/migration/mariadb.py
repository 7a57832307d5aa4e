"""A private MariaDB server, reachable only through a socket in its own directory."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pymysql

ACCOUNT = "mysql"
START_S = 60


class MariadbServer:
    """A throw-away server; its data needs no sync."""

    def __init__(self) -> None:
        # The path of a socket has at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="metaport-my-", dir="/tmp"))
        self.socket = self._directory / "s"
        self._user = ACCOUNT if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self._directory, ACCOUNT)
        data = f"--datadir={self._directory / 'data'}"
        subprocess.run(
            [_program("mariadb-install-db"), "--no-defaults", data, f"--user={self._user}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._process = subprocess.Popen(
            [_program("mariadbd"), "--no-defaults", data, f"--user={self._user}",
             f"--socket={self.socket}", "--skip-networking", f"--pid-file={self._directory}/pid",
             "--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._numbers = itertools.count(1)
        deadline = time.monotonic() + START_S
        # It makes its socket when it is ready.
        while not self.socket.exists():
            assert time.monotonic() < deadline, "MariaDB does not answer"
            assert self._process.poll() is None, "MariaDB has ended"
            time.sleep(0.02)

    def run(self, database: str, *statements: str) -> None:
        """Run statements in a database."""
        connection = pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database or None,
            charset="utf8mb4", autocommit=True,
        )  # fmt: skip
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.run("", f"CREATE DATABASE {name}")
        return name

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"mysql://root@localhost/{database}?unix_socket={self.socket}"

    def close(self) -> None:
        """Kill the server and delete everything."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory)


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/opt/homebrew/bin")
    assert found is not None, f"MariaDB is missing: {name} was not found"
    return found
