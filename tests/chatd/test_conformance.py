"""The Autobahn cases that need no minutes, on the hub's own connections."""

from pathlib import Path

import pytest

from tests.conformance.__main__ import PASSED, outcomes, run

# Fragments, UTF-8, close codes, and one of each compressed payload kind: the rest is
# `make autobahn` and `make autobahn-long`.
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.4.*", "7.*", "12.1.1", "12.2.1", "13.1.1"]


@pytest.mark.system
async def test_the_hub_speaks_websocket_as_the_suite_expects(tmp_path: Path) -> None:
    found = await run(CASES, [], 4, tmp_path)
    assert len(found) > 100
    assert {case: told for case, told in found.items() if told not in PASSED} == {}


def test_the_worse_of_behaviour_and_close_counts(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(
        '{"echo": {"1.1.1": {"behavior": "OK", "behaviorClose": "FAILED"},'
        ' "1.1.2": {"behavior": "NON-STRICT", "behaviorClose": "OK"}}}',
        encoding="utf-8",
    )
    assert outcomes(tmp_path) == {"1.1.1": "FAILED", "1.1.2": "NON-STRICT"}
