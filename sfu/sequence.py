"""Wire numbers wrap; everything past the parser counts on without end (RFC 3550 A.1)."""


def extend_sequence(sequence: int, near: int) -> int:
    """Return the number closest to ``near`` whose low 16 bits are ``sequence``."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000


def extend_timestamp(timestamp: int, near: int) -> int:
    """Return the number closest to ``near`` whose low 32 bits are ``timestamp``."""
    return near + ((timestamp - near + 0x80000000) & 0xFFFFFFFF) - 0x80000000
