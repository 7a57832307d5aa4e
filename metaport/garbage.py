"""Python's collector of reference cycles in a process that holds much and makes little of it."""

import gc

# New containers before a look at the young ones. At the default of 700 a busy hub spent 7 % of its
# time looking: nearly everything it makes goes by its count of references.
YOUNG, MIDDLE, OLD = 20_000, 20, 50


def spare_collections() -> None:
    """Never look again at what the process consists of, and seldom at the rest.

    Call it once everything is set up and imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
