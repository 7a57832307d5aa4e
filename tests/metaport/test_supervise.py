import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from metaport import supervise, tls
from metaport.config import load_config
from metaport.supervise import Child, Supervisor

# Stand-ins for the hub and the SFU: they tell what happens to them in a file they share.
OBEDIENT = """
import os, signal, sys
def tell(what):
    with open(sys.argv[2], "a") as file:
        file.write(f"{sys.argv[1]} {what} {os.getpid()}\\n")
def stop(*_):
    tell("stopped")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
tell("started")
while True:
    signal.pause()
"""
STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[2], "a") as file:
    file.write(f"{sys.argv[1]} started {os.getpid()}\\n")
while True:
    signal.pause()
"""


class Stage:
    """What the stand-ins told so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def child(self, name: str, script: str = OBEDIENT) -> Child:
        async def ready() -> bool:
            return bool(self.pids(name))

        argv = [sys.executable, "-S", "-c", script, name, str(self.path)]
        return Child(name, argv, ready)

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for who, what, pid in self.lines() if (who, what) == (name, "started")]

    def stopped(self) -> list[str]:
        return [who for who, what, _ in self.lines() if what == "stopped"]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "told")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what other processes do sets no event
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def supervised(
    *children: Child, drain_s: float = 5.0
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[int]]]:
    """Run a supervisor until its children answered; whatever happens, it ends."""
    ready = asyncio.Event()
    supervisor = Supervisor(children, drain_s=drain_s, on_ready=lambda _: ready.set())
    run_task = asyncio.create_task(supervisor.run())
    ready_task = asyncio.create_task(ready.wait())
    try:
        async with asyncio.timeout(10):
            await asyncio.wait((run_task, ready_task), return_when=asyncio.FIRST_COMPLETED)
        yield supervisor, run_task
    finally:
        ready_task.cancel()
        supervisor.stop()
        supervisor.stop()
        await run_task


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_children_start_together_and_stop_last_first(stage: Stage) -> None:
    async with supervised(stage.child("hub"), stage.child("sfu")) as (supervisor, run_task):
        pids = stage.pids("hub") + stage.pids("sfu")
        supervisor.stop()
        assert await run_task == 0
    assert stage.stopped() == ["sfu", "hub"]
    assert not any(alive(pid) for pid in pids)


async def test_children_of_a_kind_stop_together(stage: Stage) -> None:
    """One after the other, each would have moved its people to the next to end."""
    names = ("hub", "sfu", "sfu-1")
    children = [stage.child("hub"), stage.child("sfu"), stage.child("sfu-1", STUBBORN)]
    async with supervised(*children, drain_s=1.0) as (supervisor, run_task):
        await until(lambda: all(stage.pids(name) for name in names))
        supervisor.stop()
        await until(lambda: "sfu" in stage.stopped())
        supervisor.stop()
        await run_task


