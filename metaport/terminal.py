"""Text for a terminal: in exactly so many columns, and without what a terminal acts upon."""

from metering.columns import cells, left
from metering.columns import right as padded_left


def fitted(text: str, columns: int, *, right: bool = False) -> str:
    """Return a text in exactly so many columns: cut with an ellipsis, or filled with spaces."""
    text = printable(text)
    if cells(text) > columns:
        text = _cut(text, columns - 1) + "…"
    return padded_left(text, columns) if right else left(text, columns)


def printable(text: str) -> str:
    """Replace what a terminal would act upon: names are chosen by strangers."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _cut(text: str, columns: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += cells(character)
        if taken > columns:
            return text[:index]
    return text
