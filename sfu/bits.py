"""Bits of a header, most significant first."""


class Bits:
    """Reads one field after the other; IndexError past the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Read an unsigned number of ``count`` bits."""
        self._left -= count
        if self._left < 0:
            raise IndexError
        return (self._value >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        """Read one unsigned Exp-Golomb code (H.264 9.1; AV1 4.10.3 calls it uvlc)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise IndexError
        return (1 << zeros) - 1 + self.read(zeros)
