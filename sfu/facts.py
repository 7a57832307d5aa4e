"""What happened in the SFU, and the port through which it leaves.

Quantities are integers, instants are milliseconds since the Unix epoch (UTC), intervals are
half-open. One participant's intervals never overlap and leave no gap between joining and leaving.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class ParticipantInterval(msgspec.Struct, frozen=True, tag=True):
    """A stretch of participation during which the same video was forwarded to the participant.

    `pixels` is the sum of width x height over the video streams forwarded to them; 0 is voice.
    `session` names the participation that began at `began_ms`; it goes on where a participant moves
    to another SFU, or comes back from one that died. It is the participant where it is empty.
    """

    room: str
    user: str
    participant: str
    pixels: int
    start_ms: int
    end_ms: int
    session: str = ""
    began_ms: int = 0


class MediaBytes(msgspec.Struct, frozen=True, tag=True):
    """RTP bytes received from and sent to a participant since their previous `MediaBytes`."""

    room: str
    user: str
    participant: str
    at_ms: int
    ingress_bytes: int
    egress_bytes: int


class Attendance(msgspec.Struct, frozen=True, array_like=True):
    """What the SFU's own state says of a stretch of participation so far; nothing is counted by it.

    A later one of the same participant and `since_ms` replaces it. Between `since_ms` and
    `until_ms` the participant was there without a gap; a wall clock that was set begins another
    stretch. Bytes are totals of the participant until then.
    """

    room: str
    user: str
    participant: str
    since_ms: int
    until_ms: int
    ended: bool
    ingress_bytes: int
    egress_bytes: int


class Appearance(msgspec.Struct, frozen=True, array_like=True):
    """A participant, or a track they publish, appeared or `ended`; nothing is counted by it.

    `track`, `kind` and `source` are empty where it is the participant.
    """

    room: str
    user: str
    participant: str
    at_ms: int
    ended: bool
    track: str = ""
    kind: str = ""
    source: str = ""


Fact = ParticipantInterval | MediaBytes | Attendance | Appearance


class Facts(Protocol):
    """Where facts go.

    `commit` is synchronous and keeps all of the batch or nothing: when it returns, the facts
    survive the end of this process. When it raises `sfu.errors.FactsRefused`, nothing of the batch
    happened and the SFU offers the same facts again at its next checkpoint.
    """

    def commit(self, facts: Sequence[Fact]) -> None:
        """Keep `facts`, all or none."""


class MemoryFacts:
    """Facts kept in a list: the default without a journal, and the double of tests."""

    def __init__(self) -> None:
        self.kept: list[ParticipantInterval | MediaBytes] = []
        self.appeared: list[Appearance] = []
        self.attended: dict[tuple[str, int], Attendance] = {}

    def commit(self, facts: Sequence[Fact]) -> None:
        """Keep `facts`; of attendances the newest."""
        for fact in facts:
            if isinstance(fact, Appearance):
                self.appeared.append(fact)
            elif isinstance(fact, Attendance):
                self.attended[fact.participant, fact.since_ms] = fact
            else:
                self.kept.append(fact)
