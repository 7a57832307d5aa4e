"""The pure-Python twin of `loadtest.audience`: its specification and its fallback."""

import select
import socket
import time
from collections.abc import Sequence

from loadtest.wire_count import DELAY_STEP_US, DELAY_STEPS, Run, StalledError, Wire

__all__ = ["Audience"]

READ_BYTES = 1 << 18
STALL_S = 10.0


class _Member:
    def __init__(self, sock: socket.socket, room: int) -> None:
        self.socket = sock
        self.room = room
        self.head = b""  # the beginning of a frame that cannot be told yet
        self.skip = 0  # bytes left of a frame that is known
        self.count = 0  # messages so far, which is the number of the next one


class _Room:
    def __init__(self, members: Sequence[int]) -> None:
        self.members = members
        self.sent = 0
        self.delivered = 0
        self.sent_at: dict[int, float] = {}


class Audience:
    """Members of rooms.

    `rooms` holds for each room the places of its members in `sockets`; `frames` what each member
    says. The first `speakers` members of a room speak in turn. Sockets block.
    """

    def __init__(
        self,
        wire: Wire,
        sockets: Sequence[socket.socket],
        rooms: Sequence[Sequence[int]],
        frames: Sequence[bytes],
        speakers: int,
    ) -> None:
        self._wire = wire
        self._frames = frames
        self._speakers = speakers
        self._rooms = [_Room(members) for members in rooms]
        home = {place: number for number, members in enumerate(rooms) for place in members}
        self._members = [_Member(sock, home[place]) for place, sock in enumerate(sockets)]
        self._by_descriptor = {member.socket.fileno(): member for member in self._members}
        self._poll = select.epoll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self._start_over()

    def close(self) -> None:
        """Let go of everything but the sockets."""
        self._poll.close()

    def closed(self, window: int, warm_up_s: float, seconds: float) -> Run:
        """Keep `window` messages under way in every room; count after `warm_up_s`.

        The next message of a room leaves when as much has arrived as an older one has receivers.

        Raises:
            StalledError: what was sent does not arrive.
        """
        self._start_over()
        began = time.perf_counter()
        counts_from, ends = began + warm_up_s, began + warm_up_s + seconds
        for room in self._rooms:
            self._say(room, window)
        while (now := time.perf_counter()) < ends:
            self._count_from(now, counts_from)
            for room in self._take(0.05):
                under_way = room.sent - room.delivered // len(room.members)
                self._say(room, window - under_way)
        return self._settle(now, counts_from)

    def paced(self, per_s: float, warm_up_s: float, seconds: float) -> Run:
        """Send `per_s` messages a second, room by room in turn; count after `warm_up_s`.

        Raises:
            StalledError: what was sent does not arrive.
        """
        self._start_over()
        began = time.perf_counter()
        counts_from, ends = began + warm_up_s, began + warm_up_s + seconds
        said = 0
        while (now := time.perf_counter()) < ends:
            self._count_from(now, counts_from)
            while said < (now - began) * per_s:
                self._say(self._rooms[said % len(self._rooms)], 1)
                said += 1
            self._take(max(0.0, began + said / per_s - time.perf_counter()))
        return self._settle(now, counts_from)

    def _start_over(self) -> None:
        for member in self._members:
            member.count = 0
        for room in self._rooms:
            room.sent = room.delivered = 0
            room.sent_at = {}
        self._sent = self._delivered = 0
        self._missing = 0
        self._idle = False
        self._delays = [0] * DELAY_STEPS
        self._counting = False

    def _count_from(self, now: float, counts_from: float) -> None:
        if not self._counting and now >= counts_from:
            self._counting = True
            self._sent = self._delivered = 0
            self._delays = [0] * DELAY_STEPS

    def _say(self, room: _Room, times: int) -> None:
        now = time.perf_counter()
        for _ in range(times):
            place = room.members[room.sent % self._speakers]
            room.sent_at[room.sent] = now
            room.sent += 1
            try:
                self._members[place].socket.sendall(self._frames[place])
            except ConnectionError:
                raise StalledError("the server closed a connection") from None
            self._sent += 1
            self._missing += len(room.members)

    def _take(self, timeout_s: float) -> list[_Room]:
        heard: dict[int, None] = {}
        ready = self._poll.poll(timeout_s)
        self._idle = not ready
        for descriptor, _ in ready:
            member = self._by_descriptor[descriptor]
            data = member.socket.recv(READ_BYTES)
            if not data:
                raise StalledError("the server closed a connection")
            found = self._feed(member, data)
            if found:
                heard[member.room] = None
                self._note(member, found)
                if self._missing < 0:  # the window would grow with every answer
                    raise StalledError(f"{-self._missing} deliveries more than were sent")
        return [self._rooms[number] for number in heard]

    def _note(self, member: _Member, found: int) -> None:
        now = time.perf_counter()
        room = self._rooms[member.room]
        for number in range(member.count, member.count + found):
            step = int((now - room.sent_at.get(number, now)) * 1e6) // DELAY_STEP_US
            self._delays[min(step, DELAY_STEPS - 1)] += 1
        member.count += found
        room.delivered += found
        self._delivered += found
        self._missing -= found

    def _settle(self, now: float, counts_from: float) -> Run:
        run = Run(now - counts_from, self._sent, self._delivered, list(self._delays))
        while self._missing > 0:
            self._take(STALL_S)
            if self._idle:
                raise StalledError(f"{self._missing} deliveries are missing")
        return run

    def _feed(self, member: _Member, data: bytes) -> int:
        """Return how many messages began in `data`."""
        if member.skip >= len(data):
            member.skip -= len(data)
            return 0
        data = member.head + data[member.skip :]
        member.head, member.skip = b"", 0
        found = at = 0
        look = _websocket if self._wire.kind == "websocket" else _nats
        while at < len(data):
            known = look(data, at, self._wire)
            if known is None:
                member.head = data[at:]
                return found
            size, is_message = known
            found += is_message
            at += size
        member.skip = at - len(data)
        return found


def _websocket(data: bytes, at: int, wire: Wire) -> tuple[int, bool] | None:
    """Return the size of the frame at `at` and whether it is a message, None: tell later."""
    if len(data) - at < 2:
        return None
    size, start = data[at + 1], at + 2
    if size >= 126:
        start += 2 if size == 126 else 8
        if len(data) < start:
            return None
        size = int.from_bytes(data[at + 2 : start], "big")
    looked_at = min(size, wire.at + len(wire.mark))
    if len(data) - start < looked_at:
        return None
    return start - at + size, data[start + wire.at : start + looked_at] == wire.mark


def _nats(data: bytes, at: int, wire: Wire) -> tuple[int, bool] | None:
    end = data.find(b"\n", at)
    if end < 0:
        return None
    line = data[at : end + 1]
    if not line.startswith(b"MSG "):
        return len(line), False
    return len(line) + int(line.rsplit(b" ", 1)[1]) + 2, True
