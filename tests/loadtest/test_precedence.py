import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import precedence

GROUP = Path("/proc/self/autogroup")


def run_apart(program):
    """Run a program in a session of its own: nothing here may weigh on the tests' one."""
    return subprocess.run(
        [sys.executable, "-c", program],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_what_is_measured_goes_first_and_only_for_that_time():
    told = run_apart(
        "from loadtest import precedence as p\n"
        "with p.taken() as first: print(first, p.told().replace(' ', '-'))\n"
        "print(p.told().replace(' ', '-'))"
    )
    allowed = os.geteuid() == 0 and GROUP.exists()
    within = ["True", "first-on-its-cores"] if allowed else ["False", "like-any-other"]
    assert told == [*within, "like-any-other"]


def test_a_started_server_goes_first_while_its_measurer_does():
    told = run_apart(
        "import subprocess\n"
        "from pathlib import Path\n"
        "from loadtest import precedence as p\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "group = Path(f'/proc/{child.pid}/autogroup')\n"
        "def nice(): return group.read_text().split()[-1] if group.exists() else 0\n"
        "p.share(child.pid); print(nice())\n"
        "with p.taken() as first: p.share(child.pid)\n"
        "print(nice() if first else 0)\n"
        "child.kill()"
    )
    allowed = os.geteuid() == 0 and GROUP.exists()
    assert told == ["0", str(precedence.FIRST) if allowed else "0"]


@pytest.mark.parametrize("fault", [FileNotFoundError, PermissionError, BlockingIOError])
def test_a_system_that_does_not_allow_it_is_left_alone(monkeypatch, fault):
    def refuse(*_, **__):
        raise fault

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    with precedence.taken() as first:
        assert not first
        assert precedence.told() == "like any other"
