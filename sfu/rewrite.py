"""Rewrite a packet for its receivers: once per group of them, then twelve bytes for each.

Two twins do the same: `sfu._rewrite` (Cython) where it was built, else `sfu.rewrite_pure`, which
says what both must do.
"""

from typing import Literal

TWIN: Literal["compiled", "python"]

try:
    from sfu._rewrite import find_element, find_transport_sequence, normalise, patch, read_header
except ImportError:
    from sfu.rewrite_pure import (
        find_element,
        find_transport_sequence,
        normalise,
        patch,
        read_header,
    )

    TWIN = "python"
else:
    TWIN = "compiled"

__all__ = ["TWIN", "find_element", "find_transport_sequence", "normalise", "patch", "read_header"]
