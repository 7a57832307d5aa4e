"""Let a packet in that nothing has to be decided about: decrypt, take note, forward; one call.

Two twins do the same: `sfu._inlet` (Cython) where it was built, else `sfu.inlet_pure`, which takes
nothing and leaves all to `sfu.publisher` and `sfu.track`: they say what must happen to a packet.
"""

from typing import TYPE_CHECKING, Literal

from sfu.inlet_pure import DECIDED, FORWARDED, NOT_TAKEN

TWIN: Literal["compiled", "python"]

if TYPE_CHECKING:
    from sfu.inlet_pure import Inlet
else:
    try:
        from sfu._inlet import Inlet
    except ImportError:
        from sfu.inlet_pure import Inlet

TWIN = "python" if Inlet.__module__ == "sfu.inlet_pure" else "compiled"

__all__ = ["DECIDED", "FORWARDED", "NOT_TAKEN", "TWIN", "Inlet"]
