"""The sans-IO forwarding core: publishers, their tracks, and who receives them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from sfu.codec import Codec

__all__ = ["Codec", "Output", "Publisher", "Subscriber", "Subscription", "Track"]

Kind = Literal["audio", "video"]


class Output(Protocol):
    """Where packets leave: protect and send at once; never raises, never blocks."""

    def send_rtp(self, packet: bytes) -> None: ...

    def send_rtcp(self, packet: bytes) -> None: ...


class Track:
    """One published m-line. Made by `Publisher.add_track` only."""

    id: str
    kind: Kind
    source: str
    participant: str
    user: str
    width: int  # pixels of the last key frame, 0 before the first
    height: int
    codec: Codec | None  # of the last media packet, the publisher's numbering
    level: float  # smoothed audio level, dBov: -127 silence to 0
    speaking: bool
    packets: int  # media packets received (duplicates and padding not counted)
    ingress_bytes: int  # every RTP byte received for this track, RTX and padding included
    forwarded_at: float  # `now` of the last packet that went to at least one subscription
    dropped: dict[str, int]  # packets not forwarded, by cause
    subscriptions: Sequence["Subscription"]

    @property
    def muted(self) -> bool:
        """Packets of a muted track are counted, not forwarded; assign to change."""
        return False

    @muted.setter
    def muted(self, muted: bool) -> None: ...

    def request_key_frame(self) -> None:
        """Ask the publisher for a key frame: merged and throttled, sent at once where allowed."""


class Publisher:
    """Everything one publishing transport sends us.

    ``random(n)`` gives n random bytes. ``user`` and ``participant`` are copied to its tracks.
    """

    def __init__(
        self,
        output: Output,
        *,
        random: Callable[[int], bytes],
        participant: str = "",
        user: str = "",
        bitrate_limit_bps: int = 3_000_000,
    ) -> None: ...

    def add_track(
        self,
        track_id: str,
        kind: Kind,
        source: str,
        mid: str,
        codecs: Sequence[Codec],
        extensions: Mapping[str, int],
        ssrcs: Sequence[int] = (),
        rtx_ssrcs: Mapping[int, int] = {},
    ) -> Track:
        """Receive one more m-line.

        ``codecs`` in the publisher's numbering; ``extensions`` maps URI to id;
        ``rtx_ssrcs`` maps each RTX SSRC to the media SSRC it repairs (``ssrc-group:FID`` reversed).
        SSRCs need not be signalled at all.
        """
        raise NotImplementedError

    def bind(self, track: Track, ssrcs: Sequence[int], rtx_ssrcs: Mapping[int, int] = {}) -> None:
        """Add SSRCs that a renegotiation signalled for a track."""

    def remove_track(self, track: Track) -> None:
        """Stop receiving a track; its subscriptions fall silent until they are unsubscribed."""

    def receive_rtp(self, packet: bytes, now: float) -> None:
        """Take one plain RTP packet and forward it; malformed bytes are counted and dropped."""

    def receive_rtcp(self, packet: bytes, now: float) -> None:
        """Take one plain compound RTCP packet (sender reports, BYE)."""

    def handle_timeout(self, now: float) -> None:
        """Send what is due: NACK, PLI, receiver reports and REMB. Then ask `next_deadline`."""

    def next_deadline(self) -> float | None:
        """Tell when `handle_timeout` must run; ask again after each `receive_rtp`."""
        return None


class Subscription:
    """One track as one receiver gets it, under its own SSRC. Made by `Subscriber.subscribe`."""

    track: Track
    mid: str
    ssrc: int
    rtx_ssrc: int | None
    packets: int  # RTP packets sent, retransmissions not counted
    egress_bytes: int  # RTP bytes sent, retransmissions included

    def forwarding(self, now: float) -> bool:
        """Whether the receiver was sent a packet of this unmuted track within the last 2 s."""
        return False


class Subscriber:
    """Everything one receiving transport gets from us."""

    def __init__(self, output: Output, *, random: Callable[[int], bytes]) -> None: ...

    def subscribe(
        self,
        track: Track,
        *,
        mid: str,
        ssrc: int,
        rtx_ssrc: int | None,
        codecs: Sequence[Codec],
        extensions: Mapping[str, int],
    ) -> Subscription:
        """Forward a track to this receiver; video starts at the key frame this asks for.

        ``codecs`` and ``extensions`` in the subscriber's numbering. Call it when the receiver's
        description is known (after its answer), else its first packets are lost on it.
        """
        raise NotImplementedError

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop forwarding. Doing it twice is harmless."""

    def receive_rtcp(self, packet: bytes, now: float) -> None:
        """Take one plain compound RTCP packet (NACK, PLI, FIR, receiver reports)."""

    def handle_timeout(self, now: float) -> None:
        """Send the sender reports that are due. Then ask `next_deadline`."""

    def next_deadline(self) -> float | None:
        """Tell when `handle_timeout` must run; `None` without subscriptions."""
        return None
