"""Databases to copy between: how tests fill, read and name them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from metaport.migration.endpoint import Endpoint, read_endpoint

RICH = Path(__file__).with_name("rich.sql")


def endpoint(url: str) -> Endpoint:
    return read_endpoint(url, "")


async def run(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


async def value(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def dump(url: str) -> str:
    """Write a database as pg_dump does, without what differs from run to run."""
    parsed = make_url(url)
    done = subprocess.run(
        ["pg_dump", f"--host={parsed.query['host']}", f"--username={parsed.username}",
         "--exclude-schema=metaport_copy", str(parsed.database)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return "\n".join(
        line
        for line in done.stdout.splitlines()
        if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def metaport(data: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `metaport db …`."""
    return subprocess.Popen(
        [sys.executable, "-m", "metaport", "db", *arguments, "--lang", "en"],
        env={**os.environ, "METAPORT_DATA_DIR": str(data)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=data,
    )  # fmt: skip
