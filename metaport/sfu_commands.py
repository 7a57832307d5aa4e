"""`metaport sfu drain | admit | restart`: the operator's hand on the SFUs of this machine.

1. `drain` has an SFU admit nobody and waits until the hubs have moved everybody elsewhere.
2. `restart` does that with one SFU after the other, has each end, and waits until the supervisor
   has started it anew and the hubs are back, before the next.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

from metaport.config import Config
from metaport.language import Lang, Say
from metaport.sfu_link import SfuAway, SfuLink
from metaport.sfu_process import SfuProcess, sfu_processes
from sfu.control import ControlClient, ControlError

DONE, WRONG, MISUSED = 0, 1, 2
LOOK_S = 0.1
CONNECT_S = 3.0
# The supervisor starts a process again after 0.1 s; a busy machine takes a few seconds.
RETURN_S = 30.0


class SfuCommandError(Exception):
    """The command could not be carried out; in the operator's words."""

    def __init__(self, say: Say) -> None:
        super().__init__(say.en)
        self.say = say


class Operator:
    """Carries out commands on SFUs and tells how far they are."""

    def __init__(self, config: Config, lang: Lang, timeout_s: float) -> None:
        self._config = config
        self._lang = lang
        self._timeout_s = timeout_s

    async def drain(self, sfu: SfuProcess) -> None:
        """Empty an SFU. Raises `SfuCommandError`: it is away, or people are left in time."""
        async with self._connected(sfu) as link:
            await link.request("drain")
            await self._empty(sfu, link)
        self._tell(sfu, "비었습니다. 새 방을 받지 않습니다", "is empty and admits nobody")

    async def admit(self, sfu: SfuProcess) -> None:
        """Let an SFU take rooms again. Raises `SfuCommandError`."""
        async with self._connected(sfu) as link:
            await link.request("admit")
        self._tell(sfu, "다시 방을 받습니다", "admits people again")

    async def restart(self, sfu: SfuProcess) -> None:
        """Empty an SFU, let it end, and wait for its next life. Raises `SfuCommandError`."""
        async with self._connected(sfu) as link:
            hubs = (await link.request("load"))["hubs"]
            ended = asyncio.Event()
            link.client.on_lost = ended.set
            await link.request("drain")
            await self._empty(sfu, link)
            await link.request("drain", stop=True)
            with self._within(RETURN_S, sfu):
                async with asyncio.timeout(RETURN_S):
                    await ended.wait()
                    await link.client.wait_connected()
                    while (await link.request("load"))["hubs"] < hubs:  # noqa: ASYNC110 - polled
                        await asyncio.sleep(LOOK_S)
        self._tell(sfu, "다시 시작했습니다", "was started again")

    async def _empty(self, sfu: SfuProcess, link: SfuLink) -> None:
        told = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                while left := (await link.request("load"))["participants"]:
                    if left != told:
                        self._tell(sfu, f"{left}명을 옮기는 중", f"has {left} people to move")
                    told = left
                    await asyncio.sleep(LOOK_S)
                return
        raise SfuCommandError(
            Say(
                f"{sfu.name}: {self._timeout_s:g}초 안에 {told}명이 남았습니다",
                f"{sfu.name}: {told} people are left after {self._timeout_s:g} s",
            )
        )

    @asynccontextmanager
    async def _connected(self, sfu: SfuProcess) -> AsyncIterator[SfuLink]:
        client = ControlClient(sfu.control_path)
        await client.start()
        try:
            with self._within(CONNECT_S, sfu):
                async with asyncio.timeout(CONNECT_S):
                    await client.wait_connected()
            yield SfuLink(sfu.name, client)
        except (SfuAway, ControlError) as error:
            reason = str(error)
            raise SfuCommandError(
                Say(f"{sfu.name}: 응답이 없습니다 ({reason})", f"{sfu.name} went away ({reason})")
            ) from None
        finally:
            await client.close()

    @contextlib.contextmanager
    def _within(self, seconds: float, sfu: SfuProcess) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise SfuCommandError(
                Say(
                    f"{sfu.name}: {seconds:g}초 동안 응답이 없습니다",
                    f"{sfu.name} did not answer for {seconds:g} s",
                )
            ) from None

    def _tell(self, sfu: SfuProcess, ko: str, en: str) -> None:
        print(f"{sfu.name}: {ko}" if self._lang == "ko" else f"{sfu.name} {en}", flush=True)


def run(config: Config, lang: Lang, verb: str, numbers: Sequence[int], timeout_s: float) -> int:
    """Carry out one command on the SFUs named, or all; returns the exit code."""
    sfus = sfu_processes(config)
    unknown = [number for number in numbers if not 0 <= number < len(sfus)]
    if unknown:
        say = Say(
            f"{unknown[0]} – 없는 번호입니다 (0–{len(sfus) - 1})",
            f"{unknown[0]} is no SFU of this machine (0–{len(sfus) - 1})",
        )
        print(f"metaport: {say.to(lang)}", file=sys.stderr)
        return MISUSED
    operator = Operator(config, lang, timeout_s)
    act: Callable[[SfuProcess], Awaitable[None]] = getattr(operator, verb)
    try:
        asyncio.run(_each([sfus[number] for number in numbers] or sfus, act))
    except SfuCommandError as error:
        print(f"metaport: {error.say.to(lang)}", file=sys.stderr)
        return WRONG
    return DONE


async def _each(sfus: Sequence[SfuProcess], act: Callable[[SfuProcess], Awaitable[None]]) -> None:
    for sfu in sfus:
        await act(sfu)
