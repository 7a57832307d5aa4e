"""Many plain sockets that send prepared frames and count what comes back, in one tight loop.

1. The caller connects, shakes hands and joins rooms; it gives this the sockets, the frame each
   of them says something with, and how a message looks on the wire (`Wire`).
2. `closed` keeps a window of messages under way in every room; `paced` sends at a fixed rate.
3. Both return a `Run`: how many were sent and arrived in the measured time, and their delays.

Two twins do the same: `loadtest._audience` (Cython) where it was built, else
`loadtest.audience_pure`, which is the specification. Figures of the slower one say as much of the
client as of the server.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.audience_pure import Audience

    TWIN = "python"
else:
    try:
        from loadtest._audience import Audience

        TWIN = "compiled"
    except ImportError:
        from loadtest.audience_pure import Audience

        TWIN = "python"

__all__ = ["TWIN", "Audience"]
