"""Real clients of other makers against a real server: `make interop`, too long for `make test`.

Each line is one meeting: who with whom, how, and what both saw and heard of the other.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.interop import codecs, relay, restart, room
from tests.system.browser import launched

Meeting = Callable[[Path], Awaitable[str]]

# A browser that hangs in the kernel must not hang what waits for it.
DEADLINE_S = 180.0


def _codec(name: str) -> Meeting:
    async def meet(folder: Path) -> str:
        async with launched() as browser:
            return await codecs.speak(browser, folder, name)

    return meet


def _relay(over: str) -> Meeting:
    return lambda folder: relay.speak(folder, over)


MEETINGS: dict[str, Meeting] = {
    "everybody in one room": room.meet,
    "chromium restarts ICE by WHIP": restart.speak,
    **{f"chromium to chromium in {name}": _codec(name) for name in codecs.CODECS},
    **{f"chromium through coturn over {over}": _relay(over) for over in relay.TRANSPORTS},
}


async def meet(wanted: str) -> int:
    """Hold all meetings whose name contains `wanted`; return how many failed."""
    failed = 0
    for name, meeting in MEETINGS.items():
        if wanted not in name:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="metaport-", dir="/tmp") as folder:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    outcome = await meeting(Path(folder))
            except Exception:
                failed += 1
                outcome = "FAILED\n" + traceback.format_exc()
        print(f"{name}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
    return failed


def main() -> int:
    options = argparse.ArgumentParser(description="Meet clients of other makers.")
    options.add_argument("--only", default="", help="meetings whose name contains this")
    return 1 if asyncio.run(meet(options.parse_args().only)) else 0


if __name__ == "__main__":
    sys.exit(main())
