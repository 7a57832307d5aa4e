"""Packets on a byte stream, each behind its length (RFC 4571); sans-IO."""

from sfu.errors import FramingError

# As for datagrams: longer than any packet WebRTC sends, and all that SRTP accepts.
LIMIT_BYTES = 2048


class FrameReader:
    """Cuts a byte stream into packets; holds one unfinished packet at most."""

    def __init__(self) -> None:
        self._pending = b""

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the packets that are complete now; empty ones are passed over.

        Raises:
            FramingError: a length beyond `LIMIT_BYTES`: the stream makes no sense from here on.
        """
        data = self._pending + data
        packets: list[bytes] = []
        position, size = 0, len(data)
        while size - position >= 2:
            length = data[position] << 8 | data[position + 1]
            if length > LIMIT_BYTES:
                raise FramingError("tcp_frame_too_long")
            end = position + 2 + length
            if end > size:
                break
            if length:
                packets.append(data[position + 2 : end])
            position = end
        self._pending = data[position:]
        return packets


def frame(packet: bytes) -> bytes:
    """Put the length before a packet of at most 65,535 bytes."""
    return len(packet).to_bytes(2, "big") + packet
