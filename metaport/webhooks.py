"""Webhooks: events posted to the platform's backend, signed, retried, never told twice on purpose.

1. Whoever has something to tell puts an `Event` whose id says what it is: put again, it is there
   once (`db.webhooks.SqlWebhooks.put`).
2. `Sender.send_due` claims what is due, for one lease, and posts it.
3. What is answered 2xx is delivered. Anything else is tried again, later each time, and after the
   last attempt it is dead: listed, and replayed on request.

Headers and signature are those of Standard Webhooks: `webhook-id`, `webhook-timestamp` and
`webhook-signature`, `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. A receiver
checks the signature, refuses old timestamps, and keeps ids it has seen: a crash between an answer
and its being written down tells an event again under the same id.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from metaport.db.errors import DatabaseError
from metaport.db.webhooks import DEAD, DELIVERED, PENDING, Due, Endpoint, SqlWebhooks

logger = logging.getLogger(__name__)

# Seconds after each failure; about a day in all, as long as a weekend night without an operator.
RETRIES_S = (5, 30, 120, 600, 3_600, 14_400, 43_200)
TIMEOUT_S = 10
# Longer than an attempt may take: whoever claimed and died gives it back so late.
LEASE_S = 60
AT_ONCE = 20
POLL_S = 1.0
LONGEST_RETRY_S = 30.0
# After a rotation the former secret signs too, so that a receiver can change at its own time.
BOTH_S = 86_400
KEPT_S = 30 * 86_400
ERROR_CHARS = 200


class Secrets:
    """The secrets of endpoints, derived from one key of this installation; none is stored."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of(self, endpoint_id: str, version: int) -> str:
        """Return the secret that signs for an endpoint, as its receiver enters it."""
        message = f"webhook\0{endpoint_id}\0{version}".encode()
        derived = hmac.new(self._key, message, hashlib.sha256).digest()
        return "whsec_" + base64.b64encode(derived).decode()

    def signing(self, endpoint: Endpoint, now: float) -> list[str]:
        """Return the secrets in force: the present one, and for a day the one before."""
        versions = [endpoint.secret_version]
        if endpoint.secret_version > 1 and now < endpoint.rotated_at_s + BOTH_S:
            versions.append(endpoint.secret_version - 1)
        return [self.of(endpoint.id, version) for version in versions]


def sign(secret: str, event_id: str, at_s: int, body: bytes) -> str:
    """Return the `v1` signature of a body under a secret as `Secrets.of` writes it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{event_id}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def fault_of(url: str) -> str | None:
    """Say why `url` cannot be posted to, None when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is to be http:// or https:// with a host"
    if parts.username or parts.fragment or len(url) > 2_000 or not url.isprintable():
        return "has a user, a fragment, or is too long"
    return None


class Sender:
    """Posts what is due. Several may run; a delivery is claimed by one at a time."""

    def __init__(
        self,
        store: SqlWebhooks,
        secrets: Secrets,
        clock: Callable[[], float],
        wait_s: float = POLL_S,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._wait_s = wait_s
        self.failing: str | None = None
        # Set while it fails.
        self.failed = asyncio.Event()
        self.delivered = 0
        self.dead = 0

    async def run(self) -> None:
        """Send until cancelled. A post that is cut off is made again when its lease is over."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        wait_s, forget_at = self._wait_s, 0.0
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                try:
                    while await self.send_due(session):
                        pass
                    if self._clock() >= forget_at:
                        await self._store.forget(self._clock() - KEPT_S)
                        forget_at = self._clock() + 3_600
                    wait_s, self.failing = self._wait_s, None
                    self.failed.clear()
                except DatabaseError as error:
                    wait_s = min(wait_s * 2, LONGEST_RETRY_S)
                    if self.failing is None:
                        logger.error("webhooks wait: %s", error)
                    self.failing = str(error)
                    self.failed.set()
                await asyncio.sleep(wait_s)

    async def send_due(self, session: aiohttp.ClientSession) -> int:
        """Post what is due now, a few at once; return how many were tried."""
        due = await self._store.claim(self._clock(), AT_ONCE, LEASE_S)
        await asyncio.gather(*(self._send(session, each) for each in due))
        return len(due)

    async def _send(self, session: aiohttp.ClientSession, due: Due) -> None:
        now = self._clock()
        body, at_s = due.body.encode(), int(now)
        secrets = self._secrets.signing(due.endpoint, now)
        headers = {
            "content-type": "application/json",
            "user-agent": "metaport-webhooks",
            "webhook-id": due.event_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": " ".join(sign(each, due.event_id, at_s, body) for each in secrets),
        }
        status, error = None, None
        try:
            async with session.post(
                due.endpoint.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
            error = (str(failure) or type(failure).__name__)[:ERROR_CHARS]
        await self._settle(due, status, error)

    async def _settle(self, due: Due, status: int | None, error: str | None) -> None:
        now = int(self._clock())
        if status is not None and 200 <= status < 300:
            self.delivered += 1
            await self._store.settle(due, DELIVERED, next_at_s=now, status=status)
            return
        # 410: the receiver says that it is gone for good.
        if due.attempts >= len(RETRIES_S) or status == 410:
            self.dead += 1
            logger.error("webhook %s to %s is given up", due.event_id, due.endpoint.id)
            await self._store.settle(due, DEAD, next_at_s=now, status=status, error=error)
            return
        next_at_s = now + RETRIES_S[due.attempts]
        await self._store.settle(due, PENDING, next_at_s=next_at_s, status=status, error=error)
