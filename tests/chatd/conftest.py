"""A hub without a network: a clock turned by hand, facts in a list, clients that are bytes."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from chatd.bus import LocalBus
from chatd.errors import BadToken, Close, TokenExpired, TokenRevoked, TokenUndecided
from chatd.facts import MemoryFacts
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.session import Identity
from chatd.wire import CODECS, JSON, MSGPACK, Codec


class HandClock:
    """Both clocks of `chatd.bus.Clock`, moved by `advance` only."""

    def __init__(self, utc: float = 1_790_000_000.0) -> None:
        self.now = 1000.0
        self.utc = utc

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.utc

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.utc += seconds


class TableOfTokens:
    """An authenticator whose tokens are user ids, but for those named below."""

    def __init__(self) -> None:
        self.identities: dict[str, Identity] = {}

    def verify(self, token: str, now: float) -> Identity:
        if token == "forged":
            raise BadToken
        if token == "expired":
            raise TokenExpired
        if token == "revoked":
            raise TokenRevoked
        if token == "of a new key":
            raise TokenUndecided(1000)
        return self.identities.get(token) or Identity(token, token.title())


class MemoryPipe:
    """A pipe that takes everything; `stuck` makes it keep what is written as unsent."""

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0
        self.unsent = 0
        self.stuck = False
        self.closed: Close | None = None

    def write(self, data: bytes) -> int:
        assert self.closed is None, "written after close"
        self.data += data
        self.writes += 1
        if self.stuck:
            self.unsent += len(data)
        return self.unsent

    def unsent_bytes(self) -> int:
        return self.unsent

    def close(self, close: Close) -> None:
        self.closed = close

    def take_frames(self) -> list[tuple[int, bytes]]:
        """Return (opcode, payload) of every WebSocket frame written since the last call."""
        data, self.data = self.data, b""
        frames = []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            assert data[0] & 0xB0 == 0x80, "server frames are final"
            payload = data[start : start + size]
            if data[0] & 0x40:
                payload = zlib.decompressobj(-15).decompress(payload)
            frames.append((data[0] & 0x0F, payload))
            data = data[start + size :]
        return frames


class Visitor:
    """A client that speaks with the independent `msgpack` package, or with `json`."""

    def __init__(self, house: "House", codec: Codec) -> None:
        self.house = house
        self.codec = codec
        self.pipe = MemoryPipe()
        self.client = house.hub.connect(self.pipe, codec)
        self._ids = 0

    def say_bytes(self, payload: bytes) -> None:
        self.house.hub.receive(self.client, payload)

    def say(self, **frame: Any) -> None:
        packed = msgpack.packb(frame) if self.codec.packs else json.dumps(frame).encode()
        self.say_bytes(packed)

    def hear(self) -> list[dict[str, Any]]:
        """Return every frame since the last call, after the hub has flushed."""
        self.house.settle()
        return [self._unpack(*frame) for frame in self.pipe.take_frames()]

    def ask(self, **frame: Any) -> dict[str, Any]:
        """Say `frame` with a new id and return its reply; other frames are dropped."""
        self._ids += 1
        self.say(id=self._ids, **frame)
        replies = [heard for heard in self.hear() if heard.get("id") == self._ids]
        assert len(replies) == 1, replies
        return replies[0]

    def _unpack(self, opcode: int, payload: bytes) -> dict[str, Any]:
        if opcode == JSON.opcode:
            return json.loads(payload)
        if opcode == MSGPACK.opcode:
            return msgpack.unpackb(payload)
        return {"opcode": opcode, "payload": payload}


class House:
    """A hub with everything it stands on."""

    def __init__(self, **options: Any) -> None:
        self.clock = options.pop("clock", None) or HandClock()
        self.facts = options.pop("facts", None) or MemoryFacts()
        self.bus = options.pop("bus", None) or LocalBus(clock=self.clock)
        self.tokens = TableOfTokens()
        self._deferred: list[Callable[[], None]] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.hub = Hub(
            self.bus,
            self.facts,
            self.tokens,
            self.clock,
            defer=self._deferred.append,
            later=lambda delay_s, call: self._timers.append((self.clock.now + delay_s, call)),
            **options,
        )

    def settle(self) -> None:
        """Run what the loop would run next, until there is nothing."""
        while self._deferred:
            deferred, self._deferred[:] = list(self._deferred), []
            for callback in deferred:
                callback()

    def elapse(self, seconds: float) -> None:
        """Let time pass, and do what falls due by timers."""
        self.clock.advance(seconds)
        due = [call for at, call in self._timers if at <= self.clock.now]
        self._timers = [timer for timer in self._timers if timer[0] > self.clock.now]
        for call in due:
            call()
        self.settle()

    def connect(self, codec: Codec = MSGPACK) -> Visitor:
        """Return somebody who has not said hello."""
        return Visitor(self, codec)

    def visitor(self, user: str, *rooms: str, codec: Codec = MSGPACK) -> Visitor:
        """Return somebody who has said hello and joined `rooms`, and heard the answers."""
        visitor = self.connect(codec)
        visitor.say(t="hello", token=user, v=1)
        for room in rooms:
            visitor.say(t="join", id=0, room=room)
        visitor.hear()
        return visitor

    def kept(self, kind: type) -> list[Any]:
        """Return the committed facts of one type."""
        self.settle()
        return [fact for fact in self.facts.kept if type(fact) is kind]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def build() -> type[House]:
    return House


@pytest.fixture
def house() -> House:
    return House(limits=Limits().lifted())


@pytest.fixture(params=CODECS, ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Codec:
    return request.param
