"""Both twins by one test class, over real sockets and a relay that cuts its answers anywhere."""

import importlib
import random
import selectors
import socket
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest

from loadtest import audience, audience_pure
from loadtest.wire_count import DELAY_STEPS, Run, StalledError, Wire

TWINS = [audience_pure]
try:
    TWINS.append(importlib.import_module("loadtest._audience"))
except ImportError:  # no compiler here: the specification is all there is
    assert audience.TWIN == "python"

SAID = b"say:" + b"-" * 20
WEBSOCKET = Wire("websocket", 1, b"mark")


def websocket(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x82, size)) + payload
    if size < 65536:
        return b"\x82\x7e" + size.to_bytes(2, "big") + payload
    return b"\x82\x7f" + size.to_bytes(8, "big") + payload


class Relay:
    """Passes on what members say, with frames that are no messages between, in random pieces."""

    def __init__(self, kind: str, rooms: int, people: int, seed: int, copies: int = 1) -> None:
        self._random = random.Random(seed)
        self._kind = kind
        self._copies = copies
        self.ours: list[socket.socket] = []
        self.theirs: list[list[socket.socket]] = []
        for _ in range(rooms):
            pairs = [socket.socketpair() for _ in range(people)]
            self.ours += [one for one, _ in pairs]
            self.theirs.append([other for _, other in pairs])
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (*self.ours, *(sock for room in self.theirs for sock in room), self._stopped):
            sock.close()

    def members(self) -> list[list[int]]:
        size = len(self.theirs[0])
        return [list(range(n * size, (n + 1) * size)) for n in range(len(self.theirs))]

    def _pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            for room in self.theirs:
                for sock in room:
                    selector.register(sock, selectors.EVENT_READ, room)
            selector.register(self._stopped, selectors.EVENT_READ, None)
            rest: dict[object, int] = {}
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    got = rest.get(key.fileobj, 0) + len(key.fileobj.recv(1 << 16))
                    rest[key.fileobj] = got % len(SAID)
                    for _ in range(got // len(SAID)):
                        self._tell(key.data)

    def _tell(self, room: list[socket.socket]) -> None:
        data = b"".join(self._noise() + self._message() for _ in range(self._copies))
        cuts = sorted(self._random.randrange(len(data) + 1) for _ in range(3))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            for sock in room:
                sock.sendall(data[start:end])

    def _message(self) -> bytes:
        if self._kind == "nats":
            size = self._random.choice((0, 9, 120, 5000))
            return b"MSG room.a 1 %d\r\n%s\r\n" % (size, b"y" * size)
        return websocket(b"\x88mark" + b"y" * self._random.choice((0, 110, 130, 5000, 70_000)))

    def _noise(self) -> bytes:
        if self._kind == "nats":
            return self._random.choice((b"", b"PING\r\n", b"+OK\r\n"))
        return self._random.choice(
            (b"", websocket(b""), websocket(b"m"), websocket(b"\x88mars"), b"\x89\x00")
        )


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
@pytest.mark.parametrize("kind", ["websocket", "nats"])
class TestAudience:
    @pytest.fixture
    def relay(self, kind: str) -> Iterator[Relay]:
        relay = Relay(kind, rooms=3, people=4, seed=7)
        yield relay
        relay.close()

    def audience(
        self, twin: ModuleType, kind: str, relay: Relay, speakers: int
    ) -> audience.Audience:
        wire = WEBSOCKET if kind == "websocket" else Wire("nats")
        frames = [SAID] * len(relay.ours)
        return twin.Audience(wire, relay.ours, relay.members(), frames, speakers)

    @pytest.mark.parametrize(("window", "speakers"), [(1, 4), (5, 1)])
    def test_counts_each_message_once_wherever_it_is_cut(
        self, twin: ModuleType, kind: str, relay: Relay, window: int, speakers: int
    ) -> None:
        # `closed` returns only when as many have arrived as were sent to so many.
        hall = self.audience(twin, kind, relay, speakers)
        for _ in range(2):
            run = hall.closed(window, 0.0, 0.2)
            assert run.delivered > 0
            assert abs(run.sent * 4 - run.delivered) <= 3 * 4 * window
            assert sum(run.delays) == run.delivered
            assert run.seconds >= 0.2
        hall.close()

    def test_sends_at_a_rate(self, twin: ModuleType, kind: str, relay: Relay) -> None:
        hall = self.audience(twin, kind, relay, 4)
        run = hall.paced(200.0, 0.0, 0.25)
        hall.close()
        assert 0 < run.sent <= run.seconds * 200 + 1
        assert sum(run.delays) == run.delivered

    def test_forgets_what_came_before_the_measured_time(
        self, twin: ModuleType, kind: str, relay: Relay
    ) -> None:
        hall = self.audience(twin, kind, relay, 1)
        run = hall.closed(2, 0.1, 0.1)
        hall.close()
        assert abs(run.sent * 4 - run.delivered) <= 3 * 4 * 2
        assert sum(run.delays) == run.delivered

    def test_tells_when_the_server_goes(self, twin: ModuleType, kind: str) -> None:
        relay = Relay(kind, rooms=1, people=2, seed=1)
        hall = self.audience(twin, kind, relay, 1)
        relay.theirs[0][0].shutdown(socket.SHUT_RDWR)
        with pytest.raises(StalledError, match="closed"):
            hall.closed(1, 0.0, 5.0)
        hall.close()
        relay.close()

    def test_tells_when_more_arrives_than_was_sent(self, twin: ModuleType, kind: str) -> None:
        relay = Relay(kind, rooms=1, people=2, seed=1, copies=2)
        hall = self.audience(twin, kind, relay, 1)
        with pytest.raises(StalledError, match="more than were sent"):
            hall.closed(1, 0.0, 0.1)
        hall.close()
        relay.close()


def test_delays_are_read_by_percentile() -> None:
    delays = [0] * DELAY_STEPS
    delays[0], delays[9], delays[DELAY_STEPS - 1] = 50, 49, 1
    run = Run(1.0, 100, 100, delays)
    assert [run.delay_ms(percent) for percent in (50, 99, 100)] == [0.01, 0.1, 1000.01]
    assert Run(1.0, 0, 0, [0] * DELAY_STEPS).delay_ms(99) == 0.0
