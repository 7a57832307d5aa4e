"""The connection on which a participant publishes: the peer offers, we answer (also WHIP)."""

from collections.abc import Callable, Mapping
from typing import Literal

from sfu import negotiation, sdp
from sfu.errors import Refused
from sfu.forwarding import Kind, Publisher, Tally
from sfu.room import Member, PublishedTrack
from sfu.sdp import Candidate, Description, LocalMedia, Media
from sfu.transport import PeerTransport, Transports

# A camera, a screen with sound, a microphone, and as many again.
TRACKS_PER_PARTICIPANT = 8

DEFAULT_SOURCES = {"audio": "microphone", "video": "camera"}

# RFC 8842 section 5: we are always the DTLS server, so the peer must be able to be the client.
OFFERED_SETUPS = frozenset({"actpass", "active"})


class Publishing:
    """One publishing connection.

    1. `receive_offer` answers; afterwards `tracks` is what the peer publishes.
    2. Packets reach the forwarding core by themselves.
    3. `close` at the end.
    """

    def __init__(
        self,
        transports: Transports,
        owner: Member,
        *,
        random: Callable[[int], bytes],
        tally: Tally,
        now: float,
    ) -> None:
        self.transport: PeerTransport = transports.open(now)
        self.publisher = Publisher(
            self.transport, random=random, participant=owner.id, user=owner.user, tally=tally
        )
        self.transport.core = self.publisher
        self.transport.on_rtp = self.publisher.receive_rtp
        self.transport.inlet.serve(self.publisher)
        self.transport.on_rtcp = self.publisher.receive_rtcp
        self.tracks: dict[str, PublishedTrack] = {}
        # Which m-line carries the transport: ICE restarts by fragment name it.
        self.bundle_mid = "0"
        self.bundle_kind = "audio"
        self._owner = owner
        self._random = random
        self._session_id = int.from_bytes(random(4), "big")
        self._version = 0

    def receive_offer(
        self,
        description: Description,
        sources: Mapping[str, str],
        candidates: tuple[Candidate, ...],
        now: float,
    ) -> str:
        """Answer an offer; nothing changes when it is refused.

        Raises:
            SdpError: an offer we cannot serve.
            Refused: `unsupported_codecs`, `too_many_tracks`.
        """
        carrier = negotiation.check_transport(description, OFFERED_SETUPS)
        sent = sent_media(description)
        self._follow(carrier, now)
        for mid in [mid for mid in self.tracks if mid not in sent]:
            self._remove(mid)
        for mid, media in sent.items():
            self._receive(media, sources.get(mid, DEFAULT_SOURCES[media.kind]))
        self._version += 1
        return sdp.build(
            self._session_id,
            self._version,
            self.transport.local(candidates, "passive"),
            [self._answer(media, description) for media in description.media],
        )

    def close(self) -> None:
        """End the connection and its tracks."""
        self.transport.close()
        for mid in list(self.tracks):
            self._remove(mid)

    def _follow(self, carrier: Media, now: float) -> None:
        """Take the peer's transport parameters; new ones mean an ICE restart or a new peer."""
        assert carrier.credentials is not None
        self.bundle_mid, self.bundle_kind = carrier.mid, carrier.kind
        if self.transport.fingerprints not in {(), carrier.fingerprints}:
            # Another certificate is another RTCPeerConnection: its m-lines are new ones.
            for mid in list(self.tracks):
                self._remove(mid)
        if self.transport.ice.remote not in {None, carrier.credentials}:
            self.transport.restart(now)
        self.transport.accept(carrier.fingerprints, carrier.credentials, now)

    def _receive(self, media: Media, source: str) -> None:
        codec = negotiation.acceptable_codecs(media)[0]
        known = self.tracks.get(media.mid)
        if known is not None:
            if known.media.source == source and known.codec == codec:
                self.publisher.bind(known.media, media.ssrcs, media.rtx_ssrcs)
                return
            self._remove(media.mid)
        kind: Kind = "audio" if media.kind == "audio" else "video"
        track = self.publisher.add_track(
            f"t-{self._random(9).hex()}",
            kind,
            source,
            media.mid,
            [codec],
            negotiation.accepted_extensions(media, published=True),
            media.ssrcs,
            media.rtx_ssrcs,
        )
        self.tracks[media.mid] = PublishedTrack(track, self._owner, media.mid, codec)

    def _remove(self, mid: str) -> None:
        track = self.tracks.pop(mid)
        self.publisher.remove_track(track.media)

    def _answer(self, media: Media, description: Description) -> LocalMedia:
        if not negotiation.supported(media, description):
            return negotiation.reject(media)
        codecs = negotiation.acceptable_codecs(media)[:1]
        direction: Literal["recvonly", "inactive"] = (
            "recvonly" if media.mid in self.tracks else "inactive"
        )
        return negotiation.answer(media, codecs, direction)


def sent_media(description: Description) -> dict[str, Media]:
    """Return the m-lines of an offer that carry something to us, by mid.

    Raises:
        Refused: `unsupported_codecs` when nothing of it has a codec we forward,
            `too_many_tracks`.
    """
    wanted = [
        media
        for media in description.media
        if media.kind in negotiation.OFFERED and negotiation.publishes(media) and not media.rejected
    ]
    served = {media.mid: media for media in wanted if negotiation.supported(media, description)}
    if wanted and not served:
        raise Refused("unsupported_codecs")
    if len(served) > TRACKS_PER_PARTICIPANT:
        raise Refused("too_many_tracks", f"at most {TRACKS_PER_PARTICIPANT}")
    return served
