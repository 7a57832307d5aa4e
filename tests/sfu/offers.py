"""Session descriptions of peers: recorded ones from `sdp/`, and small ones built for a peer."""

from collections.abc import Sequence
from pathlib import Path

from sfu import sdp
from sfu.negotiation import OPUS, VP8
from tests.sfu.memory_peer import MemoryPeer

RECORDED = Path(__file__).parent / "sdp"

Line = tuple[str, str]  # kind and direction


def recorded(name: str) -> str:
    """Read a recorded description."""
    return (RECORDED / f"{name}.sdp").read_text()


def offer(
    peer: MemoryPeer, lines: Sequence[Line], *, setup: str = "actpass", ssrc: int = 0x1000
) -> str:
    """Write an offer of one m-line for each of `lines`, numbered as mids; sending ones get SSRCs.

    The m-line with mid n has `ssrc` + 16 n, and one more for its retransmissions.
    """
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    body: list[str] = []
    for mid, (kind, direction) in enumerate(lines):
        body += _line(peer, str(mid), kind, direction, setup)
        if direction in {"sendonly", "sendrecv"}:
            number = ssrc + 16 * mid
            body += [f"a=ssrc:{number} cname:c", f"a=ssrc:{number + 1} cname:c"]
            body.append(f"a=ssrc-group:FID {number} {number + 1}")
    head.append("a=group:BUNDLE " + " ".join(str(mid) for mid in range(len(lines))))
    return "\r\n".join(head + body) + "\r\n"


def answer(peer: MemoryPeer, ours: str, *, setup: str = "active", declined: str = "") -> str:
    """Answer one of our offers: take all that is sent, but for the mids in `declined`."""
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    body: list[str] = []
    used = []
    for media in sdp.parse(ours).media:
        if media.mid in declined.split():
            body += [f"m={media.kind} 0 {media.profile} 0", f"a=mid:{media.mid}", "a=inactive"]
            continue
        used.append(media.mid)
        direction = "recvonly" if media.direction == "sendonly" else "inactive"
        body += _line(peer, media.mid, media.kind, direction, setup)
    head.append("a=group:BUNDLE " + " ".join(used))
    return "\r\n".join(head + body) + "\r\n"


def _line(peer: MemoryPeer, mid: str, kind: str, direction: str, setup: str) -> list[str]:
    codec = OPUS if kind == "audio" else VP8
    formats = f"{codec.payload_type}" + ("" if kind == "audio" else " 97")
    lines = [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a={direction}",
        f"a=ice-ufrag:{peer.credentials.ufrag}",
        f"a=ice-pwd:{peer.credentials.password}",
        f"a=fingerprint:{peer.fingerprint.algorithm} {peer.fingerprint.value}",
        f"a=setup:{setup}",
        "a=rtcp-mux",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
    ]
    if kind == "audio":
        lines.append("a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level")
        lines += ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"]
    else:
        lines += ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"]
        lines += ["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"]
    return lines
