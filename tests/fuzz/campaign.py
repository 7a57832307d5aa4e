"""A seeded stream of mutated inputs against one parser after the other.

A target takes bytes and returns what kind of outcome that was; anything but a documented outcome
is an `AssertionError` or another exception, and then the bytes are kept under `corpus/` for the
tests to replay for ever. Inputs with an outcome not seen before are mutated further.
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

from tests.fuzz.mutation import Mutator

CORPUS = Path(__file__).parent / "corpus"
# An input of 4 KiB takes well under a millisecond; this is a loop that grows out of bounds.
SLOWEST_S = 0.5


@dataclass(frozen=True)
class Target:
    """A parser: what it is tried with first, pieces of its format, and how to try it."""

    name: str
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    attempt: Callable[[bytes], object]


def kept(target: Target) -> list[Path]:
    """Return the inputs that once broke something."""
    return sorted((CORPUS / target.name).glob("*.bin"))


class Campaign:
    """One target under a seeded stream of inputs."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._random = Random(f"{target.name} {seed}")
        self._mutator = Mutator(self._random, target.words)
        self._pool = [*target.seeds, *(path.read_bytes() for path in kept(target))]
        self.outcomes: Counter[object] = Counter()
        self.crashes: list[tuple[bytes, BaseException]] = []
        self.slowest_s = 0.0
        for data in list(self._pool):
            self._try(data)

    def step(self) -> None:
        """Try one more input."""
        data, other = self._random.choice(self._pool), self._random.choice(self._pool)
        self._try(self._mutator.mutate(data, other))

    def _try(self, data: bytes) -> None:
        began = time.process_time()
        try:
            outcome = self._target.attempt(data)
            took_s = time.process_time() - began
            assert took_s < SLOWEST_S, f"took {took_s:.1f} s"
        except Exception as error:
            self.crashes.append((data, error))
            outcome = "crash", type(error).__name__, str(error)[:80]
        else:
            self.slowest_s = max(self.slowest_s, took_s)
        self.outcomes[outcome] += 1
        if self.outcomes[outcome] == 1:
            self._pool.append(data)


def keep(target: Target, data: bytes) -> Path:
    """Write an input that broke something where the tests replay it."""
    path = CORPUS / target.name / f"{sha256(data).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(targets: Sequence[Target], description: str) -> int:
    """Share the time among the targets; return 1 when anything broke."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    broken = False
    for target in targets:
        campaign = Campaign(target, asked.seed)
        deadline = time.monotonic() + asked.seconds / len(targets)
        while time.monotonic() < deadline:
            campaign.step()
        print(
            f"{target.name}: {campaign.outcomes.total():,} inputs, {len(campaign.outcomes)} kinds "
            f"of outcome, slowest {campaign.slowest_s * 1000:.1f} ms, "
            f"{len(campaign.crashes)} crashes (seed {asked.seed})"
        )
        told: set[str] = set()
        for data, error in campaign.crashes:
            broken = True
            # One input for each way to break, whatever the numbers in it.
            sentence = re.sub(r"\d+", "n", f"{type(error).__name__}: {str(error)[:200]}")
            if sentence not in told:
                told.add(sentence)
                print(f"  {keep(target, data)}: {sentence}")
    return 1 if broken else 0
