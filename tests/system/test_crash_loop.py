"""A few rounds of `make crash-loop` on the embedded database; 20 would take over a minute."""

import pytest

from tests.crash.loop import run

pytestmark = pytest.mark.system

KILLS = 8


@pytest.mark.timeout(300)
async def test_hub_and_sfu_killed_under_load_lose_and_double_nothing() -> None:
    await run(KILLS, 3, writers=4, speakers=1, use_postgres=False)
