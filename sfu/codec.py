"""Codecs and header extensions as an SDP negotiation settled them."""

from dataclasses import dataclass

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_SEQUENCE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec under the payload type that one peer gave it.

    ``fmtp`` is the text after the payload type of ``a=fmtp``, empty without one.
    ``rtx_payload_type`` carries its retransmissions (RFC 4588), `None` where not negotiated.
    """

    name: str  # as registered: "opus", "VP8", "H264", "VP9", "AV1"
    payload_type: int
    clock_rate: int
    channels: int = 1
    fmtp: str = ""
    rtx_payload_type: int | None = None
    nack: bool = True  # whether the peer repeats what is asked for by NACK
