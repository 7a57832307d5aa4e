"""The collector spares what the process consists of, in a process of its own."""

import subprocess
import sys

PROGRAM = """
import gc
from metaport.garbage import YOUNG, spare_collections

class Cycle:
    pass

kept = [Cycle() for _ in range(100)]
spare_collections()
assert gc.get_freeze_count() > 100
assert gc.get_threshold()[0] == YOUNG
ended = []
cycle = Cycle()
cycle.itself = cycle
cycle.end = type("End", (), {"__del__": lambda self: ended.append(1)})()
del cycle
for _ in range(3 * YOUNG):
    kept.append([])
assert ended, "cycles still go"
"""


def test_what_is_there_is_not_looked_at_again_and_cycles_still_go():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
