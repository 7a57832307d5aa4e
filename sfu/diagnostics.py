"""How each person's media is doing, read from the state of the forwarding core; sans-IO.

`Diagnostics.room` tells everything of a room: connections and their paths, published tracks as they
arrive here, subscriptions as their receivers report them. `quality` counts all streams of the
process into few classes, for metrics. Losses are fractions from 0 to 1, of the last report.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sfu.ice import Path
from sfu.participant import Participant
from sfu.room import PublishedTrack, Room
from sfu.subscription import Subscription
from sfu.transport import PeerTransport

Map = dict[str, Any]

# Bitrates are measured over this long, while somebody looks.
RATE_S = 1.0
FORGET_S = 30.0
# Upper ends of the classes; what is above the last is "over". Up to 2 % conceals well, 10 % is
# where speech breaks; 150 and 400 ms are the steps of ITU-T G.114, halved for one way.
LOSS_PERCENT = (0, 1, 2, 5, 10)
RTT_MS = (50, 100, 200, 300, 800)


# By stream: when its bytes were last taken, how many there were, bits per second before.
Rates = dict[int, tuple[float, int, int | None]]


class Diagnostics:
    """Tells of rooms; remembers byte counts to make bitrates of them."""

    def __init__(self) -> None:
        self._rates: Rates = {}

    def rooms(self, rooms: Iterable[Room[Participant]], now: float) -> list[Map]:
        """Tell of rooms. The first look at a stream has no bitrate, the next a second later has."""
        self._forget(now)
        return [
            {
                "room": room.name,
                "participants": [self._participant(m, now) for m in room.members.values()],
            }
            for room in rooms
        ]

    def _participant(self, participant: Participant, now: float) -> Map:
        receiving = participant.subscribing or participant.viewing
        publishing = participant.publishing
        return {
            **participant.as_map(),
            "role": participant.role,
            "pixels": participant.pixels(now),
            "ingress_bytes": participant.ingress_bytes,
            "egress_bytes": participant.egress_bytes,
            "publishing": _connection(publishing.transport) if publishing else None,
            "receiving": None
            if receiving is None
            else {
                **_connection(receiving.transport),
                "estimate_bps": receiving.subscriber.remb_bps,
                "path_loss": receiving.subscriber.path_loss,
            },
            "tracks": [
                {
                    **_track(t, now),
                    "bitrate_bps": self._rate(t.media, t.media.ingress_bytes, now),
                }
                for t in (publishing.tracks.values() if publishing else ())
            ],
            "subscriptions": [
                {**_subscription(s), "bitrate_bps": self._rate(s, s.egress_bytes, now)}
                for s in (receiving.subscriptions if receiving else ())
            ],
        }

    def _forget(self, now: float) -> None:
        """Forget streams nobody looked at for a while; most of them have ended."""
        self._rates = {s: rate for s, rate in self._rates.items() if now - rate[0] < FORGET_S}

    def _rate(self, stream: object, count: int, now: float) -> int | None:
        """Return the bits per second of a stream since it was last looked at."""
        at, counted, bps = self._rates.get(id(stream), (now, count, None))
        if now - at >= RATE_S:
            # Of another stream that had the same place in memory before.
            bps = round((count - counted) * 8 / (now - at)) if count >= counted else None
            at, counted = now, count
        self._rates[id(stream)] = at, counted, bps
        return bps


def _connection(transport: PeerTransport) -> Map:
    path = transport.ice.selected
    state = "lost" if transport.lost else "connected" if transport.connected else "connecting"
    return {
        "state": state,
        "path": None if path is None else path_kind(path),
        "address": None if path is None else path.address[0],
    }


def path_kind(path: Path) -> str:
    """Return how packets reach a peer: `udp4`, `udp6`, `tcp4` or `tcp6`."""
    address = str(path.address[0])
    version = 6 if ":" in address and not address.startswith("::ffff:") else 4
    return f"{'tcp' if path.local < 0 else 'udp'}{version}"


def _track(track: PublishedTrack, now: float) -> Map:
    media = track.media
    source = media.current
    return {
        **track.as_map(),
        "codec": track.codec.name,
        "width": media.width,
        "height": media.height,
        "packets": media.packets,
        "ingress_bytes": media.ingress_bytes,
        "fraction_lost": source.fraction_lost if source is not None else None,
        "jitter_s": source.reception.jitter / track.codec.clock_rate
        if source is not None
        else None,
        # From asking for a lost packet to its arrival; only loss lets us measure it.
        "rtt_s": source.detector.rtt_s
        if source is not None and source.detector.recovered
        else None,
        "silent_s": round(now - media.arrived_at, 1) if source is not None else None,
        "nacked": media.nacked,
        "key_frames": media.key_frames,
        "key_frames_asked": media.key_frames_asked,
        "dropped": dict(media.dropped),
    }


def _subscription(subscription: Subscription) -> Map:
    codec = subscription.track.codec
    return {
        "track": subscription.track.id,
        "user": subscription.track.user,
        "kind": subscription.track.kind,
        "source": subscription.track.source,
        "codec": codec.name if codec is not None else None,
        "width": subscription.track.width,
        "height": subscription.track.height,
        "packets": subscription.packets,
        "egress_bytes": subscription.egress_bytes,
        "fraction_lost": subscription.fraction_lost,
        "packets_lost": subscription.packets_lost,
        "jitter_s": subscription.jitter_s,
        "rtt_s": subscription.rtt_s,
        "nacked": subscription.nacked,
        "repeated": subscription.repeated,
        "key_frames_asked": subscription.key_frames_asked,
    }


def quality(participants: Iterable[Participant]) -> dict[str, dict[str, int]]:
    """Count streams by loss, round trip, path and codec; the classes are always the same few."""
    counts = {
        "subscriptions_by_loss": Counter(dict.fromkeys(_names(LOSS_PERCENT), 0)),
        "subscriptions_by_rtt": Counter(dict.fromkeys(_names(RTT_MS), 0)),
        "tracks_by_loss": Counter(dict.fromkeys(_names(LOSS_PERCENT), 0)),
        "tracks_by_codec": Counter[str](),
        "connections_by_path": Counter[str](),
    }
    for participant in participants:
        for transport in participant.transports():
            if transport.connected and transport.ice.selected is not None:
                counts["connections_by_path"][path_kind(transport.ice.selected)] += 1
        publishing = participant.publishing
        for track in publishing.tracks.values() if publishing else ():
            counts["tracks_by_codec"][track.codec.name] += 1
            if track.media.current is not None:
                lost = track.media.current.fraction_lost * 100
                counts["tracks_by_loss"][_name(LOSS_PERCENT, lost)] += 1
        receiving = participant.subscribing or participant.viewing
        for subscription in receiving.subscriptions if receiving else ():
            lost = subscription.fraction_lost * 100
            counts["subscriptions_by_loss"][_name(LOSS_PERCENT, lost)] += 1
            if subscription.rtt_s is not None:
                rtt_ms = subscription.rtt_s * 1000
                counts["subscriptions_by_rtt"][_name(RTT_MS, rtt_ms)] += 1
    return {name: dict(counter) for name, counter in counts.items()}


def _names(ends: tuple[int, ...]) -> list[str]:
    return [*map(str, ends), "over"]


def _name(ends: tuple[int, ...], value: float) -> str:
    return next((str(end) for end in ends if value <= end), "over")
