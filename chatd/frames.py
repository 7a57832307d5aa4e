"""WebSocket frames where they are many: those of one read, and those of one flush.

Two twins do the same: `chatd._frames` (Cython) where it was built, else `chatd.frames_pure`, which
is the specification.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatd.frames_pure import send_all, whole_messages

    TWIN = "python"
else:
    try:
        from chatd._frames import send_all, whole_messages

        TWIN = "compiled"
    except ImportError:
        from chatd.frames_pure import send_all, whole_messages

        TWIN = "python"

__all__ = ["TWIN", "send_all", "whole_messages"]
