"""`make bench-api`: REST beside a bare aiohttp handler on a bare asyncpg pool, by wrk.

The server under test has the first core; PostgreSQL and wrk share the second. Each figure is
measured in turn for both, so that a busy machine is as busy for the one as for the other. At half
of its own rate, the latency is measured again: `delay()` of wrk spaces the requests. Where the
system allows it, all of them go first on their cores (`loadtest.precedence`).
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import uvloop
from aiohttp import ClientSession, web

from loadtest import precedence
from loadtest.launch import free_port
from metaport.db.engine import open_engine
from metaport.tokens import Tokens
from tests.bench.postgres import PostgresServer

SECRET = "0123456789abcdef0123456789abcdef"
CONNECTIONS, SECONDS = 32, 4
ROOMS = 1_000
READ_SHARE, WRITE_SHARE, P99_MS = 0.5, 0.35, 30.0

LUA = """
local path, method, pause, count = "%(path)s", "%(method)s", %(pause)d, 0
wrk.headers["Authorization"] = "Bearer %(token)s"
wrk.headers["Content-Type"] = "application/json"
function request()
  count = count + 1
  if method == "GET" then return wrk.format("GET", path .. "/bench-" .. (count %% %(rooms)d)) end
  return wrk.format("POST", path, nil, '{"room":"%(run)s-' .. count .. '"}')
