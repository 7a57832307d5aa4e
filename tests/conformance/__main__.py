"""`python -m tests.conformance [case …] [--exclude case …]`: the Autobahn cases on our connections.

Without arguments everything but the long groups: 9 (performance), 12 and 13 (compression).
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import uvloop

from tests.conformance.echo import serve

LONG = ("9.*", "12.*", "13.*")
# What the suite calls passing: correct, correct in another order than it would like, cases that
# only look, and those whose offer of compression is passed over (a smaller window).
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}


async def run(cases: list[str], exclude: list[str], parallel: int, folder: Path) -> dict[str, str]:
    """Run cases against an echo of our own; return the outcome of each."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serve_task = asyncio.create_task(serve(ready))
    port = await ready
    command = [sys.executable, "-m", "tests.conformance.suite", "-p", str(parallel)]
    command += [word for case in cases for word in ("-i", case)]
    command += [word for case in exclude for word in ("-x", case)]
    command += ["-o", str(folder), f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await process.wait()
    serve_task.cancel()
    with suppress(asyncio.CancelledError):
        await serve_task
    return outcomes(folder)


def outcomes(folder: Path) -> dict[str, str]:
    """Return what the suite's index says of each case: the worse of behaviour and close."""
    found: dict[str, str] = {}
    for path in folder.rglob("index.json"):
        for cases in json.loads(path.read_text(encoding="utf-8")).values():
            for case, row in cases.items():
                told = [row.get("behavior", "OK"), row.get("behaviorClose", "OK")]
                found[case] = next((each for each in told if each not in PASSED), told[0])
    return found


def main() -> None:
    """Run and tell; the exit code is 1 unless all pass."""
    parser = argparse.ArgumentParser(prog="tests.conformance", description=__doc__)
    parser.add_argument("case", nargs="*")
    parser.add_argument("--exclude", nargs="*", default=[])
    parser.add_argument("--parallel", type=int, default=4)
    chosen = parser.parse_args()
    exclude = chosen.exclude if chosen.case or chosen.exclude else list(LONG)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        found = uvloop.run(run(chosen.case, exclude, chosen.parallel, Path(folder)))
    for outcome, count in Counter(found.values()).most_common():
        print(f"{outcome}: {count}")
    failed = sorted(case for case, outcome in found.items() if outcome not in PASSED)
    print(f"{len(found)} cases; failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed) or not found)


if __name__ == "__main__":
    main()
