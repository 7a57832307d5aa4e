"""What we accept of an offer, and what we offer ourselves (RFC 3264, RFC 8829); pure functions.

Our own offers always use the same payload types and extension ids, so that most receivers can
share one rewritten packet. Answers use the numbers of the offer, as RFC 3264 section 6.1 asks.
"""

from collections.abc import Sequence
from dataclasses import replace

from sfu.codec import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    DEPENDENCY_DESCRIPTOR,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_SEQUENCE,
    VIDEO_ORIENTATION,
    Codec,
)
from sfu.errors import SdpError
from sfu.sdp import PROFILES, Description, Direction, LocalMedia, Media, parameter

OPUS = Codec("opus", 111, 48000, 2, "minptime=10;useinbandfec=1")
VP8 = Codec("VP8", 96, 90000, rtx_payload_type=97)
# Constrained baseline 3.1 is what every browser decodes (RFC 7742 section 6.2).
H264 = Codec(
    "H264",
    102,
    90000,
    fmtp="level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    rtx_payload_type=103,
)
VP9 = Codec("VP9", 98, 90000, fmtp="profile-id=0", rtx_payload_type=99)
# Main profile; the level is a receiver's own affair. 35 to 63 are dynamic too (RFC 5761 section 4).
AV1 = Codec("AV1", 45, 90000, fmtp="profile=0;tier=0", rtx_payload_type=46)
OFFERED = {"audio": (OPUS,), "video": (VP8, H264, VP9, AV1)}
OFFERED_EXTENSIONS: dict[str, dict[str, int]] = {
    "audio": {MID: 1, AUDIO_LEVEL: 2, ABS_SEND_TIME: 3},
    "video": {
        MID: 1,
        ABS_SEND_TIME: 3,
        VIDEO_ORIENTATION: 4,
        DEPENDENCY_DESCRIPTOR: 5,
        # Not for sound: it is repeated under its own numbers, so with its first bytes.
        TRANSPORT_SEQUENCE: 6,
    },
}
# Of what a publisher sends: also what says which packet belongs where, and when it came.
PUBLISHED_EXTENSIONS: dict[str, frozenset[str]] = {
    "audio": frozenset({*OFFERED_EXTENSIONS["audio"], TRANSPORT_SEQUENCE}),
    "video": frozenset({*OFFERED_EXTENSIONS["video"], RID, REPAIRED_RID}),
}
TRANSPORT_FEEDBACK = "transport-cc"
FEEDBACK: dict[str, tuple[str, ...]] = {
    "audio": ("nack",),
    "video": ("goog-remb", TRANSPORT_FEEDBACK, "ccm fir", "nack", "nack pli"),
}
PUBLISHED_FEEDBACK: dict[str, tuple[str, ...]] = {
    "audio": (TRANSPORT_FEEDBACK, "nack"),
    "video": FEEDBACK["video"],
}
# RFC 5761 section 4: these would be taken for RTCP on a shared port.
_RTCP_LOOKALIKES = range(64, 96)


def check_transport(description: Description, setups: frozenset[str]) -> Media:
    """Return the m-line that carries the transport, if we can serve it.

    Raises:
        SdpError: not bundled, no ICE credentials or fingerprint, or a DTLS role we cannot take:
            we are always the DTLS server.
    """
    transport = description.transport
    if transport.credentials is None:
        raise SdpError("no ICE credentials")
    if not transport.fingerprints:
        raise SdpError("no certificate fingerprint")
    if transport.setup not in setups:
        raise SdpError(f"a=setup must be one of {', '.join(sorted(setups))}")
    if any(m.kind in OFFERED and not m.rejected and not m.rtcp_mux for m in description.media):
        raise SdpError("rtcp-mux is required")
    return transport


def supported(media: Media, description: Description) -> bool:
    """Tell whether an m-line of an offer can be anything but rejected."""
    return (
        media.kind in OFFERED
        and not media.rejected
        and media.profile in PROFILES
        and media.mid in description.bundle
        and bool(acceptable_codecs(media))
    )


def acceptable_codecs(media: Media) -> tuple[Codec, ...]:
    """Return the codecs of a peer that we forward, in our order: Opus; VP8, H.264, VP9, AV1.

    One of them is chosen for everybody, and nothing is ever transcoded: so the most widely decoded
    comes first, and an application that wants another offers only that (`setCodecPreferences`).
    """
    if media.acceptable is None:
        media.acceptable = tuple(_acceptable(media))
    return media.acceptable


