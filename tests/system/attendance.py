"""Who took part in a room's media, and from when to when, as the pages were told."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.system.browser import Visitor


@dataclass
class Stay:
    """One participant's time in media, in seconds since the epoch."""

    user: str
    began: float
    ended: float | None = None  # None: nobody has seen them leave

    @property
    def seconds(self) -> int:
        """Return its length as protocol.md counts an interval: floor of the end minus of the start.

        What is heard is heard a little late at both ends, so the metered figure is the same or,
        where a second turned meanwhile, one off.
        """
        assert self.ended is not None, self
        return math.floor(self.ended) - math.floor(self.began)


def stays(visitors: Iterable[Visitor]) -> dict[str, Stay]:
    """Return the stays by participant id, from everything the pages received.

    A stay begins with its own `media.joined` or when another page hears of it, and ends with its
    own `media.left` or when another page hears of that: whichever came first.
    """
    found: dict[str, Stay] = {}
    for at, event, participant, user in sorted(e for v in visitors for e in _events(v)):
        stay = found.setdefault(participant, Stay(user, at))
        if event == "left" and stay.ended is None:
            stay.ended = at
    return found


def _events(visitor: Visitor) -> Iterator[tuple[float, str, str, str]]:
    """Yield (when, joined or left, participant, user) as one page heard it."""
    me = user = ""
    for heard in visitor.received:
        match heard.frame:
            case {"t": "welcome", "user": {"id": user}}:
                pass
            case {"t": "media.joined", "participant": me}:
                yield heard.at, "joined", me, user
            case {"t": "media.left"}:
                yield heard.at, "left", me, user
            case {"t": "media.participant", "event": event, "participant": who, "user": whose}:
                yield heard.at, event, who, whose
