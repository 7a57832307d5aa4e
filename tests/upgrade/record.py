"""Records what a released version leaves behind and says: `python -m tests.upgrade.record DIR`.

Run it with that version's package on the path. It starts the server, holds the conversation of
`conversation.json`, kills the hub and keeps its log, its SQLite database and every frame heard.
Its answers become a directory beside this file, which `test_upgrade.py` then finds.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import websockets

HERE = Path(__file__).parent
SECRET = "recorded for tests, holds nowhere else"
CONVERSATION = json.loads((HERE / "conversation.json").read_text("utf-8"))


class Person:
    """One connection that keeps every frame it hears."""

    def __init__(self, socket: Any, packed: bool) -> None:
        self._socket = socket
        self._packed = packed
        self.heard: list[dict[str, Any]] = []

    async def say(self, frame: dict[str, Any]) -> None:
        await self._socket.send(msgpack.packb(frame) if self._packed else json.dumps(frame))

    async def hear(self) -> None:
        """Take what has come until nothing does for a moment: the server has settled by then."""
        while True:
            try:
                raw = await asyncio.wait_for(self._socket.recv(), 0.3)
            except (TimeoutError, websockets.ConnectionClosed):
                return
            self.heard.append(msgpack.unpackb(raw) if self._packed else json.loads(raw))


async def converse(port: int, mint: Any, packed: bool) -> list[dict[str, Any]]:
    """Hold the conversation; return its steps, each with what everybody heard after it."""
    name = "msgpack" if packed else "json"
    people: dict[str, Person] = {}
    steps = []
    for step in CONVERSATION:
        who, frame = step["who"], dict(step["say"])
        if who not in people:
            people[who] = Person(
                await websockets.connect(
                    f"ws://127.0.0.1:{port}/ws", subprotocols=[f"metaport.v1.{name}"]
                ),
                packed,
            )
        if "token" in frame and frame["token"].startswith("of "):
            frame["token"] = mint(frame["token"].removeprefix("of "))
        if "room" in frame:
            frame["room"] = f"{frame['room']}/{name}"
        await people[who].say(frame)
        for person in people.values():
            await person.hear()
        heard = {each: person.heard for each, person in people.items() if person.heard}
        steps.append(step | {"heard": heard})
        for person in people.values():
            person.heard = []
    return steps


def main(target: Path) -> None:
    """Record into `target`."""
    from metaport import __version__
    from metaport.tokens import Tokens

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = Path(tempfile.mkdtemp())
    environ = os.environ | {
        "METAPORT_HTTP_PORT": str(port),
        "METAPORT_DATA_DIR": str(data),
        "METAPORT_TOKEN_SECRET": SECRET,
        "METAPORT_LOG_SEGMENT_BYTES": "65536",
    }
    hub = os.spawnve(
        os.P_NOWAIT, sys.executable, [sys.executable, "-m", "metaport", "hub"], environ
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
            break
        except OSError:
            time.sleep(0.1)
    tokens = Tokens(SECRET)
    try:
        spoken = {
            "json": asyncio.run(converse(port, lambda user: tokens.mint(user, ttl_s=3600), False)),
            "msgpack": asyncio.run(
                converse(port, lambda user: tokens.mint(user, ttl_s=3600), True)
            ),
        }
        time.sleep(3)  # the shipper and the history writer have their turn
    finally:
        os.kill(hub, signal.SIGKILL)
        os.waitpid(hub, 0)
    target.mkdir(parents=True)
    shutil.copytree(data / "log" / "hub", target / "log" / "hub")
    (target / "log" / "hub" / ".lock").unlink(missing_ok=True)
    with closing(sqlite3.connect(data / "metaport.db")) as database:
        (target / "metaport.sql").write_text("\n".join(database.iterdump()) + "\n", "utf-8")
    (target / "frames.json").write_text(
        json.dumps({"version": __version__, "at": int(time.time()), "spoken": spoken},
                   ensure_ascii=False, indent=1) + "\n", "utf-8")  # fmt: skip
    shutil.rmtree(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
