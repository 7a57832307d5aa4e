"""The session descriptions of a bare client: offers like a browser's, answers as far as used."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MID_EXTENSION = 1
LEVEL_EXTENSION = 2

AUDIO, VIDEO = "audio", "video"
PAYLOAD_TYPES = {AUDIO: 111, VIDEO: 96}

_CODECS = {
    AUDIO: ("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"),
    VIDEO: ("a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"),
}
_EXTENSIONS = {
    AUDIO: (
        f"a=extmap:{MID_EXTENSION} urn:ietf:params:rtp-hdrext:sdes:mid",
        f"a=extmap:{LEVEL_EXTENSION} urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    ),
    VIDEO: (f"a=extmap:{MID_EXTENSION} urn:ietf:params:rtp-hdrext:sdes:mid",),
}


class AnswerError(Exception):
    """An answer lacks something a client needs."""


@dataclass(frozen=True)
class Local:
    """What our side of the transport says of itself."""

    ufrag: str
    password: str
    fingerprint: str
    address: tuple[str, int] | None = None  # offered as the only candidate

    @property
    def candidates(self) -> list[str]:
        """Return the lines that tell the address."""
        if self.address is None:
            return []
        host, port = self.address
        return [f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates"]


@dataclass(frozen=True)
class Line:
    """One m-line we offer. `ssrc` is `None` for a receiving one."""

    kind: str
    mid: str
    ssrc: int | None = None


@dataclass(frozen=True)
class Answer:
    """What the server's side of the transport says."""

    ufrag: str
    password: str
    address: tuple[str, int]


def offer(local: Local, lines: Sequence[Line], setup: str = "actpass") -> str:
    """Write an offer that bundles the lines; by default it leaves the DTLS role to the server."""
    text = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(line.mid for line in lines)}",
        "a=msid-semantic: WMS",
    ]
    for line in lines:
        text += [
            f"m={line.kind} 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPES[line.kind]}",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            f"a=ice-ufrag:{local.ufrag}",
            f"a=ice-pwd:{local.password}",
            f"a=fingerprint:sha-256 {local.fingerprint}",
            f"a=setup:{setup}",
            f"a=mid:{line.mid}",
            "a=rtcp-mux",
            "a=recvonly" if line.ssrc is None else "a=sendonly",
            *_EXTENSIONS[line.kind],
            *_CODECS[line.kind],
        ]
        if line.ssrc is not None:
            text += [f"a=msid:load {line.kind}", f"a=ssrc:{line.ssrc} cname:load"]
        text += local.candidates
    return "\r\n".join(text) + "\r\n"


def answer(local: Local, offered: str) -> str:
    """Accept a server's offer to send, as the DTLS client, with all its codecs and extensions."""
    text = []
    for line in offered.splitlines():
        name = line[2:].partition(":")[0]
        match name:
            case "ice-ufrag":
                text.append(f"a=ice-ufrag:{local.ufrag}")
            case "ice-pwd":
                text.append(f"a=ice-pwd:{local.password}")
            case "fingerprint":
                text.append(f"a=fingerprint:sha-256 {local.fingerprint}")
            case "setup":
                text.append("a=setup:active")
            case "sendonly" | "sendrecv":
                text += ["a=recvonly", *local.candidates]
            case "candidate" | "end-of-candidates" | "ice-options" | "ice-lite" | "ssrc" | "msid":
                pass
            case _:
                text.append(line)
    return "\r\n".join(text) + "\r\n"


def read_answer(text: str) -> Answer:
    """Find credentials and the first IPv4 UDP candidate.

    Raises:
        AnswerError: one of them is missing.
    """
    ufrag = re.search(r"^a=ice-ufrag:(\S+)", text, re.MULTILINE)
    password = re.search(r"^a=ice-pwd:(\S+)", text, re.MULTILINE)
    candidate = re.search(r"^a=candidate:\S+ 1 udp \d+ ([0-9.]+) (\d+) ", text, re.M | re.I)
    if ufrag is None or password is None or candidate is None:
        raise AnswerError(f"credentials or an IPv4 candidate are missing in:\n{text}")
    return Answer(ufrag[1], password[1], (candidate[1], int(candidate[2])))
