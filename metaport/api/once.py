"""Work done once under a key: claimed, done, its answer kept and told again.

See `metaport.api.idempotency` for the order, and what a crash after each step costs.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from metaport.api.problems import Problem, away_as
from metaport.db.errors import DatabaseError
from metaport.db.idempotency import Kept, Request, SqlIdempotency

logger = logging.getLogger(__name__)

_KEPT_HEADERS = ("Content-Type", "ETag", "Location")
NONCE_BYTES = 12
FORGET_EVERY_S = 3_600.0


class Answer(msgspec.Struct, array_like=True):
    """An answer as it is kept."""

    headers: dict[str, str]
    body: bytes


class Seal:
    """Encrypts kept answers (AES-256-GCM) with a key of this installation."""

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(hashlib.sha256(b"idempotency\0" + key.encode()).digest())

    def close(self, request: Request, answer: Answer) -> bytes:
        """Seal an answer; it opens for the same request only."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(answer), _bound(request))

    def open(self, request: Request, sealed: bytes) -> Answer | None:
        """Return a sealed answer; None where it was sealed with another key."""
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            packed = self._cipher.decrypt(nonce, rest, _bound(request))
        except InvalidTag:
            return None
        return msgspec.msgpack.decode(packed, type=Answer)


def _bound(request: Request) -> bytes:
    return "\0".join((request.caller, request.key_hash, request.request_hash)).encode()


class Once:
    """Requests under a key, over a store."""

    def __init__(self, store: SqlIdempotency, key: str, clock: Callable[[], float]) -> None:
        self._store, self._seal, self._clock = store, Seal(key), clock

    async def do(
        self, request: Request, work: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Do work once under its key, or tell its answer again.

        Raises:
            Problem: `idempotency-key-reused`, `idempotency-in-progress`, `idempotency-away`.
        """
        with away_as("idempotency-away"):
            kept = await self._store.claim(request, self._clock())
        if kept is not None:
            return self._again(request, kept)
        try:
            response = await work()
        except BaseException:
            await self._release(request)
            raise
        if isinstance(response, web.Response) and response.status < 400:
            await self._keep(request, response)
        else:
            await self._release(request)
        return response

    def _again(self, request: Request, kept: Kept) -> web.Response:
        if kept.request_hash != request.request_hash:
            raise Problem("idempotency-key-reused")
        if kept.status is None or kept.answer is None:
            raise Problem("idempotency-in-progress", retry_after_s=1)
        answer = self._seal.open(request, kept.answer)
        if answer is None:
            raise Problem("idempotency-in-progress", "sealed with another key", retry_after_s=60)
        headers = answer.headers | {"Idempotency-Replayed": "true"}
        return web.Response(status=kept.status, headers=headers, body=answer.body)

    async def _keep(self, request: Request, response: web.Response) -> None:
        headers = {
            name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers
        }
        body = response.body
        answer = Answer(headers, body if isinstance(body, bytes) else b"")
        try:
            await self._store.keep(request, response.status, self._seal.close(request, answer))
        except DatabaseError as error:
            # It was done: that is told, and a repeat is held off for the length of a claim.
            logger.warning("an answer under an idempotency key is not kept: %s", error)

    async def _release(self, request: Request) -> None:
        try:
            await self._store.release(request)
        except DatabaseError as error:
            logger.warning("an idempotency key is free again in a minute only: %s", error)


async def forget_answers(store: SqlIdempotency, clock: Callable[[], float]) -> None:
    """Delete answers a day old each hour, until cancelled."""
    while True:
        try:
            await store.forget(clock())
        except DatabaseError as error:
            logger.warning("old answers are deleted later: %s", error)
        await asyncio.sleep(FORGET_EVERY_S)
