"""What each kind of server is told by those who come in."""

import socket
import threading

import msgpack
import pytest

from loadtest.hall import (
    REFUSED,
    ChatDoor,
    Door,
    DoorError,
    NatsDoor,
    RelayDoor,
    SocketIoDoor,
    fill,
    masked_with,
    read_away,
)


def unmasked(frame: bytes) -> bytes:
    size, start = frame[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(frame[2:start], "big")
    key, payload = frame[start : start + 4], frame[start + 4 :]
    assert len(payload) == size
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_are_masked_as_rfc_6455_says(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    assert unmasked(masked_with(b"\x01\x02\x03\xff", payload)) == payload


def test_a_chat_says_hello_and_joins() -> None:
    door = ChatDoor(80, ["token 0", "token 1"])
    shake, hello, join = door.steps(1, "hall")
    assert b"Sec-WebSocket-Protocol: metaport.v1.msgpack\r\n" in shake.data
    assert msgpack.unpackb(unmasked(hello.data)) == {"t": "hello", "token": "token 1", "v": 1}
    assert msgpack.unpackb(unmasked(join.data)) == {"t": "join", "id": 1, "room": "hall"}
    said = msgpack.unpackb(unmasked(door.say("hall", "words")))
    assert (said["t"], said["room"], said["body"]) == ("send", "hall", "words")


def test_a_relay_has_its_room_in_the_path() -> None:
    door = RelayDoor(80)
    (shake,) = door.steps(0, "hall")
    assert shake.data.startswith(b"GET /hall HTTP/1.1\r\n")
    assert unmasked(door.say("hall", "xx")) == b"xx"


def test_socket_io_and_nats_speak_their_protocols() -> None:
    assert unmasked(SocketIoDoor(80).say("hall", "xx")) == b'42["say", "hall", "xx"]'
    assert NatsDoor().say("hall", "xx") == b"PUB hall 2\r\nxx\r\n"
    assert b"SUB hall 1\r\n" in NatsDoor().steps(0, "hall")[1].data


class Porter:
    """A server that reads something and answers each connection alike."""

    def __init__(self, answer: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._answer = answer
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            connection.recv(1 << 16)
            connection.sendall(self._answer)
            if b"101" not in self._answer:
                connection.close()


def test_everybody_is_let_in() -> None:
    porter = Porter(b"HTTP/1.1 101 Switching Protocols\r\n\r\nand more")
    sockets = fill(RelayDoor(porter.port), porter.port, ["a", "b"], 3)
    assert len(sockets) == 6
    read_away(sockets)
    for sock in sockets:
        assert sock.getblocking()
        sock.close()
    porter.close()


def test_who_is_not_let_in_is_told() -> None:
    porter = Porter(b"HTTP/1.1 403 Forbidden\r\n")
    door: Door = RelayDoor(porter.port)
    with pytest.raises(DoorError, match="403 Forbidden"):
        fill(door, porter.port, ["a"], 1)
    porter.close()


def test_who_is_refused_is_told_at_once() -> None:
    """The whole deadline was waited out for an answer that would not come: 34 s instead of 4 in a
    measurement of how soon all are back."""
    porter = Porter(b"\x82\x20\x84" + REFUSED + b"\xa6reason\xaarooms_away")
    with pytest.raises(DoorError, match=r"refused: .*rooms_away"):
        fill(RelayDoor(porter.port), porter.port, ["a"], 1)
    porter.close()
