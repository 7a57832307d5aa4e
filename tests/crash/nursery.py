"""`python -m tests.crash.nursery ROLE`: a start of `metaport ROLE` for each line read, by fork.

Imports take 1.5 s of CPU and the kernel 10 ms to copy what they left: everything is imported once,
so that a kill costs what a process takes to serve again and no more. One process at a time; its
number is written when it starts, and a line when it ends.
"""

import gc
import os
import sys
from typing import NoReturn

import metaport.compose
import metaport.db.migrate
import metaport.media_process  # noqa: F401 - what a start would import
from metaport import cli


def main() -> None:
    """Start processes until there is nothing more to read."""
    gc.freeze()
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            _be(sys.argv[1])
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


def _be(role: str) -> NoReturn:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.exit(cli.main([role]))


if __name__ == "__main__":
    main()
