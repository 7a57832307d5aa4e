"""A chat client of its own: `websockets` carries, `msgpack` or `json` encodes; nothing of ours."""

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Frame = dict[str, Any]

MSGPACK = "metaport.v1.msgpack"
JSON = "metaport.v1.json"
DEADLINE_S = 10.0  # what takes milliseconds, on a machine that is busy with other tests


class RefusedError(Exception):
    """The server answered a request with an `error` frame."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(f"{frame['reason']}: {frame['message']}")
        self.frame = frame
        self.reason: str = frame["reason"]


@dataclass(frozen=True)
class Account:
    """Who a token speaks for."""

    token: str
    user: str
    name: str


async def guest(url: str, name: str) -> Account:
    """Sign in as a guest."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/api/v1/auth/guest", json={"name": name}) as answer,
    ):
        body = await answer.json()
        assert answer.status == 200, body
        return Account(body["token"], body["user"]["id"], body["user"]["name"])


class Chat:
    """One chat connection; everything received is kept in `frames`, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.welcome: Frame = {}
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Frame]] = {}
        self._arrived = asyncio.Event()
        self._read_task = asyncio.create_task(
            self._read(), name="chat-read"
        )  # ends with the socket

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        subprotocol: str | None = MSGPACK,
        origin: str | None = None,
        ssl: Any = None,
        **options: Any,
    ) -> "Chat":
        """Open the WebSocket without saying hello."""
        socket = await connect(
            f"{url.replace('http', 'ws', 1)}/ws",
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            origin=origin,
            max_size=None,
            compression=None,
            proxy=None,
            ssl=ssl,
            open_timeout=DEADLINE_S,
            close_timeout=1,
            **options,
        )
        return cls(socket)

    @classmethod
    async def enter(cls, url: str, account: Account, **options: Any) -> "Chat":
        """Open the WebSocket and say hello."""
        chat = await cls.open(url, **options)
        await chat.send({"t": "hello", "token": account.token, "v": 1})
        chat.welcome = await chat.wait(lambda frame: frame["t"] == "welcome")
        return chat

    async def __aenter__(self) -> "Chat":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def messages(self) -> list[Frame]:
        """Return the live messages received so far."""
        return [frame for frame in self.frames if frame["t"] == "message"]

    @property
    def texts(self) -> list[Any]:
        """Return the bodies of the live messages received so far."""
        return [frame["body"] for frame in self.messages]

    async def send(self, frame: Frame) -> None:
        """Send a frame and wait for nothing."""
        await self.send_raw(self._encode(frame))

    async def send_raw(self, data: str | bytes) -> None:
        """Send a WebSocket message as it is."""
        await self.socket.send(data)

    async def request(self, t: str, **fields: Any) -> Frame:
        """Send a request and return its reply.

        Raises:
            RefusedError: it was answered by an `error` frame.
        """
        number = next(self._ids)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        await self.send({"t": t, "id": number, **fields})
        async with asyncio.timeout(DEADLINE_S):
            frame = await reply
        if frame["t"] == "error":
            raise RefusedError(frame)
        return frame

    async def wait(
        self, condition: Callable[[Frame], bool], deadline_s: float = DEADLINE_S
    ) -> Frame:
        """Return the first frame received, before or from now on, that fulfils the condition.

        Raises:
            TimeoutError: none came in time.
            ConnectionClosed: the connection ended before.
        """
        seen = 0
        async with asyncio.timeout(deadline_s):
            while True:
                for frame in self.frames[seen:]:
                    if condition(frame):
                        return frame
                seen = len(self.frames)
                if self._read_task.done():
                    self._read_task.result()
                self._arrived.clear()
                await self._arrived.wait()

    async def count(self, number: int, deadline_s: float = DEADLINE_S) -> list[Frame]:
        """Return the live messages once there are that many."""
        await self.wait(lambda _: len(self.messages) >= number, deadline_s)
        return self.messages

    async def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait until the server closes and return its close code."""
        async with asyncio.timeout(deadline_s):
            await self.socket.wait_closed()
        code = self.socket.close_code
        assert code is not None
        return code

    async def close(self) -> None:
        """Close as a client that leaves."""
        await self.socket.close()
        await asyncio.wait([self._read_task])
        with suppress(ConnectionClosed):
            self._read_task.result()

    def _encode(self, frame: Frame) -> str | bytes:
        if self.socket.subprotocol == JSON:
            return json.dumps(frame)
        return bytes(msgpack.packb(frame))

    async def _read(self) -> None:
        try:
            while True:
                data = await self.socket.recv()
                frame: Frame = json.loads(data) if isinstance(data, str) else msgpack.unpackb(data)
                self.frames.append(frame)
                reply = (
                    self._replies.pop(frame.get("id", 0), None) if frame["t"] != "message" else None
                )
                if reply is not None and not reply.done():
                    reply.set_result(frame)
                self._arrived.set()
        finally:
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(
                        ConnectionResetError("the connection ended before the reply")
                    )
                    reply.exception()  # retrieved: whoever asked may have given up
            self._arrived.set()
