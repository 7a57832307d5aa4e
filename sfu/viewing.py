"""The connection on which a WHEP player receives: the peer offers once, we answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from sfu import negotiation, sdp
from sfu.codec import Codec
from sfu.errors import Refused
from sfu.forwarding import Subscriber, Subscription, Tally
from sfu.publishing import OFFERED_SETUPS
from sfu.room import PublishedTrack
from sfu.sdp import Candidate, Description, LocalMedia, Media
from sfu.transport import PeerTransport, Transports


class _Filled(NamedTuple):
    """An offered m-line with the track put on it."""

    media: Media
    track: PublishedTrack
    codecs: Sequence[Codec]
    ssrc: int
    rtx_ssrc: int | None


class Viewing:
    """One client-offered receiving connection.

    1. `receive_offer` fills the offered m-lines in publishing order and answers.
    2. `connected` starts forwarding.
    """

    def __init__(
        self,
        transports: Transports,
        *,
        random: Callable[[int], bytes],
        tally: Tally,
        now: float,
    ) -> None:
        self.transport: PeerTransport = transports.open(now)
        self.subscriber = Subscriber(self.transport, random=random, tally=tally)
        self.transport.core = self.subscriber
        self.transport.on_rtcp = self.subscriber.receive_rtcp
        self.subscriptions: list[Subscription] = []
        self.bundle_mid = "0"
        self.bundle_kind = "audio"
        self._random = random
        self._filled: dict[str, _Filled] = {}
        self._ssrcs = {0}  # 0 means none in a description

    def receive_offer(
        self,
        description: Description,
        tracks: Sequence[PublishedTrack],
        candidates: tuple[Candidate, ...],
        now: float,
    ) -> str:
        """Answer an offer with `tracks`, as far as its m-lines can carry them.

        Raises:
            SdpError: an offer we cannot serve.
            Refused: `unsupported_codecs`.
        """
        carrier = negotiation.check_transport(description, OFFERED_SETUPS)
        assert carrier.credentials is not None
        self._fill(received_media(description), tracks)
        self.bundle_mid, self.bundle_kind = carrier.mid, carrier.kind
        self.transport.accept(carrier.fingerprints, carrier.credentials, now)
        return sdp.build(
            int.from_bytes(self._random(4), "big"),
            1,
            self.transport.local(candidates, "passive"),
            [self._answer(media, description) for media in description.media],
        )

    def connected(self) -> None:
        """Start forwarding; called when the transport can carry media."""
        for filled in self._filled.values():
            self.subscriptions.append(
                self.subscriber.subscribe(
                    filled.track.media,
                    mid=filled.media.mid,
                    ssrc=filled.ssrc,
                    rtx_ssrc=filled.rtx_ssrc,
                    codecs=filled.codecs,
                    extensions=negotiation.accepted_extensions(filled.media),
                )
            )
        self._filled.clear()

    def drop(self, track: PublishedTrack) -> None:
        """Let go of a track that ended; its m-line stays silent."""
        for mid, filled in list(self._filled.items()):
            if filled.track is track:
                del self._filled[mid]
        for subscription in [s for s in self.subscriptions if s.track is track.media]:
            self.subscriptions.remove(subscription)
            self.subscriber.unsubscribe(subscription)

    def close(self) -> None:
        """End the connection."""
        for subscription in self.subscriptions:
            self.subscriber.unsubscribe(subscription)
        self.subscriptions.clear()
        self._filled.clear()
        self.transport.close()

    def _fill(self, served: Sequence[Media], tracks: Sequence[PublishedTrack]) -> None:
        for track in tracks:
            for media in served:
                codecs = [
                    codec
                    for codec in negotiation.acceptable_codecs(media)
                    if codec.name == track.codec.name
                ][:1]
                if media.kind == track.kind and codecs and media.mid not in self._filled:
                    repaired = codecs[0].rtx_payload_type is not None
                    self._filled[media.mid] = _Filled(
                        media, track, codecs, self._ssrc(), self._ssrc() if repaired else None
                    )
                    break

    def _ssrc(self) -> int:
        while True:
            ssrc = int.from_bytes(self._random(4), "big")
            if ssrc not in self._ssrcs:
                self._ssrcs.add(ssrc)
                return ssrc

    def _answer(self, media: Media, description: Description) -> LocalMedia:
        if not negotiation.supported(media, description):
            return negotiation.reject(media)
        filled = self._filled.get(media.mid)
        if filled is None:
            codecs = negotiation.acceptable_codecs(media)[:1]
            return negotiation.answer(media, codecs, "inactive")
        return replace(
            negotiation.answer(media, filled.codecs, "sendonly"),
            stream=filled.track.owner.id,
            track=filled.track.id,
            ssrc=filled.ssrc,
            rtx_ssrc=filled.rtx_ssrc,
        )


def received_media(description: Description) -> list[Media]:
    """Return the m-lines of an offer that can carry something to the peer.

    Raises:
        Refused: `unsupported_codecs` when none of them has a codec we forward.
    """
    wanted = [m for m in description.media if negotiation.receives(m) and not m.rejected]
    served = [media for media in wanted if negotiation.supported(media, description)]
    if wanted and not served:
        raise Refused("unsupported_codecs")
    return served
