"""The JavaScript SDK's own tests, by Node's test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

SDK = Path(__file__).parents[2] / "clients" / "js"


def test_the_sdk_passes_its_tests():
    node = shutil.which("node")
    if node is None:
        pytest.fail("node is missing: `make servers` installs it")
    tests = sorted(str(path) for path in (SDK / "test").glob("*.test.js"))
    assert tests
    run = subprocess.run(
        [node, "--test", *tests], cwd=SDK, capture_output=True, text=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
