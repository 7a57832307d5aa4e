"""One server, asked by one person."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from metaport.client.problem import ServerProblem, Unreachable, problem_of
from metaport.language import Lang

TIMEOUT_S = 15.0
TRIES = 4
# Without a word of the server: a hub that was killed is back within a second or two.
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 10.0

Answer = TypeVar("Answer")


def path_of(template: str, **names: str) -> str:
    """Fill names into a path, each one segment whatever is in it."""
    return template.format(**{key: quote(name, safe="") for key, name in names.items()})


class Server:
    """Asks the API at `url` with a bearer token; an asynchronous context.

    `authority` is the file of a certificate authority besides those known; `sleep` waits between
    tries.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        lang: Lang = "en",
        tries: int = TRIES,
        authority: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Language": lang}
        self._authority = authority
        self._tries = tries
        self._sleep = sleep
        # None outside of the context.
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Server":
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        context = ssl.create_default_context()
        if self._authority is not None:
            context.load_verify_locations(self._authority)
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=timeout,
            connector=aiohttp.TCPConnector(ssl=context),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        answer: type[Answer],
        query: Mapping[str, str | int] | None = None,
        key: str | None = None,
    ) -> Answer:
        """Ask, and return the answer as the server documents it; `type(None)` for none.

        A POST carries `key`, or one made here, so that repeating it makes nothing twice.

        Raises:
            ServerProblem: it refused.
            Unreachable: no answer, after some tries where it may be asked again.
        """
        headers = {}
        if method == "POST":
            headers["Idempotency-Key"] = key or secrets.token_hex(16)
        status, told = await self._ask(method, path, body, dict(query or {}), headers)
        if status == 204 or answer is type(None):
            return msgspec.convert(None, answer)
        try:
            return msgspec.json.decode(told, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(self.url, f"not an answer of this API: {error}") from None

    async def pages(
        self, path: str, *, answer: type[Any], items: str, after: str = "after", **query: str | int
    ) -> AsyncIterator[Any]:
        """Yield everything of a list, page by page; `after` is the parameter of the next page."""
        while True:
            page = await self.ask("GET", path, answer=answer, query=query)
            for item in getattr(page, items):
                yield item
            if page.next is None:
                return
            query = {**query, after: page.next}

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """Yield an answer piece by piece, however long it is; asked once.

        Raises:
            ServerProblem: it refused.
            Unreachable: no answer, or one that ended too early.
        """
        assert self._session is not None, "used outside of its context"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
        url = URL(f"{self.url}{path}", encoded=True)
        try:
            async with self._session.get(url, timeout=timeout) as response:
                if response.status >= 400:
                    raise _refusal(self.url, response.status, await response.read())
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from None

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        query: dict[str, str | int],
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        url = URL(f"{self.url}{path}", encoded=True).update_query(query)
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        wait_s = FIRST_WAIT_S
        for left in range(self._tries - 1, -1, -1):
            try:
                return await self._once(method, url, data, headers)
            except Unreachable:
                # Whether it was done is not known: a change is for the caller to look at.
                if not left or method in ("PATCH", "DELETE"):
                    raise
            except ServerProblem as problem:
                told_s = problem.retry_after_s
                if not left or problem.status not in (429, 503) or told_s is None:
                    raise
                if told_s > LONGEST_WAIT_S:
                    raise
                wait_s = max(wait_s, told_s)
            await self._sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, method: str, url: URL, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        assert self._session is not None, "used outside of its context"
        try:
            async with self._session.request(method, url, data=data, headers=headers) as response:
                told = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from None
        if response.status < 400:
            return response.status, told
        raise _refusal(self.url, response.status, told)


def _refusal(url: str, status: int, told: bytes) -> ServerProblem | Unreachable:
    problem = problem_of(status, told)
    return problem or Unreachable(url, f"HTTP {status} without a problem document")
