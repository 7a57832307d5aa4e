"""Read what waits on a UDP socket: a batch in one call, each address made a `Path` once.

Two twins do the same: `sfu._arrivals` (Cython, Linux) where it was built, else
`sfu.arrivals_pure`, which says what both must do.
"""

from typing import TYPE_CHECKING, Literal

TWIN: Literal["compiled", "python"]

if TYPE_CHECKING:
    from sfu.arrivals_pure import BATCH, Arrivals
else:
    from sfu.arrivals_pure import BATCH

    try:
        from sfu._arrivals import Arrivals
    except ImportError:
        from sfu.arrivals_pure import Arrivals

TWIN = "python" if Arrivals.__module__ == "sfu.arrivals_pure" else "compiled"

__all__ = ["BATCH", "TWIN", "Arrivals"]