def _acceptable(media: Media) -> list[Codec]:
    usable = [codec for codec in media.codecs if codec.payload_type not in _RTCP_LOOKALIKES]
    if media.kind == "audio":
        return [
            _spelt(codec, "opus", media)
            for codec in usable
            if codec.name.lower() == "opus" and codec.clock_rate == 48000
        ]
    # Encoding names ignore case (RFC 8866 section 6.6); from here on they are spelt one way.
    vp8 = [_spelt(codec, "VP8", media) for codec in usable if codec.name.upper() == "VP8"]
    h264 = [
        _spelt(codec, "H264", media)
        for codec in usable
        if codec.name.upper() == "H264" and _packetization_mode(codec) == "1"
    ]
    # Receivers are promised constrained baseline, so it goes before the other profiles.
    h264.sort(key=lambda codec: not _is_baseline(codec))
    vp9 = [
        _spelt(codec, "VP9", media)
        for codec in usable
        if codec.name.upper() == "VP9" and (parameter(codec.fmtp, "profile-id") or "0") == "0"
    ]
    av1 = [
        _spelt(codec, "AV1", media)
        for codec in usable
        if codec.name.upper() == "AV1" and (parameter(codec.fmtp, "profile") or "0") == "0"
    ]
    return vp8 + h264 + vp9 + av1


def _spelt(codec: Codec, name: str, media: Media) -> Codec:
    return replace(codec, name=name, nack="nack" in media.feedback[codec.payload_type])


def _packetization_mode(codec: Codec) -> str:
    return parameter(codec.fmtp, "packetization-mode") or "0"


def _is_baseline(codec: Codec) -> bool:
    profile = parameter(codec.fmtp, "profile-level-id").lower()
    return profile.startswith(("42e0", "42c0", "4200"))


def accepted_extensions(media: Media, *, published: bool = False) -> dict[str, int]:
    """Return the header extensions of a peer that we use, under its ids.

    ``published`` tells those of what it sends from those of what it is sent. A dependency
    descriptor may need the two-byte form while other packets have the one-byte one.
    """
    ours = (PUBLISHED_EXTENSIONS if published else OFFERED_EXTENSIONS)[media.kind]
    return {
        uri: number
        for uri, number in media.extensions.items()
        if uri in ours and (uri != DEPENDENCY_DESCRIPTOR or media.extmap_allow_mixed)
    }


def accepted_feedback(
    media: Media, codecs: Sequence[Codec], *, published: bool = False
) -> dict[int, list[str]]:
    """Return the feedback of a peer that we use, by payload type."""
    ours = (PUBLISHED_FEEDBACK if published else FEEDBACK)[media.kind]
    return {
        codec.payload_type: [kind for kind in ours if kind in media.feedback[codec.payload_type]]
        for codec in codecs
    }


def reject(media: Media) -> LocalMedia:
    """Answer an m-line with port 0."""
    return LocalMedia(
        media.kind,
        media.mid,
        "inactive",
        rejected=True,
        profile=media.profile,
        formats=media.formats,
    )


def publishes(media: Media) -> bool:
    """Tell whether the peer means to send on this m-line."""
    return media.direction in {"sendonly", "sendrecv"}


def receives(media: Media) -> bool:
    """Tell whether the peer means to receive on this m-line."""
    return media.direction in {"recvonly", "sendrecv"}


def answer(media: Media, codecs: Sequence[Codec], direction: Direction) -> LocalMedia:
    """Answer an m-line with `codecs` of the offer."""
    published = direction == "recvonly" or (direction == "inactive" and publishes(media))
    return LocalMedia(
        media.kind,
        media.mid,
        direction,
        codecs=[_our_wish(codec) for codec in codecs],
        feedback=accepted_feedback(media, codecs, published=published),
        extensions=accepted_extensions(media, published=published),
        extmap_allow_mixed=media.extmap_allow_mixed,
        rtcp_rsize=media.rtcp_rsize,
        profile=media.profile,
    )


def _our_wish(codec: Codec) -> Codec:
    """Say how we want to be sent to; a peer's own wishes (stereo, sizes) are not ours."""
    match codec.name:
        case "opus":
            # Whoever can pause in silence (DTX) is asked to: others pay for every packet.
            quiet = ";usedtx=1" if parameter(codec.fmtp, "usedtx") == "1" else ""
            return replace(codec, fmtp=OPUS.fmtp + quiet)
        case "VP8":
            return replace(codec, fmtp="")
        case _:
            return codec


def offer(kind: str, mid: str, codec_name: str = "") -> LocalMedia:
    """Offer an m-line in our numbering, inactive until a track is put on it.

    It has the track's codec, and one that everybody knows, so that who cannot decode the track
    keeps the m-line: 128 of them with all codecs would be more than a chat frame may hold.
    """
    first, *others = OFFERED[kind]
    codecs = (*(codec for codec in others if codec.name == codec_name), first)
    return LocalMedia(
        kind,
        mid,
        "inactive",
        codecs=codecs,
        feedback={codec.payload_type: FEEDBACK[kind] for codec in codecs},
        extensions=OFFERED_EXTENSIONS[kind],
        extmap_allow_mixed=kind == "video",
    )
