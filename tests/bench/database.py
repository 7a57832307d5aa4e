"""`make bench-db`: what copying and verifying cost beside `pg_dump | pg_restore`, in one run.

- copy      `metaport db copy`, jobs at a time, into an empty database, keys and indexes included
- peer      `pg_dump -Fc -Z0 | pg_restore` of the same rows into another empty one
- verify    both databases, all equal; peak memory of the process beside it
- changed   the same with 3 rows changed among all
"""

import argparse
import asyncio
import io
import json
import resource
import shlex
import subprocess
import time
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from metaport.migration.copying import Order, copy
from metaport.migration.endpoint import Endpoint, read_endpoint
from metaport.migration.progress import Progress
from metaport.migration.rejects import RejectFile
from metaport.migration.verification import verify
from tests.bench.postgres import PostgresServer

FILL = """
CREATE TABLE message (room text NOT NULL, id bigint PRIMARY KEY, user_id text NOT NULL,
  at timestamptz NOT NULL, size int NOT NULL, body text NOT NULL);
INSERT INTO message SELECT 'plaza/' || g % 1000, g, 'user-' || g % 5000,
  '2026-01-01'::timestamptz + g * interval '1 s', g % 300, '안녕 hello ' || g
  FROM generate_series(1, {rows}) g;
CREATE INDEX message_by_room ON message (room, id);
VACUUM ANALYZE message;
"""
CHANGE = "UPDATE message SET body = body || '!' WHERE id IN (7, {rows} / 2, {rows} - 3)"


async def _run(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in filter(str.strip, script.split(";\n")):
            await connection.execute(statement)
    finally:
        await connection.close()


def _endpoint(server: PostgresServer, name: str) -> Endpoint:
    url = make_url(server.url).set(database=name)
    return read_endpoint(url.render_as_string(hide_password=False), "")


async def measure(rows: int, jobs: int) -> dict[str, float]:
    """Fill, copy, copy by the peer, verify, change, verify; return seconds and KiB."""
    server = PostgresServer()
    figures: dict[str, float] = {"rows": rows, "jobs": jobs}
    try:
        for name in ("bench_source", "bench_copy", "bench_peer"):
            await _run(server.url, f"CREATE DATABASE {name}")
        source, target, peer = (
            _endpoint(server, name) for name in ("bench_source", "bench_copy", "bench_peer")
        )
        await _run(source.dsn, FILL.format(rows=rows))
        order = Order(source, target, jobs=jobs)
        began = time.monotonic()
        _pipe(source, peer)
        figures["peer_s"] = time.monotonic() - began
        began = time.monotonic()
        await copy(order, Progress("en", io.StringIO()), RejectFile(Path("/dev/null")))
        figures["copy_s"] = time.monotonic() - began
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = await verify(order, Progress("en", io.StringIO()))
        figures["verify_s"] = found.seconds
        assert found.passed, found.schema
        figures["verify_grew_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        await _run(target.dsn, CHANGE.format(rows=rows))
        found = await verify(order, Progress("en", io.StringIO()))
        assert [one.differing for one in found.tables] == [3], found
        figures["changed_s"] = found.seconds
    finally:
        server.remove()
    return figures


def _pipe(source: Endpoint, peer: Endpoint) -> None:
    def at(endpoint: Endpoint) -> str:
        return shlex.quote(endpoint.dsn)

    subprocess.run(
        f"pg_dump -Fc -Z0 -d {at(source)} | pg_restore -d {at(peer)}", shell=True, check=True
    )


def main() -> None:
    """Run once and print the figures with the ratios that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.rows, arguments.jobs))
    figures = {name: round(value, 2) for name, value in figures.items()}
    figures["copy_of_peer"] = round(figures["peer_s"] / figures["copy_s"], 2)
    figures["verify_of_copy"] = round(figures["verify_s"] / figures["copy_s"], 2)
    figures["changed_of_verify"] = round(figures["changed_s"] / figures["verify_s"], 2)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
