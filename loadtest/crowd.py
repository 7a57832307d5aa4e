"""People in a call: their packets in a compiled loop, their checks and reports between its turns.

As browsers do, each checks the path every few seconds (ICE consent) and reports once a second what
it received or sent; nobody decodes.
"""

import secrets
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pylibsrtp._binding import ffi, lib

from loadtest._streams import Streams
from loadtest.namespace import Namespace
from loadtest.offer import AUDIO, PAYLOAD_TYPES
from loadtest.packets import STAMP, asks_for_key_frame, extension, is_rtcp
from loadtest.transport import Transport

SLICE_S = 0.02
# A receiver's socket holds 4 MiB: seconds of video.
SWEEP_NS = 2_000_000
CONSENT_S = 4.0
REPORT_S = 1.0
NTP_EPOCH_S = 2_208_988_800


@dataclass(frozen=True)
class Flow:
    """How one publisher sends: bursts at even distances, a few packets a picture."""

    kind: str
    payload_bytes: int
    packets_per_s: int
    burst: int = 1
    picture: int = 1

    @property
    def step(self) -> int:
        """Return how far the RTP timestamp goes from picture to picture."""
        clock_rate = 48_000 if self.kind == AUDIO else 90_000
        return clock_rate * self.picture // self.packets_per_s

    @property
    def distance_ns(self) -> int:
        """Return the time from burst to burst."""
        return 1_000_000_000 * self.burst // self.packets_per_s


@dataclass
class Member:
    """One transport of the crowd. `number` counts senders and receivers apart."""

    transport: Transport
    number: int
    ssrc: int  # 0 for a receiver
    check_at: float
    report_at: float


class Crowd:
    """Publishers and receivers of one measurement, in a namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.streams = Streams(_function("srtp_protect"), _function("srtp_unprotect"), SWEEP_NS)
        self._transports: list[Transport] = []
        self._senders: list[Member] = []
        self._receivers: list[Member] = []

    def transport(self) -> Transport:
        """Make a socket inside the namespace."""
        with self._namespace.entered():
            transport = Transport(self._namespace.client_host)
        self._transports.append(transport)
        return transport

    def publish(self, transport: Transport, flow: Flow, ssrc: int, mid: str = "0") -> None:
        """Let a connected transport send a flow from now on."""
        header = struct.pack("!BBHII", 0x90, PAYLOAD_TYPES[flow.kind], 0, 0, ssrc)
        head = header + extension(flow.kind, mid)
        filler = b"\x55" * (flow.payload_bytes - STAMP.size)
        number = self.streams.add_sender(
            transport.socket.fileno(),
            transport.sender_address,
            head + filler + bytes(STAMP.size),
            len(head),
            video=flow.kind != AUDIO,
            burst=flow.burst,
            picture=flow.picture,
            step=flow.step,
            distance_ns=flow.distance_ns,
            # Not all at the same instant.
            offset_ns=secrets.randbelow(flow.distance_ns),
        )
        self._senders.append(self._member(transport, number, ssrc))

    def receive(self, transport: Transport) -> None:
        """Count what a connected transport receives from now on."""
        number = self.streams.add_receiver(transport.socket.fileno(), transport.receiver_address)
        self._receivers.append(self._member(transport, number, 0))

    def turn(self, seconds: float) -> None:
        """Let everybody send and receive for that long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.streams.turn(min(left, SLICE_S))
            now = time.monotonic()
            for member in (*self._senders, *self._receivers):
                if now >= member.check_at:
                    if member.transport.answer is not None:  # a server to be checked
                        member.transport.check()
                    member.check_at += CONSENT_S
                if now >= member.report_at:
                    self._report(member)
                    member.report_at += REPORT_S
            for member in self._senders:
                if any(asks_for_key_frame(compound) for compound in _feedback(member.transport)):
                    self.streams.want_key_frame(member.number)

    def rest(self) -> None:
        """Receive what is still under way, sending nothing."""
        self.streams.sending = False
        self.turn(0.5)
        self.streams.sending = True

    def close(self) -> None:
        """Close all sockets without a goodbye."""
        for transport in self._transports:
            transport.socket.close()

    def _member(self, transport: Transport, number: int, ssrc: int) -> Member:
        now = time.monotonic()
        spread = secrets.randbelow(1000) / 1000
        return Member(transport, number, ssrc, now + CONSENT_S * spread, now + REPORT_S * spread)

    def _report(self, member: Member) -> None:
        session = member.transport.outgoing
        assert session is not None
        if member.ssrc:
            timestamp, packets = self.streams.clock(member.number)
            compound = _sender_report(member.ssrc, timestamp, packets)
        else:
            ssrc, sequence, received = self.streams.heard(member.number)
            if not received:
                return
            compound = _receiver_report(ssrc, sequence)
        member.transport.socket.send(session.protect_rtcp(compound))


def _feedback(transport: Transport) -> Iterator[bytes]:
    assert transport.incoming is not None
    while True:
        try:
            datagram = transport.socket.recv(2048)
        except BlockingIOError:
            return
        if datagram[0] >> 6 == 2 and is_rtcp(datagram):
            yield transport.incoming.unprotect_rtcp(datagram)


def _sender_report(ssrc: int, timestamp: int, packets: int) -> bytes:
    """Write a sender report (RFC 3550 6.4.1) without report blocks, and a CNAME."""
    ntp = int((time.time() + NTP_EPOCH_S) * (1 << 32))
    report = struct.pack(
        "!BBHIQIII", 0x80, 200, 6, ssrc, ntp, timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, 0
    )
    return report + struct.pack("!BBHIBB4sxx", 0x81, 202, 3, ssrc, 1, 4, b"load")


def _receiver_report(ssrc: int, sequence: int) -> bytes:
    """Write a receiver report (RFC 3550 6.4.2) of a stream that lost nothing."""
    return struct.pack("!BBHIIIIIII", 0x81, 201, 7, 1, ssrc, 0, sequence, 0, 0, 0)


def _function(name: str) -> int:
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
