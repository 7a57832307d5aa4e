"""Ways into a server for many plain sockets at once: shake hands, join, and how messages look.

A `Door` says for one kind of server what a connection sends to get in, what it then says in its
room, and how it knows that it is in. `fill` takes a whole hall of people through it.
"""

import base64
import json
import os
import resource
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]

from loadtest.websocket import BINARY, SUBPROTOCOL
from loadtest.wire_count import Wire

TEXT = 0x1
# Several handshakes under way at once: a server that coalesces may.
AT_ONCE = 64
DEADLINE_S = 30.0
# An `error` frame of ours in MessagePack: what is waited for will not come.
REFUSED = b"\xa1t\xa5error"
# As a busy desktop has it; the kernel's default of 128 KiB would end a burst of 64 in a full queue.
RECEIVE_BYTES = 1 << 20


class DoorError(Exception):
    """A server did not let somebody in."""


def masked_with(key: bytes, payload: bytes, opcode: int = BINARY) -> bytes:
    """Return a client's frame (RFC 6455, section 5.3)."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    mask = (key * (size // 4 + 1))[:size]
    return head + key + bytes(a ^ b for a, b in zip(payload, mask, strict=True))


def upgrade(path: str, port: int, subprotocol: str | None = None) -> bytes:
    """Return a WebSocket handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"{protocol}\r\n"
    ).encode()


class Step(NamedTuple):
    """What to send, and what the answer contains when it worked."""

    data: bytes
    expect: bytes


class Door(ABC):
    """One kind of server."""

    wire: Wire

    @abstractmethod
    def steps(self, person: int, room: str) -> Sequence[Step]:
        """Return what gets `person` into `room`, step by step."""

    @abstractmethod
    def say(self, room: str, body: str) -> bytes:
        """Return the bytes that say `body` in `room`."""


class ChatDoor(Door):
    """The hub: handshake, hello and join; everyone has a token of their own."""

    def __init__(self, port: int, tokens: Sequence[str]) -> None:
        self._port = port
        self._tokens = tokens
        # A map of eight, whose first field is the type.
        self.wire = Wire("websocket", 1, b"\xa1t\xa7message")

    def steps(self, person: int, room: str) -> Sequence[Step]:
        hello = {"t": "hello", "token": self._tokens[person], "v": 1}
        join = {"t": "join", "id": 1, "room": room}
        return (
            Step(upgrade("/ws", self._port, SUBPROTOCOL), b"\r\n\r\n"),
            Step(packed(hello), b"\xa7welcome"),
            Step(packed(join), b"\xa6joined"),
        )

    def say(self, room: str, body: str) -> bytes:
        return packed({"t": "send", "id": 2, "room": room, "body": body})


class RelayDoor(Door):
    """A bare relay on WebSocket: the path is the room, a frame is passed on as it is."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.wire = Wire("websocket", 0, b"x")

    def steps(self, person: int, room: str) -> Sequence[Step]:
        return (Step(upgrade(f"/{room}", self._port), b"\r\n\r\n"),)

    def say(self, room: str, body: str) -> bytes:
        return masked_with(os.urandom(4), body.encode())


class SocketIoDoor(Door):
    """Socket.IO 4: Engine.IO's WebSocket, then packets of its own in text frames."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.wire = Wire("websocket", 0, b'42["message"')

    def steps(self, person: int, room: str) -> Sequence[Step]:
        return (
            Step(upgrade("/socket.io/?EIO=4&transport=websocket", self._port), b'0{"sid"'),
            Step(_text("40"), b'40{"sid"'),
            # Nothing answers a join; what is sent after it is taken after it.
            Step(_text("42" + json.dumps(["join", room])), b""),
        )

    def say(self, room: str, body: str) -> bytes:
        return _text("42" + json.dumps(["say", room, body]))


class NatsDoor(Door):
    """NATS: a subscription to the room as a subject."""

    wire = Wire("nats")

    def steps(self, person: int, room: str) -> Sequence[Step]:
        connect = json.dumps({"verbose": False, "pedantic": False, "lang": "load", "version": "1"})
        return (
            Step(b"", b"INFO "),
            Step(f"CONNECT {connect}\r\nSUB {room} 1\r\nPING\r\n".encode(), b"PONG\r\n"),
        )

    def say(self, room: str, body: str) -> bytes:
        return f"PUB {room} {len(body)}\r\n{body}\r\n".encode()


def raise_file_limit(wanted: int) -> None:
    """Allow that many open files here and in children to come, as far as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def fill(door: Door, port: int, rooms: Sequence[str], each: int) -> list[socket.socket]:
    """Let `each` people into every room; return their sockets, room by room.

    Raises:
        DoorError: somebody was not let in.
    """
    people = [(number, room) for number, room in enumerate(r for r in rooms for _ in range(each))]
    sockets: list[socket.socket] = []
    try:
        for start in range(0, len(people), AT_ONCE):
            group = people[start : start + AT_ONCE]
            sockets.extend(_connect(port) for _ in group)  # those before a failure are in it too
            _walk(sockets[start:], [door.steps(person, room) for person, room in group])
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _connect(port: int) -> socket.socket:
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def _walk(sockets: Sequence[socket.socket], ways: Sequence[Sequence[Step]]) -> None:
    for steps in zip(*ways, strict=True):
        for sock, step in zip(sockets, steps, strict=True):
            sock.sendall(step.data)
        for sock, step in zip(sockets, steps, strict=True):
            _await(sock, step.expect)


def _await(sock: socket.socket, expect: bytes) -> None:
    answer = b""
    while expect not in answer:
        try:
            more = sock.recv(1 << 16)
        except TimeoutError:
            raise DoorError(f"no {expect!r} in {answer[-200:]!r}") from None
        if not more:
            raise DoorError(f"closed after {answer[-200:]!r}")
        answer += more
        if REFUSED in answer:
            raise DoorError(f"refused: {answer[-200:]!r}")


def read_away(sockets: Sequence[socket.socket]) -> None:
    """Drop what came besides the answers."""
    for sock in sockets:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            while sock.recv(1 << 16):
                pass
        sock.setblocking(True)


def packed(frame: dict[str, object]) -> bytes:
    """Return a client's frame in MessagePack."""
    return masked_with(os.urandom(4), msgpack.packb(frame))


def _text(payload: str) -> bytes:
    return masked_with(os.urandom(4), payload.encode(), TEXT)
