"""Fetches a signer's key set from a file or an address, and keeps the last good one on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from metaport.jwks import DOCUMENT_BYTES, JwksKeys, parse
from metaport.secret_files import write_secret

logger = logging.getLogger(__name__)

# How soon a key that was asked for is looked for, at the earliest.
LOOK_S = 0.25
FETCH_TIMEOUT_S = 5.0


class JwksReader:
    """Keeps a `JwksKeys` up to date.

    Args:
        source: a path, or an address (https, or http on loopback).
        cache: the last good set; it serves a start while the signer is away.
    """

    def __init__(self, source: str, keys: JwksKeys, cache: Path) -> None:
        self._source = source
        self._keys = keys
        self._cache = cache
        # The file's size and time when it was last read; None for an address.
        self._seen: tuple[int, int] | None = None
        self.failing: str | None = None

    async def start(self) -> None:
        """Read the set once, so that the first token need not wait; an absent signer is told."""
        try:
            self._keys.recall(parse(await asyncio.to_thread(self._cache.read_bytes)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            logger.warning("%s is not used: %s", self._cache, error)
        await self.fetch()

    async def run(self) -> None:
        """Fetch whenever it is due, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._keys.due(time.monotonic()) or self._changed():
                await self.fetch()

    async def fetch(self) -> None:
        """Fetch now; a failure is told once and leaves the keys at hand."""
        asked_at = time.monotonic()
        try:
            document = await self._read()
            keys = parse(document)
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
            self._keys.failed(time.monotonic())
            said = f"{self._source}: {error or type(error).__name__}"
            if self.failing is None:
                logger.error("no key set from %s", said)
            self.failing = said
            return
        self._keys.receive(keys, asked_at, time.monotonic())
        if not keys:
            logger.warning("the key set of %s has no key for EdDSA or RS256", self._source)
        if self.failing is not None:
            logger.info("the key set can be read again")
        self.failing = None
        try:
            await asyncio.to_thread(write_secret, self._cache, document.decode(), replace=True)
        except OSError as error:
            logger.warning("the key set is not kept for the next start: %s", error)

    def _changed(self) -> bool:
        """Say whether the file is another than the one last read."""
        if self._seen is None:
            return False
        try:
            return _stamp(Path(self._source)) != self._seen
        except OSError:
            return False

    async def _read(self) -> bytes:
        if urlsplit(self._source).scheme in ("http", "https"):
            return await self._get()
        path = Path(self._source)
        self._seen = _stamp(path)
        return await asyncio.to_thread(path.read_bytes)

    async def _get(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        # A redirect could lead to where nobody vouches for the keys.
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(self._source, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            document = await answer.content.read(DOCUMENT_BYTES + 1)
            while not answer.content.at_eof() and len(document) <= DOCUMENT_BYTES:
                document += await answer.content.read(DOCUMENT_BYTES + 1 - len(document))
            return document


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
