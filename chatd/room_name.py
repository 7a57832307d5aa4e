"""Names of rooms: NFC, 1-128 characters of letters, digits and `-_.:/`."""

import re
import unicodedata

ROOM_NAME_CHARS = 128
_ASCII = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_PUNCTUATION = frozenset("-_.:/")


def is_room_name(room: str) -> bool:
    """Say whether `room` is the name of a room."""
    if _ASCII.fullmatch(room):
        return True
    if not 1 <= len(room) <= ROOM_NAME_CHARS:
        return False
    allowed = all(c.isalpha() or c.isdecimal() or c in _PUNCTUATION for c in room)
    return allowed and unicodedata.is_normalized("NFC", room)
