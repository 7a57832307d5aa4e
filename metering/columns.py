"""Text in columns of a terminal, where a Korean syllable is two cells wide."""

import unicodedata


def cells(text: str) -> int:
    """Return how many cells of a terminal `text` takes (Unicode Standard Annex 11)."""
    return sum(
        0 if unicodedata.combining(character) else 1 + _is_wide(character) for character in text
    )


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


def left(text: str, width: int) -> str:
    """Pad `text` on the right to `width` cells."""
    return text + " " * (width - cells(text))


def right(text: str, width: int) -> str:
    """Pad `text` on the left to `width` cells."""
    return " " * (width - cells(text)) + text


def wrapped(text: str, width: int) -> list[str]:
    """Break `text` at spaces into lines of at most `width` cells; a longer word stays whole."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and cells(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines
