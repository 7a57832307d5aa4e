"""Janus with its videoroom plugin, as a peer to measure against: started, driven over its HTTP API.

What it is given beyond the defaults of its package: ICE-lite, one address, no STUN, ports of its
own, no REMB that would slow a publisher down.
"""

import json
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.launch import free_port
from loadtest.offer import Line, answer, offer, read_answer
from loadtest.transport import Transport

READY_DEADLINE_S = 15.0
EVENT_DEADLINE_S = 15.0
ROOM = 1234


class JanusError(Exception):
    """Janus did not start, or refused a request."""


def available() -> bool:
    """Tell whether Janus is on PATH."""
    return shutil.which("janus") is not None


def version() -> str:
    """Return what it calls itself."""
    text = subprocess.run(["janus", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", text.stdout + text.stderr)
    return found[0] if found else "?"


class Janus:
    """One running Janus with one room. `pid` is its only process."""

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self._root = url
        self._sessions: list[str] = []
        self._room = 0

    def open_room(self) -> None:
        """Make a fresh room that lets 100 publishers in."""
        self._room += 1
        self._message(
            self._attach(),
            {
                "request": "create",
                "room": ROOM + self._room,
                "publishers": 100,
                "audiocodec": "opus",
                "videocodec": "vp8",
                "bitrate": 0,
            },
        )

    def publish(self, transport: Transport, lines: list[Line]) -> int:
        """Publish and run ICE and DTLS to the end; returns the feed."""
        text, feed = self.negotiate_publishing(offer(transport.local, lines, setup="active"))
        transport.connect(read_answer(text))
        return feed

    def subscribe(self, transport: Transport, feed: int) -> None:
        """Subscribe to everything of a feed and run ICE and DTLS to the end."""
        offered, handle = self.offer_of(feed)
        self.accept(handle, answer(transport.local, offered))
        transport.connect(read_answer(offered))

    def negotiate_publishing(self, offered: str) -> tuple[str, int]:
        """Take a publisher's offer; returns (answer, feed)."""
        event = self._exchange(
            self._attach(),
            {"request": "joinandconfigure", "ptype": "publisher", "room": ROOM + self._room},
            {"type": "offer", "sdp": offered},
        )
        return event["jsep"]["sdp"], int(event["plugindata"]["data"]["id"])

    def offer_of(self, feed: int) -> tuple[str, str]:
        """Subscribe to everything of a feed; returns (offer, handle)."""
        handle = self._attach()
        event = self._exchange(
            handle,
            {
                "request": "join",
                "ptype": "subscriber",
                "room": ROOM + self._room,
                "streams": [{"feed": feed}],
            },
        )
        return event["jsep"]["sdp"], handle

    def accept(self, handle: str, answered: str) -> None:
        """Take a subscriber's answer."""
        self._exchange(handle, {"request": "start"}, {"type": "answer", "sdp": answered})

    def close_room(self) -> None:
        """End everybody's session and what is in it."""
        for session in self._sessions:
            self._ask(session, janus="destroy")
        self._sessions.clear()

    def _attach(self) -> str:
        """Make a handle in a session of its own, whose events nobody else takes."""
        session = f"{self._root}/{self._ask(self._root, janus='create')['data']['id']}"
        self._sessions.append(session)
        answered = self._ask(session, janus="attach", plugin="janus.plugin.videoroom")
        return f"{session}/{answered['data']['id']}"

    def _message(
        self, handle: str, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> dict[str, Any]:
        extra: dict[str, Any] = {} if jsep is None else {"jsep": jsep}
        return self._ask(handle, janus="message", body=body, **extra)

    def _exchange(
        self, handle: str, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a message that is answered by an event, and wait for it."""
        self._message(handle, body, jsep)
        session = handle.rpartition("/")[0]
        deadline = time.monotonic() + EVENT_DEADLINE_S
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"{session}?maxev=1", timeout=40) as reply:
                event: dict[str, Any] = json.load(reply)
            if event.get("janus") == "event":
                data = event["plugindata"]["data"]
                if "error" in data:
                    raise JanusError(data["error"])
                return event
        raise JanusError(f"no event after {body['request']}")

    def _ask(self, url: str, **fields: Any) -> dict[str, Any]:
        body = json.dumps({**fields, "transaction": secrets.token_hex(6)}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=15) as reply:
            answered: dict[str, Any] = json.load(reply)
        if answered["janus"] == "error":
            raise JanusError(answered["error"]["reason"])
        return answered


@contextmanager
def running(media_host: str) -> Iterator[Janus]:
    """Run Janus for the length of a block.

    Raises:
        JanusError: it did not answer in time.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="janus-load-") as folder:
        _configure(Path(folder), media_host, port)
        process = subprocess.Popen(
            ["janus", "-F", folder, "-C", f"{folder}/janus.jcfg"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}/janus"
            _wait(f"{url}/info", process)
            yield Janus(process.pid, url)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise JanusError("not ready in time")


def _configure(folder: Path, media_host: str, port: int) -> None:
    (folder / "janus.jcfg").write_text(
        f"""
general: {{
    configs_folder = "{folder}"
    debug_level = 2
    session_timeout = 0
}}
media: {{
    rtp_port_range = "40000-60000"
}}
nat: {{
    ice_lite = true
    ice_enforce_list = "{media_host}"
}}
plugins: {{
    disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,\
libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,\
libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so"
}}
transports: {{
    disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,\
libjanus_rabbitmq.so,libjanus_websockets.so"
}}
""",
        encoding="utf-8",
    )
    (folder / "janus.transport.http.jcfg").write_text(
        f'general: {{\n    json = "compact"\n    base_path = "/janus"\n    http = true\n'
        f'    port = {port}\n    ip = "127.0.0.1"\n    https = false\n}}\n'
        "admin: {\n    admin_http = false\n}\n",
        encoding="utf-8",
    )
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: {\n}\n", encoding="utf-8")
