"""Seeded mutation of bytes: what happens to data on its way, and what somebody does on purpose."""

from collections.abc import Callable, Sequence
from random import Random

LONGEST = 4096
# Lengths and numbers lie about their surroundings most often at these.
_BOUNDARIES = (0, 1, 0x7D, 0x7E, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63)


class Mutator:
    """Makes new inputs of old ones. `words` are pieces the format knows."""

    def __init__(self, random: Random, words: Sequence[bytes]) -> None:
        self._random = random
        self._words = words
        self._ways: tuple[Callable[[bytearray, bytes], None], ...] = (
            self._flip,
            self._overwrite,
            self._insert_noise,
            self._insert_word,
            self._insert_number,
            self._delete,
            self._repeat,
            self._nest,
            self._splice,
            self._cut,
        )

    def mutate(self, data: bytes, other: bytes) -> bytes:
        """Return `data` changed in one to eight ways; `other` lends pieces."""
        changed = bytearray(data)
        for _ in range(self._random.randint(1, 8)):
            self._random.choice(self._ways)(changed, other)
        return bytes(changed[:LONGEST])

    def _place(self, data: bytearray) -> int:
        return self._random.randint(0, len(data))

    def _flip(self, data: bytearray, _: bytes) -> None:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)

    def _overwrite(self, data: bytearray, _: bytes) -> None:
        if data:
            data[self._random.randrange(len(data))] = self._random.randrange(256)

    def _insert_noise(self, data: bytearray, _: bytes) -> None:
        place = self._place(data)
        data[place:place] = self._random.randbytes(self._random.randint(1, 16))

    def _insert_word(self, data: bytearray, _: bytes) -> None:
        place = self._place(data)
        data[place:place] = self._random.choice(self._words)

    def _insert_number(self, data: bytearray, _: bytes) -> None:
        place, size = self._place(data), self._random.choice((1, 2, 4, 8))
        number = self._random.choice(_BOUNDARIES) & (1 << 8 * size) - 1
        data[place : place + self._random.choice((0, size))] = number.to_bytes(size, "big")

    def _delete(self, data: bytearray, _: bytes) -> None:
        place = self._place(data)
        del data[place : place + self._random.randint(1, 16)]

    def _repeat(self, data: bytearray, _: bytes) -> None:
        place = self._place(data)
        piece = data[place : place + self._random.randint(1, 32)]
        data[place:place] = piece * self._random.randint(1, 8)

    def _nest(self, data: bytearray, _: bytes) -> None:
        place = self._place(data)
        data[place:place] = self._random.choice(self._words) * self._random.choice(
            (8, 40, 400, 2000)
        )

    def _splice(self, data: bytearray, other: bytes) -> None:
        place = self._place(data)
        data[place:] = other[self._random.randint(0, len(other)) :]

    def _cut(self, data: bytearray, _: bytes) -> None:
        del data[self._place(data) :]
