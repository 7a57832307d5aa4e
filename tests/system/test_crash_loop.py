"""Twenty kills of `make crash-loop`, with the database away once and the disk full once."""

import pytest

from tests.crash.loop import run

pytestmark = pytest.mark.system

KILLS, WORSE_EVERY = 20, 9


@pytest.mark.timeout(600)
async def test_hub_and_sfu_killed_under_load_lose_and_double_nothing() -> None:
    await run(KILLS, 3, writers=4, speakers=1, worse_every=WORSE_EVERY)
