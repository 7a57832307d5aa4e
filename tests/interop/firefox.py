"""Firefox at the demo page, driven over WebDriver BiDi: Playwright drives only its own build."""

import asyncio
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from loadtest.launch import free_port
from tests.system.browser import INBOUND, REMEMBER_CONNECTIONS
from tests.system.deadline import until

PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # No search for OpenH264 and no other errand of a new profile.
    "media.gmp-manager.updateEnabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "extensions.update.enabled": False,
}


class Firefox:
    """One page in one Firefox."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events meanwhile are passed over."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            answer = await self._socket.receive_json(timeout=60)
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result

    async def open(self, url: str) -> None:
        await self.ask("session.new", capabilities={})
        await self.ask(
            "script.addPreloadScript", functionDeclaration=f"() => {{ {REMEMBER_CONNECTIONS} }}"
        )
        tree = await self.ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        await self.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, function: str) -> Any:
        """Call an asynchronous function in the page and return what it returned."""
        answer = await self.ask(
            "script.evaluate",
            expression=f"({function})().then(JSON.stringify)",
            target={"context": self._context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    async def streams(self) -> list[dict[str, Any]]:
        """Return what is received and decoded."""
        found: list[dict[str, Any]] = await self.evaluate(INBOUND)
        return found

    async def decodes(self, kinds: dict[str, int], deadline_s: float = 60.0) -> None:
        """Wait until so many streams of each kind are decoded further than at the call."""
        before = {s["ssrc"]: s for s in await self.streams()}
        seen: list[dict[str, Any]] = []

        async def all_grow() -> bool:
            seen[:] = await self.streams()
            growing = dict.fromkeys(kinds, 0)
            for stream in seen:
                known = before.get(stream["ssrc"], {"frames": 0, "energy": 0})
                pictures = stream["frames"] >= known["frames"] + 5
                sound = stream["energy"] > known["energy"]
                growing[stream["kind"]] += pictures if stream["kind"] == "video" else sound
            return growing == kinds

        await until(all_grow, deadline_s, lambda: f"Firefox decodes {kinds}: {seen}")


@asynccontextmanager
async def firefox(url: str) -> AsyncIterator[Firefox]:
    """Run the system's Firefox at a page for the length of a block."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    assert program is not None, "Firefox is missing: apt-get install firefox-esr"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        (Path(profile) / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in PREFERENCES.items()
            )
        )
        process = await asyncio.create_subprocess_exec(
            *(program, "--headless", "--no-remote", "--profile", profile),
            f"--remote-debugging-port={port}",
            "about:blank",
            env={**os.environ, "HOME": profile, "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with aiohttp.ClientSession() as http:
                async with asyncio.timeout(60):
                    socket = await _connected(http, port)
                page = Firefox(socket)
                await page.open(url)
                yield page
                await socket.close()
        finally:
            # Its content processes are its group.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _connected(http: aiohttp.ClientSession, port: int) -> aiohttp.ClientWebSocketResponse:
    while True:
        try:
            return await http.ws_connect(f"ws://127.0.0.1:{port}/session", max_msg_size=0)
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.1)
