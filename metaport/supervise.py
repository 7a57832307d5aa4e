"""`metaport run`: the hub and the SFUs as children, restarted when they die, drained at the end.

1. `preflight.problems` finds what would fail, before anything is started.
2. The token key and the local certificate are made where they are missing.
3. All children start at once; when each of them answers, the first admin is made where there is
   none, and the banner is printed.
4. A child that dies comes back after a delay that doubles from 0.1 s to 5 s.
5. SIGUSR1 starts the hubs again one by one, each when the one before serves again.
6. SIGTERM or SIGINT drains the children, the SFUs first so that the hub still ships their last
   figures; what is left after `drain_s` is killed. A second signal kills at once.

**No child outlives its supervisor**: each holds the reading end of a pipe (its standard input)
that only the supervisor holds open, and ends when it closes, also after `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from metaport import __version__, admin, logs, preflight, secret_files
from metaport.config import Config, Problem
from metaport.language import Lang, Say
from metaport.node import hub_nodes
from metaport.sfu_process import sfu_processes

logger = logging.getLogger(__name__)

DONE, MISUSED = 0, 2
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 5.0
SETTLED_S = 10.0  # a child that lived this long starts over with the first delay
PROBE_INTERVAL_S = 0.02
PROBE_TIMEOUT_S = 2.0
KILL_GRACE_S = 1.0  # between the drain the children were promised and the kill
SLOW_START_S = 15.0

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Child:
    """Describe one process: how to start it and how to see that it serves."""

    name: str
    argv: Sequence[str]
    ready: Probe


class _Running:
    """One child over all its lives."""

    def __init__(self, child: Child) -> None:
        self.child = child
        # `sfu` of the second SFU process, `sfu-1`: those of a kind stop together.
        self.kind = child.name.partition("-")[0]
        self.process: asyncio.subprocess.Process | None = None  # None between two lives
        self.delay_s = FIRST_DELAY_S
        self.served = False  # it has answered once, so its configuration is good


class Supervisor:
    """Keep children running until told to stop."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        drain_s: float,
        on_ready: Callable[[float], None] = lambda _: None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._running = [_Running(child) for child in children]
        self._drain_s = drain_s
        self._on_ready = on_ready  # told once, with the seconds it took
        self._environment = environment
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._exit_code = DONE
        self._renew_task: asyncio.Task[None] | None = None  # None: never asked; ended by `run`

    def stop(self) -> None:
        """Begin the drain; a second call ends it with a kill."""
        if self._stop.is_set():
            self._kill.set()
        self._stop.set()

    def renew(self) -> None:
        """Start the hubs again one by one, each when the one before serves; not twice at once."""
        if self._renew_task is None or self._renew_task.done():
            self._renew_task = asyncio.create_task(self._renew(), name="renew")

    async def run(self) -> int:
        """Run until `stop`, or until a child refuses its configuration; return the exit code."""
        tasks = [
            asyncio.create_task(self._keep(running), name=f"keep {running.child.name}")
            for running in self._running
        ]
        announce_task = asyncio.create_task(self._announce(), name="announce")
        try:
            await self._stop.wait()
            announce_task.cancel()  # what stops is not ready any more
            if self._renew_task is not None:
                self._renew_task.cancel()
            await self._drain()
        finally:
            tasks += [task for task in (announce_task, self._renew_task) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for running in self._running:
                _signal(running, signal.SIGKILL)
        return self._exit_code

    async def _keep(self, running: _Running) -> None:
        """Start a child again and again; ends when a stop is under way."""
        name = running.child.name
        while not self._stop.is_set():
            began = time.monotonic()
            process = running.process = await self._spawn(running.child)
            logger.info("%s started (pid %d)", name, process.pid)
            if self._stop.is_set():  # meanwhile
                _signal(running, signal.SIGTERM)
            code = await process.wait()
            running.process = None
            if self._stop.is_set():
                return
            if code == MISUSED and not running.served:
                self._exit_code = MISUSED  # the child has said why
                self._stop.set()
                return
            lived_s = time.monotonic() - began
            if lived_s >= SETTLED_S:
                running.delay_s = FIRST_DELAY_S
            # Somebody let it drain and end, to be started anew: nothing went wrong.
            asked = code == DONE and running.served
            logger.log(
                logging.INFO if asked else logging.ERROR,
                "%s ended (%s) after %.1f s; starting it again in %.1f s",
                name, _how(code), lived_s, running.delay_s,
            )  # fmt: skip
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), running.delay_s)
            running.delay_s = min(LAST_DELAY_S, running.delay_s * 2)

    async def _renew(self) -> None:
        for running in [each for each in self._running if each.kind == "hub"]:
            before = running.process
            logger.info("%s drains, to be started again", running.child.name)
            _signal(running, signal.SIGTERM)
            try:
                async with asyncio.timeout(self._drain_s + KILL_GRACE_S):
                    if before is not None:
                        await before.wait()
            except TimeoutError:
                logger.warning("%s did not drain in time; killed", running.child.name)
                _signal(running, signal.SIGKILL)
            await self._serves_again(running, before)
        logger.info("all hubs are new")

    async def _serves_again(
        self, running: _Running, before: asyncio.subprocess.Process | None
    ) -> None:
        while True:
            if running.process not in (None, before) and await running.child.ready():
                return
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *child.argv,
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
            process_group=0,  # a terminal's Ctrl-C reaches the supervisor alone
        )

    async def _announce(self) -> None:
        """Wait for every child to answer, once."""
        began = time.monotonic()
        waiting = {running.child.name: running for running in self._running}
        told = False
        while waiting:
            for name, running in list(waiting.items()):
                if running.process is not None and await running.child.ready():
                    running.served = True
                    del waiting[name]
            waited_s = time.monotonic() - began
            if waiting and not told and waited_s > SLOW_START_S:
                told = True
                logger.warning("still waiting for %s after %.0f s", ", ".join(waiting), waited_s)
            if waiting:
                await asyncio.sleep(PROBE_INTERVAL_S)
        self._on_ready(time.monotonic() - began)

    async def _drain(self) -> None:
        """Stop the children, the last kind first, within the time promised."""
        deadline = time.monotonic() + self._drain_s + KILL_GRACE_S
        kinds = len({running.kind for running in self._running})
        share_s = self._drain_s / (kinds + 1)
        gone_task = asyncio.create_task(self._drain_in_turn(share_s), name="drain")
        kill_task = asyncio.create_task(self._kill.wait(), name="kill")
        await asyncio.wait(
            (gone_task, kill_task),
            timeout=deadline - time.monotonic(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in (gone_task, kill_task):
            task.cancel()
        for running in self._running:
            if running.process is not None:
                logger.warning("%s did not end in time; killed", running.child.name)
                _signal(running, signal.SIGKILL)
        await asyncio.gather(*(_ended(running) for running in self._running))

    async def _drain_in_turn(self, share_s: float) -> None:
        for _, kind in groupby(reversed(self._running), key=lambda running: running.kind):
            together = list(kind)
            for running in together:
                _signal(running, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_all_ended(together), share_s)
        await asyncio.gather(*(_ended(running) for running in self._running))


async def _all_ended(together: Sequence[_Running]) -> None:
    for running in together:
        await _ended(running)


async def _ended(running: _Running) -> None:
    if running.process is not None:
        await running.process.wait()
        running.process = None


def _signal(running: _Running, number: signal.Signals) -> None:
    if running.process is not None:
        with contextlib.suppress(ProcessLookupError):
            running.process.send_signal(number)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def end_with_supervisor(descriptor: int = 0) -> None:
    """End this process as soon as the supervisor's end of the pipe `descriptor` is closed."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(descriptor, 64):
                pass
        os._exit(1)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()


def run(config: Config, config_file: Path | None, lang: Lang) -> int:
    """Run the whole server until a signal; return the exit code."""
    logs.setup("run", level=config.log.level, style=config.log.format)
    with contextlib.ExitStack() as stack:
        data_problems = list(preflight.data_problems(config))
        if data_problems:
            return _refuse(data_problems, lang)
        holder = stack.enter_context(_hold(config.data.dir / "run" / "metaport.lock"))
        if holder:
            return _refuse([_held(config, holder)], lang)
        if found := preflight.problems(config):
            return _refuse(found, lang)
        try:
            prepare(config)
        except (OSError, ValueError) as error:
            return _refuse([preflight.unkept(config, error)], lang)
        return asyncio.run(_supervise(config, config_file, lang))


def prepare(config: Config) -> None:
    """Make what both children read, so that they need not agree who makes it.

    Raises `OSError`, `ValueError`.
    """
    secret_files.signing_secret(config.token.secret, config.secrets_dir)
    if config.http.tls == "auto":
        from metaport import tls  # noqa: PLC0415 - cryptography takes 0.1 s to import

        tls.ensure(config.data.dir / "tls")


async def _supervise(config: Config, config_file: Path | None, lang: Lang) -> int:
    def announce(took_s: float) -> None:
        # Only now: a password made before a start that fails would never be seen.
        try:
            password = admin.create(config.secrets_dir)
        except OSError as error:
            password = None
            logger.error("no first admin: %s", preflight.unkept(config, error).to(lang))
        print(banner(config, lang, took_s, password), flush=True)

    if config.bench:
        logger.warning("profile bench: rate limits are lifted, nothing else")
    supervisor = Supervisor(
        children(config, config_file, lang),
        drain_s=config.drain_s,
        on_ready=announce,
        environment=os.environ | {"METAPORT_HTTP_TLS": config.http.tls},
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
            loop.add_signal_handler(number, _asked_to_stop, supervisor, number, config.drain_s)
    loop.add_signal_handler(signal.SIGUSR1, supervisor.renew)
    exit_code = await supervisor.run()
    logger.info("stopped")
    return exit_code


def _asked_to_stop(supervisor: Supervisor, number: signal.Signals, drain_s: float) -> None:
    logger.info("%s: draining for up to %g s; again to stop at once", number.name, drain_s)
    supervisor.stop()


def children(config: Config, config_file: Path | None, lang: Lang) -> list[Child]:
    """Describe the hubs and the SFUs of this installation."""
    common = ["--supervised", "--lang", lang]
    if config_file is not None:
        common += ["--config", str(config_file.absolute())]
    python = [sys.executable, "-m", "metaport"]
    return [
        *(
            Child(
                hub.process,
                [*python, "hub", *(["--process", str(hub.number)] if hub.number else []), *common],
                partial(answers, config, hub.socket if config.hub.processes > 1 else None),
            )
            for hub in hub_nodes(config)
        ),
        *(
            Child(
                sfu.name,
                [*python, "sfu", *(["--process", str(sfu.number)] if sfu.number else []), *common],
                partial(listens, sfu.control_path),
            )
            for sfu in sfu_processes(config)
        ),
    ]


async def answers(config: Config, path: Path | None = None) -> bool:
    """Tell whether the hub says at /readyz that it can serve; one of several has a socket."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.http.host, config.http.host)
    context = None
    if config.http.tls != "off":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it is our own child: nothing to prove
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            if path is not None:
                reader, writer = await asyncio.open_unix_connection(path)
            else:
                reader, writer = await asyncio.open_connection(host, config.http.port, ssl=context)
            with contextlib.closing(writer):
                writer.write(
                    b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                return (await reader.readline()).split()[1:2] == [b"200"]
    except (OSError, TimeoutError):
        return False


async def listens(path: Path) -> bool:
    """Tell whether a process listens on a Unix socket."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def banner(config: Config, lang: Lang, took_s: float, password: str | None) -> str:
    """Tell where the server is, and once how the first admin signs in."""

    def say(ko: str, en: str) -> str:
        return Say(ko, en).to(lang)

    page = config.page_url
    lines = [
        "",
        say(f"Metaport Chat {__version__} 준비 완료 ({took_s:.1f}초)",
            f"Metaport Chat {__version__} is ready ({took_s:.1f} s)"),
        "",
        say(f"  체험 화면   {page}", f"  Demo page   {page}"),
        say(f"  관리 화면   {page}console", f"  Console     {page}console"),
    ]  # fmt: skip
    if config.http.tls == "auto":
        lines += [
            say(f"  사무실 망   {url}", f"  Office      {url}") for url in _office_urls(config)
        ]
        lines.append(say("  인증서 신뢰 metaport tls trust", "  Trust it    metaport tls trust"))
    lines.append(say(f"  데이터      {config.data.dir}", f"  Data        {config.data.dir}"))
    if password is not None:
        lines += [
            "",
            say("  첫 관리자 로그인 (지금 한 번만 보여 드립니다. 잊으면 metaport admin password)",
                "  First admin (shown this once; if lost: metaport admin password)"),
            say(f"    사용자    {admin.USER}", f"    user      {admin.USER}"),
            say(f"    비밀번호  {password}", f"    password  {password}"),
        ]  # fmt: skip
    lines += ["", say("  끝내려면 Ctrl-C", "  Press Ctrl-C to stop"), ""]
    return "\n".join(lines)


def _office_urls(config: Config) -> Iterator[str]:
    from metaport import tls  # noqa: PLC0415

    if config.http.host in ("0.0.0.0", "::"):
        for address in tls.machine_addresses():
            if address.version == 4 and not address.is_loopback:
                yield f"https://{address}:{config.http.port}/"


def _refuse(problems: Sequence[Problem], lang: Lang) -> int:
    for problem in problems:
        print(f"metaport: {problem.to(lang)}", file=sys.stderr)
    return MISUSED


def _held(config: Config, holder: str) -> Problem:
    directory = config.data.dir
    return Problem(
        "data.dir",
        Say(
            f"{directory} – 이미 다른 metaport가 쓰고 있습니다 (pid {holder})",
            f"{directory} is in use by another metaport (pid {holder})",
        ),
    )


@contextlib.contextmanager
def _hold(path: Path) -> Iterator[str]:
    """Hold the data directory for one supervisor; yield the pid of another that holds it."""
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "?"
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield ""
