"""Send one normalised packet to a whole list of receivers: the innermost loop.

Two twins do the same: `sfu._fanout` (Cython) where it was built, else `sfu.fanout_pure`, which
says what both must do. The compiled one protects with libsrtp and writes to the socket itself,
without the GIL, and lets the kernel cut a burst for one receiver into datagrams (UDP GSO).
"""

from typing import TYPE_CHECKING, Literal

TWIN: Literal["compiled", "python"]

if TYPE_CHECKING:
    from sfu.fanout_pure import Departures, Flow, Route, TransportNumbers, forward
else:
    try:
        from sfu._fanout import Departures, Flow, Route, TransportNumbers, forward
    except ImportError:
        from sfu.fanout_pure import Departures, Flow, Route, TransportNumbers, forward

TWIN = "python" if Flow.__module__ == "sfu.fanout_pure" else "compiled"

__all__ = ["TWIN", "Departures", "Flow", "Route", "TransportNumbers", "forward"]
