"""The servers whose packet path is measured: ours, and Janus beside it."""

import secrets
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from loadtest import janus, processes
from loadtest.crowd import Crowd, Flow
from loadtest.launch import Server
from loadtest.media import Session
from loadtest.offer import Line
from loadtest.target import Target

# Python executes a `sitecustomize` on its path at each start: these modules cannot be imported.
WITHOUT_COMPILED = """import sys

for name in ("sfu._rewrite", "sfu._arrivals", "sfu._fanout", "sfu._inlet"):
    sys.modules[name] = None
"""


class Forwarder(Protocol):
    """One server with at most one room open; `name` stands in the tables."""

    name: str

    @property
    def pid(self) -> int:
        """Return the process that forwards."""

    def open_room(self) -> None:
        """Make an empty room."""

    def publish(self, crowd: Crowd, flow: Flow) -> None:
        """Let one more member of the crowd send."""

    def subscribe(self, crowd: Crowd, flow: Flow, streams: int = 1) -> None:
        """Let one more member receive everything published, which are so many streams."""

    def close_room(self) -> None:
        """Make everybody leave."""

    def cpu_seconds(self) -> float:
        """Return user and system time of the process so far."""


class Metaport:
    """`metaport run`, over WHIP and WHEP."""

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self._target = target
        self._sessions: list[Session] = []
        self._room = ""
        self._token = ""

    @property
    def url(self) -> str:
        """Return where its chat is."""
        return self._target.url

    @property
    def pid(self) -> int:
        """Return the SFU's process id."""
        pid = self._target.pid("sfu")
        assert pid is not None
        return pid

    def open_room(self) -> None:
        """Make an empty room."""
        self._room = f"forwarding-{secrets.token_hex(4)}"

    def publish(self, crowd: Crowd, flow: Flow) -> None:
        """Let one more member of the crowd send, by WHIP."""
        ssrc = secrets.randbits(31) | 1
        session = self._open(crowd, "whip", [Line(flow.kind, "0", ssrc)])
        crowd.publish(session.transport, flow, ssrc)

    def subscribe(self, crowd: Crowd, flow: Flow, streams: int = 1) -> None:
        """Let one more member receive everything, by WHEP."""
        lines = [Line(flow.kind, str(number)) for number in range(streams)]
        crowd.receive(self._open(crowd, "whep", lines).transport)

    def close_room(self) -> None:
        """Make everybody leave."""
        for session in self._sessions:
            session.close()
        self._sessions.clear()

    def cpu_seconds(self) -> float:
        """Return what the SFU used so far."""
        return processes.cpu_seconds(self.pid)

    def _open(self, crowd: Crowd, way: str, lines: list[Line]) -> Session:
        # One guest for each: whoever publishes does not receive its own.
        token, _ = self._target.guest(f"guest-{secrets.token_hex(4)}")
        room = urllib.parse.quote(self._room, safe="")
        url = f"{self._target.url}/{way}/{room}"
        session = Session.open(url, token, lines, crowd.transport())
        self._sessions.append(session)
        return session


class JanusForwarder:
    """Janus, by its videoroom plugin."""

    def __init__(self, server: janus.Janus) -> None:
        self.name = f"Janus {janus.version()}"
        self._server = server
        self._feed = 0

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._server.pid

    def open_room(self) -> None:
        """Make an empty room."""
        self._server.open_room()

    def publish(self, crowd: Crowd, flow: Flow) -> None:
        """Let a member of the crowd send."""
        ssrc = secrets.randbits(31) | 1
        transport = crowd.transport()
        self._feed = self._server.publish(transport, [Line(flow.kind, "0", ssrc)])
        crowd.publish(transport, flow, ssrc)

    def subscribe(self, crowd: Crowd, flow: Flow, streams: int = 1) -> None:
        """Let one more member receive what was published last."""
        assert streams == 1
        transport = crowd.transport()
        self._server.subscribe(transport, self._feed)
        crowd.receive(transport)

    def close_room(self) -> None:
        """Make everybody leave."""
        self._server.close_room()

    def cpu_seconds(self) -> float:
        """Return what its process used so far."""
        return processes.cpu_seconds(self.pid)


def bench_environment(media_host: str) -> Mapping[str, str]:
    """Return how `metaport run` is configured: on the namespace's way, without rate limits."""
    return {
        "METAPORT_PROFILE": "bench",
        "METAPORT_MEDIA_HOST": media_host,
        "METAPORT_MEDIA_ADVERTISE": media_host,
    }


def pure_environment(folder: Path) -> Mapping[str, str]:
    """Return what makes every Python process do without the compiled twins."""
    (folder / "sitecustomize.py").write_text(WITHOUT_COMPILED, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


@contextmanager
def janus_beside(media_host: str) -> Iterator[list[Forwarder]]:
    """Run Janus for the length of a block where it is installed."""
    if not janus.available():
        yield []
        return
    with janus.running(media_host) as server:
        yield [JanusForwarder(server)]


def metaport(name: str, server: Server) -> Metaport:
    """Return a server that was started here."""
    return Metaport(name, Target(server.url, server))
