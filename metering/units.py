"""The things that are counted. Always whole: never minutes, never fractions."""

import enum


class Unit(enum.StrEnum):
    """What one of a quantity is."""

    MESSAGE = "message"
    SECOND = "second"
    BYTE = "byte"
    USER = "user"