end
if pause > 0 then function delay() return pause end end
"""


class Measured(NamedTuple):
    """What wrk saw: requests a second, the 99th percentile in ms, answers that were no 2xx.

    `cpu_us` is the CPU time of the server for each: it bears a busy machine better.
    """

    per_s: float
    p99_ms: float
    refused: int
    answers: int
    cpu_us: float = 0.0


class Server(NamedTuple):
    """A server that is measured."""

    port: int
    pid: int
    postgres: PostgresServer

    def cpu_s(self) -> float:
        """Return the CPU time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare(port: int, url: str) -> None:
    """Serve rooms by hand: one statement a request on a pool, no checks."""

    async def read(request: web.Request) -> web.Response:
        row = await request.app["pool"].fetchrow(
            "SELECT room, kind, persistent, capacity, users, guests, subscribed"
            " FROM room_settings WHERE room = $1",
            request.match_info["room"],
        )
        return web.Response(body=json.dumps(dict(row)).encode(), content_type="application/json")

    async def write(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        await request.app["pool"].execute(
            "INSERT INTO bare_room (room, kind, persistent, users, guests, subscribed, removed,"
            " changed_by, changed_at_s)"
            " VALUES ($1, 'public', true, '[]', true, false, false, 'bench', 0)",
            body["room"],
        )
        return web.Response(status=201, body=b"{}", content_type="application/json")

    async def start(app: web.Application) -> None:
        app["pool"] = await asyncpg.create_pool(url, min_size=10, max_size=10)

    app = web.Application()
    app.on_startup.append(start)
    app.add_routes([web.get("/api/v1/rooms/{room}", read), web.post("/api/v1/rooms", write)])
    web.run_app(
        app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop()
    )


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let what is started meanwhile have one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ask(server: Server, method: str, seconds: float, pause_ms: int = 0) -> Measured:
    """Let wrk ask for a while."""
    token = Tokens(SECRET).mint("bench", roles=["admin"], ttl_s=3_600)
    script = LUA % {
        "path": "/api/v1/rooms", "method": method, "token": token, "pause": pause_ms,
        "rooms": ROOMS, "run": secrets.token_hex(4),
    }  # fmt: skip
    for pid in server.postgres.pids():
        precedence.share(pid)  # each connection has a process and a session of its own
    before_s = server.cpu_s()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file, on_core(1):
        file.write(script)
        file.flush()
        done = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s",
             "--timeout", "10s", "--latency", "-s", file.name,
             f"http://127.0.0.1:{server.port}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    measured = read_wrk(done.stdout)
    spent_s = server.cpu_s() - before_s
    return measured._replace(cpu_us=spent_s * 1e6 / max(1, measured.answers))


def read_wrk(printed: str) -> Measured:
    """Read the figures wrk prints. Raises `ValueError` where they are not there."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)\s", printed)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    if rate is None or tail is None:
        raise ValueError(printed)
    ms = float(tail[1]) * {"us": 0.001, "ms": 1.0, "s": 1_000.0}[tail[2]]
    answers = re.search(r"(\d+) requests in", printed)
    return Measured(
        float(rate[1]), ms, int(refused[1]) if refused else 0, int(answers[1]) if answers else 0
    )


@contextmanager
def serving(
    port: int, postgres: PostgresServer, folder: Path, *, by_hand: bool
) -> Iterator[Server]:
    """Run one of the two servers on the first core."""
    environment = os.environ | {
        "METAPORT_HTTP_PORT": str(port),
        "METAPORT_DATA_DIR": str(folder),
        "METAPORT_DATABASE_URL": postgres.url,
        "METAPORT_TOKEN_SECRET": SECRET,
        "METAPORT_PROFILE": "bench",
    }
    words = ["-m", "tests.bench.api", "--bare", str(port), postgres.url]
    ours = ["-m", "metaport", "hub"]
    with on_core(0), (folder / f"{port}.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, *(words if by_hand else ours)],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        asyncio.run(answering(port, server))
        yield Server(port, server.pid, postgres)
    finally:
        server.terminate()
        server.wait(30)


async def answering(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers at all. Raises `RuntimeError` when it has ended."""
    async with ClientSession() as session:
        while True:
            if server.poll() is not None:
                raise RuntimeError(f"the server has ended with {server.returncode}")
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz"):
                    return
            except OSError:
                await asyncio.sleep(0.1)


async def fill(url: str) -> None:
    """Make the schema, and lay something down about the rooms that are read."""
    await (await open_engine(url)).dispose()
    connection = await asyncpg.connect(url)
    await connection.executemany(
        "INSERT INTO room_settings (room, kind, persistent, users, guests, subscribed, removed,"
        " revision, changed_by, changed_at_s)"
        " VALUES ($1, 'public', true, '[]', true, false, false, $2, 'bench', 0)",
        [(f"bench-{number}", number + 1) for number in range(ROOMS)],
    )
    # Without the order of changes that hubs follow: as little as a write can be.
    await connection.execute("CREATE TABLE bare_room AS SELECT * FROM room_settings WHERE false")
    await connection.execute("ALTER TABLE bare_room ADD PRIMARY KEY (room)")
    await connection.close()


def race(repeats: int) -> bool:
    """Measure both in turn, print a table; say whether the targets are met."""
    with precedence.taken(), tempfile.TemporaryDirectory(dir="/tmp") as named:
        folder = Path(named)
        with on_core(1):
            postgres = PostgresServer()
        try:
            asyncio.run(fill(postgres.url))
            port, other = free_port(), free_port()
            with (
                serving(port, postgres, folder, by_hand=False) as ours,
                serving(other, postgres, folder, by_hand=True) as bare_one,
            ):
                met = [
                    compare("GET", ours, bare_one, repeats, READ_SHARE),
                    compare("POST", ours, bare_one, repeats, WRITE_SHARE),
                ]
                return all(met)
        finally:
            postgres.remove()


def compare(method: str, mine: Server, other: Server, repeats: int, share: float) -> bool:
    """Race one kind of request, and ask ours again at half of its rate."""
    for warm in (mine, other):
        ask(warm, method, 1)
    ours, bares = [], []
    for _ in range(repeats):
        bares.append(ask(other, method, SECONDS))
        ours.append(ask(mine, method, SECONDS))
    rate, by_hand = (statistics.median(each.per_s for each in runs) for runs in (ours, bares))
    # wrk pauses between an answer and the next request.
    pause_ms = round(CONNECTIONS / (rate / 2) * 1_000)
    half = ask(mine, method, SECONDS, pause_ms)
    ratios = sorted(one.per_s / its.per_s for one, its in zip(ours, bares, strict=True))
    refused = sum(each.refused for each in (*ours, *bares, half))
    print(
        f"{method:5} ours {rate:8,.0f}/s  bare {by_hand:8,.0f}/s  "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}), asked {share}; "
        f"CPU {statistics.median(each.cpu_us for each in ours):.0f} and "
        f"{statistics.median(each.cpu_us for each in bares):.0f} us; "
        f"at {half.per_s:,.0f}/s p99 {half.p99_ms:.1f} ms, asked {P99_MS:.0f}; "
        f"refused {refused}; load {os.getloadavg()[0]:.1f}, {precedence.told()}",
        flush=True,
    )
    return statistics.median(ratios) >= share and half.p99_ms <= P99_MS and refused == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bare", nargs=2, metavar=("PORT", "URL"))
    arguments = parser.parse_args()
    if arguments.bare:
        bare(int(arguments.bare[0]), arguments.bare[1])
    else:
        sys.exit(0 if race(arguments.repeats) else 1)
