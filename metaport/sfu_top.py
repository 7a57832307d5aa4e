"""`metaport sfu top`: how everybody's media is doing, once a second, in a terminal.

`Watch` asks the SFUs of this machine, `sfu_screen` lays the answers out, `run` draws them.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator

from metaport.config import Config
from metaport.language import Lang
from metaport.sfu_link import SfuAway, SfuLink
from metaport.sfu_process import sfu_processes
from metaport.sfu_screen import PLAIN, Sfu, screen
from sfu.control import ControlClient, ControlError

DONE, WRONG = 0, 1
EVERY_S = 1.0
CONNECT_S = 1.0

ENTER, EXIT, HOME, CLEAR_LINE, CLEAR_REST = (
    "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[K", "\x1b[J",
)  # fmt: skip


class Watch:
    """Asks the SFUs of this machine again and again."""

    def __init__(self, config: Config, room: str | None) -> None:
        self._links = [
            SfuLink(sfu.name, ControlClient(sfu.control_path)) for sfu in sfu_processes(config)
        ]
        self._room = room
        self._before: dict[str, tuple[float, int, int]] = {}

    async def start(self) -> None:
        """Connect to those that are there."""
        for link in self._links:
            await link.client.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await asyncio.gather(*(link.client.wait_connected() for link in self._links))

    async def close(self) -> None:
        """Disconnect."""
        for link in self._links:
            await link.client.close()

    async def look(self) -> list[Sfu]:
        """Ask all of them."""
        return list(await asyncio.gather(*map(self._look_at, self._links)))

    async def _look_at(self, link: SfuLink) -> Sfu:
        try:
            stats, load, found = await asyncio.gather(
                link.request("stats"),
                link.request("load"),
                link.request("diagnose", room=self._room),
            )
        except (SfuAway, ControlError):
            self._before.pop(link.name, None)
            return Sfu(link.name, None)
        sfu = Sfu(link.name, stats, load, found["rooms"])
        now, received, sent = time.monotonic(), stats["packets_in"], stats["packets_forwarded"]
        at, received_before, sent_before = self._before.get(link.name, (now, received, sent))
        if now > at:
            sfu.packets_in_per_s = max(0, received - received_before) / (now - at)
            sfu.packets_out_per_s = max(0, sent - sent_before) / (now - at)
        self._before[link.name] = now, received, sent
        return sfu


def run(config: Config, lang: Lang, *, room: str | None, once: bool, as_json: bool) -> int:
    """Show the SFUs until somebody presses q, or once; returns the exit code."""
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_run(config, lang, room, once or as_json, as_json))
    return DONE


async def _run(config: Config, lang: Lang, room: str | None, once: bool, as_json: bool) -> int:
    watch = Watch(config, room)
    await watch.start()
    try:
        if once or not sys.stdout.isatty():
            return await _show_once(watch, lang, as_json)
        await _show(watch, lang)
    finally:
        await watch.close()
    return DONE


async def _show_once(watch: Watch, lang: Lang, as_json: bool) -> int:
    await watch.look()  # bitrates are measured between two looks
    await asyncio.sleep(EVERY_S)
    sfus = await watch.look()
    if as_json:
        listed = [
            {"sfu": sfu.name, "stats": sfu.stats, "load": sfu.load, "rooms": sfu.rooms}
            for sfu in sfus
        ]
        print(json.dumps(listed, ensure_ascii=False))
    else:
        print("\n".join(line.text for line in screen(sfus, lang, at=_now())[1:]))
    return DONE if any(sfu.stats is not None for sfu in sfus) else WRONG


async def _show(watch: Watch, lang: Lang) -> None:
    quitting = asyncio.Event()
    with _raw(quitting):
        while not quitting.is_set():
            sfus = await watch.look()
            size = shutil.get_terminal_size()
            lines = screen(sfus, lang, columns=size.columns, rows=size.lines, at=_now())
            drawn = "\r\n".join(f"{each.light}{each.text}{PLAIN}{CLEAR_LINE}" for each in lines)
            sys.stdout.write(f"{HOME}{drawn}{CLEAR_REST}")
            sys.stdout.flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(quitting.wait(), EVERY_S)


@contextlib.contextmanager
def _raw(quitting: asyncio.Event) -> Iterator[None]:
    """Take single keys, and give the terminal back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def pressed() -> None:
        if set(os.read(descriptor, 64)) & set(b"qQ\x03\x1b"):
            quitting.set()

    tty.setcbreak(descriptor)
    sys.stdout.write(ENTER)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        sys.stdout.write(EXIT)
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _now() -> str:
    return time.strftime("%H:%M:%S")
