"""The connection on which a chat participant receives: we offer, the peer answers.

The m-lines of a connection never move and never go away (RFC 8829 section 5.2.2): each is a
`Slot`. A slot whose track ended is offered inactive once; after the answer it is idle and can
carry another track under fresh SSRCs. Tracks beyond `SLOTS_LIMIT` wait for an idle one.

**At most one offer is outstanding**; what changes meanwhile goes into the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from sfu import negotiation, sdp
from sfu.codec import Codec
from sfu.errors import Refused, SdpError
from sfu.forwarding import Subscriber, Subscription, Tally
from sfu.room import PublishedTrack
from sfu.sdp import Candidate, Description, LocalMedia, Media
from sfu.transport import PeerTransport, Transports

# A phone under load answers in about a second; a lost answer costs this much silence.
ANSWER_S = 15.0

# RFC 8842: we offered actpass; only an active answerer leaves the DTLS server to us.
ANSWERED_SETUPS = frozenset({"active"})
# An answer to so many is 100 KB, near the chat's limit of a frame, and within those of `sfu.sdp`.
SLOTS_LIMIT = 128

OfferFrame = dict[str, Any]


class SlotState(Enum):
    """What an m-line does."""

    ACTIVE = "carries a track"
    ENDING = "its track ended, the next offer says so"
    IDLE = "the last answer agreed that it is inactive: another track may come"
    REFUSED = "the peer switched it off: it stays inactive"


class Slot:
    """One m-line and the track on it."""

    def __init__(self, mid: str, kind: str) -> None:
        self.mid = mid
        self.kind = kind
        self.state = SlotState.ACTIVE
        self.track: PublishedTrack | None = None
        # What the outstanding offer says, while `track` may have ended since.
        self.offered: PublishedTrack | None = None
        self.ssrc = 0
        self.rtx_ssrc: int | None = None
        # What the peer answered for the present track; empty until it did.
        self.codecs: Sequence[Codec] = ()
        self.extensions: dict[str, int] = {}
        self.subscription: Subscription | None = None


class Subscribing:
    """One server-offered connection.

    1. `update` takes what the participant should receive; ended tracks fall silent at once.
    2. `offer` when `offer_due`; its frame goes to the client.
    3. `receive_answer` starts forwarding, at once or when the transport is connected.
    4. `handle_timeout` makes an offer due again that nobody answered.
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
        self.slots: list[Slot] = []
        self.number = 0
        self.answer_until: float | None = None
        self._random = random
        self._session_id = int.from_bytes(random(4), "big")
        self._ssrcs: set[int] = set()
        self._wanted: list[PublishedTrack] = []
        # Tracks the peer would not take; offering them again would change nothing.
        self._declined: set[str] = set()
        self._must_offer = False

    @property
    def subscriptions(self) -> list[Subscription]:
        """Return what is being forwarded, or waits for a key frame."""
        return [slot.subscription for slot in self.slots if slot.subscription is not None]

    @property
    def offer_due(self) -> bool:
        """Tell whether a new offer should go out now."""
        return self.answer_until is None and (self._must_offer or self._differs())

    def update(self, wanted: Sequence[PublishedTrack]) -> None:
        """Take the tracks the participant should receive."""
        self._wanted = list(wanted)
        kept = {track.id for track in wanted}
        self._declined &= kept
        for slot in self.slots:
            if slot.track is not None and slot.track.id not in kept:
                self._vacate(slot)

    def restart(self, now: float) -> None:
        """Offer again with new ICE credentials, also when an answer is outstanding."""
        if self.slots:
            self.transport.restart(now)
            self.offer_again()

    def offer_again(self) -> None:
        """Make a new offer due; an outstanding one becomes stale."""
        if self.slots:
            self.answer_until = None
            self._must_offer = True

    def offer(self, candidates: tuple[Candidate, ...], now: float) -> OfferFrame:
        """Make the next offer: `n`, `sdp` and the tracks with their mids."""
        for track in list(self._missing()):
            self._place(track)
        for slot in self.slots:
            slot.offered = slot.track
        self.number += 1
        self._must_offer = False
        self.answer_until = now + ANSWER_S
        self.transport.ice.touch(now)
        transport = self.transport.local(candidates, "actpass")
        text = sdp.build(self._session_id, self.number, transport, [_media(s) for s in self.slots])
        return {
            "n": self.number,
            "sdp": text,
            "tracks": [
                {"mid": slot.mid, **slot.track.as_map()}
                for slot in self.slots
                if slot.track is not None
            ],
        }

    def receive_answer(self, number: int, description: Description, now: float) -> None:
        """Take the answer to our offer `number`.

        Raises:
            Refused: `stale_offer` when it is not the outstanding one.
            SdpError: not an answer to it.
        """
        if number != self.number or self.answer_until is None:
            raise Refused("stale_offer")
        if [media.mid for media in description.media] != [slot.mid for slot in self.slots]:
            raise SdpError("an answer has the m-lines of its offer")
        carrier = negotiation.check_transport(description, ANSWERED_SETUPS)
        assert carrier.credentials is not None
        self.transport.accept(carrier.fingerprints, carrier.credentials, now)
        self.answer_until = None
        for slot, media in zip(self.slots, description.media, strict=True):
            self._settle(slot, media)
        self.forward()

    def forward(self) -> None:
        """Start forwarding what was answered, if the transport is connected."""
        if not self.transport.connected:
            return
        for slot in self.slots:
            if slot.subscription is None and slot.track is not None and slot.codecs:
                slot.subscription = self.subscriber.subscribe(
                    slot.track.media,
                    mid=slot.mid,
                    ssrc=slot.ssrc,
                    rtx_ssrc=slot.rtx_ssrc,
                    codecs=slot.codecs,
                    extensions=slot.extensions,
                )

    def connected(self) -> None:
        """Note that the transport can carry media (again)."""
        for subscription in self.subscriptions:
            # Packets since the last one that arrived are lost to the peer.
            subscription.track.request_key_frame()
        self.forward()

    def lost(self) -> None:
        """Stop forwarding: nobody is there.

        The numbers of a stream must not start over under the same keys and SSRC, so a peer that
        comes back gets another offer with fresh ones.
        """
        for slot in self.slots:
            self._unsubscribe(slot)
            slot.codecs = ()
            if slot.track is not None:
                self._number(slot)
                self._must_offer = True

    def handle_timeout(self, now: float) -> bool:
        """Give up waiting for an answer; tell whether the offer is to be made again."""
        if self.answer_until is None or now < self.answer_until:
            return False
        self.offer_again()
        return True

    def close(self) -> None:
        """End the connection."""
        for slot in self.slots:
            self._unsubscribe(slot)
        self.transport.close()

    def _differs(self) -> bool:
        """Tell whether the last offer shows something else than is wanted."""
        return any(slot.state is SlotState.ENDING for slot in self.slots) or any(self._missing())

    def _missing(self) -> Iterator[PublishedTrack]:
        """Yield the wanted tracks that are not offered, though there may be a place for them."""
        offered = {slot.track.id for slot in self.slots if slot.track is not None}
        placeable = {slot.kind for slot in self.slots if slot.state is SlotState.IDLE}
        if len(self.slots) < SLOTS_LIMIT:
            placeable |= negotiation.OFFERED.keys()
        for track in self._wanted:
            missing = track.id not in offered and track.id not in self._declined
            if missing and track.kind in placeable:
                yield track

    def _place(self, track: PublishedTrack) -> None:
        """Put a track on an idle m-line or a new one, if there may be one more."""
        for slot in self.slots:
            if slot.state is SlotState.IDLE and slot.kind == track.kind:
                break
        else:
            if len(self.slots) >= SLOTS_LIMIT:
                return
            slot = Slot(str(len(self.slots)), track.kind)
            self.slots.append(slot)
        slot.track = track
        slot.state = SlotState.ACTIVE
        self._number(slot)

    def _number(self, slot: Slot) -> None:
        slot.ssrc = self._fresh_ssrc()
        slot.rtx_ssrc = self._fresh_ssrc() if slot.kind == "video" else None

    def _fresh_ssrc(self) -> int:
        while True:
            ssrc = int.from_bytes(self._random(4), "big")
            if ssrc and ssrc not in self._ssrcs:
                self._ssrcs.add(ssrc)
                return ssrc

    def _settle(self, slot: Slot, media: Media) -> None:
        """Take what the peer says to one m-line."""
        if slot.offered is None:
            slot.state = SlotState.REFUSED if media.rejected else SlotState.IDLE
            return
        if slot.track is None:
            return
        codecs = negotiation.acceptable_codecs(media)
        fits = any(codec.name == slot.track.codec.name for codec in codecs)
        if media.rejected or not negotiation.receives(media) or not fits:
            self._declined.add(slot.track.id)
            self._vacate(slot)
            return
        slot.codecs = codecs
        slot.extensions = negotiation.accepted_extensions(media)

    def _vacate(self, slot: Slot) -> None:
        self._unsubscribe(slot)
        slot.track = None
        slot.codecs = ()
        slot.state = SlotState.ENDING

    def _unsubscribe(self, slot: Slot) -> None:
        if slot.subscription is not None:
            self.subscriber.unsubscribe(slot.subscription)
            slot.subscription = None


def _media(slot: Slot) -> LocalMedia:
    codec = slot.track.codec.name if slot.track is not None else ""
    media = negotiation.offer(slot.kind, slot.mid, codec)
    if slot.track is None:
        return media
    return replace(
        media,
        direction="sendonly",
        stream=slot.track.owner.id,
        track=slot.track.id,
        ssrc=slot.ssrc,
        rtx_ssrc=slot.rtx_ssrc,
    )
