import os
import subprocess
import sys

import pytest

from loadtest import processes


@pytest.fixture
def child():
    """A process that only waits for its input to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_child_is_listed_until_it_has_ended(child):
    assert "input()" in processes.children(os.getpid())[child.pid]
    assert processes.alive(child.pid)
    child.kill()
    child.wait()
    assert child.pid not in processes.children(os.getpid())
    assert not processes.alive(child.pid)


def test_a_zombie_counts_as_ended(child):
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    assert child.pid not in processes.children(os.getpid())
    assert not processes.alive(child.pid)


def test_work_shows_in_cpu_time():
    before = processes.cpu_seconds(os.getpid())
    sum(n * n for n in range(500_000))
    assert before < processes.cpu_seconds(os.getpid()) < before + 60


def test_memory_shows_in_resident_bytes():
    before = processes.resident_bytes(os.getpid())
    block = bytearray(os.urandom(1 << 24))
    assert processes.resident_bytes(os.getpid()) - before > 1 << 23
    del block


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:01.50", 1.5), ("12:00.00", 720), ("01:00:02", 3_602), ("2-01:00:00", 176_400)],
)
def test_the_clock_of_ps_is_read(text, seconds):
    assert processes._ps_seconds(text) == seconds
