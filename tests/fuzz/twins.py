"""Give both twins of the packet path the same: `python -m tests.fuzz.twins --packets 1000000`.

`make test` does so with 20,000 packets each. What differs is an `AssertionError` that names its
seed, with which `differ` of the module repeats it.
"""

import argparse
import time
from collections.abc import Callable

from tests.sfu import test_fanout, test_inlet, test_rewrite

PART = 5_000


def rewritten(seed: int) -> int:
    """Compare what is done to single packets."""
    test_rewrite.differ(seed, PART)
    return PART


def let_in(seed: int) -> int:
    """Compare what a random call leaves behind."""
    test_inlet.differ(seed, PART)
    return PART


def fanned_out(seed: int) -> int:
    """Compare what arrives over sockets."""
    return test_fanout.differ(seed)


TARGETS: dict[str, Callable[[int], int]] = {
    "rewrite": rewritten,
    "inlet": let_in,
    "fanout": fanned_out,
}


def main() -> None:
    """Run each target until it has had so many packets."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.twins", description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    for name, target in TARGETS.items():
        began, packets, seed = time.monotonic(), 0, chosen.seed
        while packets < chosen.packets:
            packets += target(seed)
            seed += 1
        seconds = time.monotonic() - began
        print(f"{name}: {packets:,} packets, no difference, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
