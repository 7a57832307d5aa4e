"""A PostgreSQL server of one's own: as a server is, with fsync, on a socket in its directory."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

OWNER = "postgres"


class PostgresServer:
    """A fresh server, started; it may be stopped, as a crash would, and started again."""

    def __init__(self) -> None:
        # The path of a socket has at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="metaport-pg-", dir="/tmp"))
        self._user = OWNER if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._directory, self._user)
        self._data = f"--pgdata={self._directory / 'data'}"
        self._run("initdb", "--auth=trust", "--encoding=UTF8", f"--username={OWNER}", self._data)
        self.url = f"postgresql://{OWNER}@/postgres?host={self._directory}"
        self.running = False
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        options = f"-c listen_addresses= -k {self._directory} -c shared_buffers=512MB"
        log = f"--log={self._directory / 'log'}"
        self._run("pg_ctl", "start", "--wait", "--silent", self._data, log, f"--options={options}")
        self.running = True

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        self.running = False
        self._run("pg_ctl", "stop", "--wait", "--silent", "--mode=immediate", self._data)

    def remove(self) -> None:
        """Stop, and delete everything."""
        if self.running:
            self.stop()
        shutil.rmtree(self._directory)

    def pids(self) -> list[int]:
        """Return the processes of the server: its own and one for each connection."""
        own = int((self._directory / "data" / "postmaster.pid").read_text("utf-8").split()[0])
        children = Path(f"/proc/{own}/task/{own}/children").read_text("ascii")
        return [own, *map(int, children.split())]

    def _run(self, program: str, *arguments: str) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        subprocess.run(
            [str(found[-1]) if found else program, *arguments],
            cwd=self._directory, user=self._user, group=self._user, check=True,
            extra_groups=None if self._user is None else [], stdout=subprocess.DEVNULL,
        )  # fmt: skip