async def test_a_child_that_was_asked_to_end_is_started_again_without_a_complaint(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with supervised(stage.child("hub"), stage.child("sfu")):
            os.kill(stage.pids("sfu")[0], signal.SIGTERM)
            await until(lambda: len(stage.pids("sfu")) == 2)
    told = [r for r in caplog.records if "ended (exit code 0)" in r.getMessage()]
    assert [r.levelname for r in told] == ["INFO"]


async def test_a_killed_child_comes_back_and_the_other_notices_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(stage.child("hub"), stage.child("sfu")) as (supervisor, run_task):
        os.kill(stage.pids("hub")[0], signal.SIGKILL)
        began = time.monotonic()
        await until(lambda: len(stage.pids("hub")) == 2)
        assert time.monotonic() - began < 2
        assert len(stage.pids("sfu")) == 1
        supervisor.stop()
        assert await run_task == 0
    assert "hub ended (SIGKILL)" in caplog.text


async def test_a_child_that_keeps_dying_is_started_less_and_less_often(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Child("hub", [sys.executable, "-S", "-c", "raise SystemExit(3)"], never)
    supervisor = Supervisor([failing], drain_s=1)
    run_task = asyncio.create_task(supervisor.run())
    await until(lambda: caplog.text.count("ended (exit code 3)") == 3)
    supervisor.stop()
    assert await run_task == 0
    assert [text in caplog.text for text in ("again in 0.1 s", "in 0.2 s", "in 0.4 s")] == [
        True
    ] * 3


async def never() -> bool:
    return False


async def test_a_child_that_refuses_its_configuration_ends_everything(stage: Stage) -> None:
    refusing = Child("sfu", [sys.executable, "-S", "-c", "raise SystemExit(2)"], never)
    supervisor = Supervisor([stage.child("hub"), refusing], drain_s=5)
    async with asyncio.timeout(10):
        assert await supervisor.run() == 2
    assert not any(alive(pid) for pid in stage.pids("hub"))


async def test_a_child_that_has_served_is_started_again_whatever_its_exit_code(
    stage: Stage,
) -> None:
    """Someone who takes its port meanwhile must not end the other process too."""
    script = OBEDIENT.replace('tell("stopped")\n    os._exit(0)', "os._exit(2)")
    async with supervised(stage.child("hub", script)) as (supervisor, run_task):
        os.kill(stage.pids("hub")[0], signal.SIGTERM)
        await until(lambda: len(stage.pids("hub")) == 2)
        supervisor.stop()
        assert await run_task == 0


async def test_a_child_that_does_not_end_in_time_is_killed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(stage.child("hub"), stage.child("sfu", STUBBORN), drain_s=0.2) as (
        supervisor,
        run_task,
    ):
        began = time.monotonic()
        supervisor.stop()
        assert await run_task == 0
        assert time.monotonic() - began < 0.2 + supervise.KILL_GRACE_S + 1
    assert stage.stopped() == ["hub"]
    assert "sfu did not end in time; killed" in caplog.text
    assert not alive(stage.pids("sfu")[0])


async def test_a_second_signal_kills_at_once(stage: Stage) -> None:
    async with supervised(stage.child("hub", STUBBORN), drain_s=600) as (supervisor, run_task):
        supervisor.stop()
        supervisor.stop()
        async with asyncio.timeout(5):
            assert await run_task == 0
    assert not alive(stage.pids("hub")[0])


async def test_a_stop_before_the_children_answer_announces_nothing(stage: Stage) -> None:
    announced: list[float] = []
    silent = Child("sfu", stage.child("sfu").argv, never)
    supervisor = Supervisor([stage.child("hub"), silent], drain_s=5, on_ready=announced.append)
    run_task = asyncio.create_task(supervisor.run())
    await until(lambda: stage.pids("hub") and stage.pids("sfu"))
    supervisor.stop()
    assert await run_task == 0
    assert announced == []
    assert sorted(stage.stopped()) == ["hub", "sfu"]


SUPERVISED_CHILD = """
import signal, sys
from metaport.supervise import end_with_supervisor
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_supervisor()
with open(sys.argv[1], "w") as fifo:
    fifo.write("alive")
    fifo.flush()
    while True:
        signal.pause()
"""
SUPERVISING = """
import asyncio, sys
from metaport.supervise import Child, Supervisor
async def never(): return False
child = Child("hub", [sys.executable, "-c", sys.argv[1], sys.argv[2]], never)
asyncio.run(Supervisor([child], drain_s=1).run())
"""


def test_a_child_ends_with_its_supervisor_even_after_kill_9(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    parent = subprocess.Popen([sys.executable, "-c", SUPERVISING, SUPERVISED_CHILD, fifo])
    with fifo.open() as file:
        assert file.read(5) == "alive"
        parent.kill()
        parent.wait()
        assert file.read() == ""  # the child has ended and its end of the pipe is closed


# Answers


@contextlib.asynccontextmanager
async def answering(status: int, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answer /readyz like a hub; yield the port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/readyz", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
async def test_a_hub_is_ready_when_it_says_so(tmp_path: Path, status: int, ready: bool) -> None:
    async with answering(status) as port:
        config = load_config(environ={"METAPORT_HTTP_PORT": str(port)})
        assert await supervise.answers(config) is ready
    assert await supervise.answers(config) is False


async def test_a_hub_behind_its_own_certificate_is_ready_too(tmp_path: Path) -> None:
    environ = {"METAPORT_HTTP_TLS": "auto", "METAPORT_DATA_DIR": str(tmp_path)}
    context = tls.server_context(load_config(environ=environ))
    async with answering(200, context) as port:
        config = load_config(environ=environ | {"METAPORT_HTTP_PORT": str(port)})
        assert await supervise.answers(config)


async def test_an_sfu_is_ready_when_its_control_socket_listens(tmp_path: Path) -> None:
    path = tmp_path / "sfu.sock"
    assert not await supervise.listens(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert not await supervise.listens(path)
        listening.listen()
        assert await supervise.listens(path)
    assert not await supervise.listens(path)


# The banner


def test_the_banner_tells_where_and_once_how_to_sign_in(tmp_path: Path) -> None:
    config = load_config(environ={"METAPORT_DATA_DIR": str(tmp_path)})
    english = supervise.banner(config, "en", 1.23, "abcd-efgh")
    assert "ready (1.2 s)" in english
    assert "http://127.0.0.1:8080/\n" in english
    assert "http://127.0.0.1:8080/console\n" in english
    assert "password  abcd-efgh" in english
    korean = supervise.banner(config, "ko", 1.23, "abcd-efgh")
    assert "준비 완료 (1.2초)" in korean
    assert "비밀번호  abcd-efgh" in korean
    for lang in ("ko", "en"):
        later = supervise.banner(config, lang, 1.23, None)
        assert "admin" not in later
        assert "http://127.0.0.1:8080/console\n" in later


def test_the_banner_of_the_office_network_tells_how_to_trust(tmp_path: Path) -> None:
    environ = {"METAPORT_DATA_DIR": str(tmp_path), "METAPORT_HTTP_TLS": "auto"}
    shown = supervise.banner(load_config(environ=environ), "en", 1, None)
    assert "https://127.0.0.1:8080/\n" in shown
    assert "metaport tls trust" in shown


# `metaport run` that cannot start


def run(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a clean environment, on ports that are free unless told otherwise."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("METAPORT_")}
    ports = {"METAPORT_HTTP_PORT": "1", "METAPORT_MEDIA_PORT": "1"}
    return subprocess.run(
        [sys.executable, "-m", "metaport", "run", *arguments],
        cwd=tmp_path,
        env=clean | ports | {"METAPORT_DATA_DIR": "data", "LC_ALL": "C.UTF-8"} | environ,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence of a command that was refused."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("kind", "variable", "key"),
    [
        (socket.SOCK_STREAM, "METAPORT_HTTP_PORT", "http.port"),
        (socket.SOCK_DGRAM, "METAPORT_MEDIA_PORT", "media.port"),
    ],
)
def test_a_taken_port_is_one_sentence_with_its_key(
    tmp_path: Path, kind: socket.SocketKind, variable: str, key: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken, free(socket.SOCK_STREAM) as http:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        given = {"METAPORT_HTTP_PORT": str(http), variable: str(port)}
        if key == "http.port":
            given["METAPORT_MEDIA_PORT"] = str(http)
        english = told(run(tmp_path, **given))
        korean = told(run(tmp_path, "--lang", "ko", **given))
    transport = "tcp" if key == "http.port" else "udp"
    assert english.startswith(f"metaport: {key}: {transport} port {port} is already taken on ")
    assert korean.startswith(f"metaport: {key}: {transport} {port} 포트를 이미 쓰고 있습니다")
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in english


@contextlib.contextmanager
def free(kind: socket.SocketKind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield port


def test_an_unwritable_data_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    sentence = told(run(tmp_path))
    assert sentence == f"metaport: data.dir: cannot write to {tmp_path}/data: File exists"
    sentence = told(run(tmp_path, METAPORT_DATA_DIR="data/below", LC_ALL="ko_KR.UTF-8"))
    assert sentence.startswith(f"metaport: data.dir: {tmp_path}/data/below – 쓸 수 없습니다: ")


def test_a_data_directory_too_long_for_a_socket_is_one_sentence(tmp_path: Path) -> None:
    sentence = told(run(tmp_path, METAPORT_DATA_DIR="d" * 100))
    assert "too long for a Unix socket" in sentence


def test_a_wrong_key_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "metaport.toml").write_text("[http]\nprot = 80\n")
    assert told(run(tmp_path)) == (
        "metaport: http.prot: unknown key; did you mean http.port? (metaport.toml)"
    )


def test_a_data_directory_in_use_is_one_sentence_with_the_pid(tmp_path: Path) -> None:
    (tmp_path / "data" / "run").mkdir(parents=True)
    with (tmp_path / "data" / "run" / "metaport.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711\n")
        file.flush()
        sentence = told(run(tmp_path))
    assert sentence == (
        f"metaport: data.dir: {tmp_path}/data is in use by another metaport (pid 4711)"
    )
