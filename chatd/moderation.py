"""What moderation has laid down: who may not come in, who may not speak, which messages are gone.

`ModerationBook` is the port, `MemoryModeration` the book that lives as long as its process. A
sanction covers every room whose name fits its pattern (see `chatd.grants`); `**` is everywhere.
"""

from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, Protocol

from chatd.grants import Grant

EVERYWHERE = "**"
What = Literal["text", "audio", "video"]


class Sanction(NamedTuple):
    """What somebody may not do where, until when (UTC milliseconds, None: until it is lifted).

    `what` is what is muted; nothing of it is somebody who may not be there at all. `kicked` says
    that they were only sent out for a while. `by` and `note` are told to them.
    """

    room: str
    user: str
    until_ms: int | None = None
    what: frozenset[What] = frozenset()
    by: str = ""
    note: str = ""
    kicked: bool = False

    def holds(self, room: str, now_ms: int) -> bool:
        """Say whether it is in force in `room`."""
        return (self.until_ms is None or now_ms < self.until_ms) and Grant(self.room).covers(room)

    def left_ms(self, now_ms: int) -> int | None:
        """Return how long it lasts yet, None when it has no end."""
        return None if self.until_ms is None else max(1, self.until_ms - now_ms)


class Removal(NamedTuple):
    """A message that is not to be read any more: its place stays, what it said does not."""

    room: str
    epoch: str
    offset: int
    by: str = ""
    note: str = ""


class Moderated(Protocol):
    """The hub, as the book sees it."""

    def sanctioned(self, user: str) -> None:
        """Look again at what this user may do."""

    def removed(self, removal: Removal) -> None:
        """Tell those who are there that a message is gone."""


class ModerationBook(Protocol):
    """What holds now; asked at each join and page, so it answers from memory.

    Guarantee asked of an implementation: the listener is told of everything new, after the book
    answers by it.
    """

    def barred(self, user: str, room: str, now_ms: int) -> Sanction | None:
        """Return what keeps `user` out of `room`, the longest first; None when nothing does."""

    def barred_everywhere(self, user: str, now_ms: int) -> Sanction | None:
        """Return what keeps `user` off the server."""

    def silence(self, user: str, room: str, now_ms: int) -> Sanction | None:
        """Return what `user` may not say, be heard or be seen with in `room`, taken together."""

    def gone(self, room: str, epoch: str) -> AbstractSet[int]:
        """Return the offsets of the messages that are not to be read any more."""

    def listen(self, listener: Moderated) -> None:
        """Name who is told of what is new; once."""


class MemoryModeration:
    """A book that lives as long as its process."""

    def __init__(self) -> None:
        # user -> (pattern, kind) -> what holds; a kick takes no ban's place.
        self._sanctions: dict[str, dict[tuple[str, str], Sanction]] = {}
        self._gone: dict[tuple[str, str], set[int]] = {}
        self._listener: Moderated | None = None

    def barred(self, user: str, room: str, now_ms: int) -> Sanction | None:
        found = [each for each in self._of(user, mutes=False) if each.holds(room, now_ms)]
        return max(found, key=_length, default=None)

    def barred_everywhere(self, user: str, now_ms: int) -> Sanction | None:
        held = self._of(user, mutes=False)
        found = [each for each in held if each.room == EVERYWHERE and each.holds("any", now_ms)]
        return max(found, key=_length, default=None)

    def silence(self, user: str, room: str, now_ms: int) -> Sanction | None:
        found = [each for each in self._of(user, mutes=True) if each.holds(room, now_ms)]
        if not found:
            return None
        longest = max(found, key=_length)
        return longest._replace(room=room, what=frozenset().union(*(each.what for each in found)))

    def gone(self, room: str, epoch: str) -> AbstractSet[int]:
        return self._gone.get((room, epoch), frozenset())

    def listen(self, listener: Moderated) -> None:
        self._listener = listener

    def put(self, sanction: Sanction) -> None:
        """Lay a sanction down, in place of the one of its kind for the same rooms."""
        held = self._sanctions.setdefault(sanction.user, {})
        held[sanction.room, _kind(sanction)] = sanction
        self._tell(sanction.user)

    def lift(self, room: str, user: str, *, mutes: bool) -> None:
        """End a mute, or what keeps somebody out; harmless where there is none."""
        held = self._sanctions.get(user, {})
        kinds = ("mute",) if mutes else ("kick", "ban")
        if [kind for kind in kinds if held.pop((room, kind), None) is not None]:
            if not held:
                del self._sanctions[user]
            self._tell(user)

    def remove(self, removal: Removal) -> None:
        """Have a message read no more; harmless when repeated."""
        offsets = self._gone.setdefault((removal.room, removal.epoch), set())
        if removal.offset not in offsets:
            offsets.add(removal.offset)
            if self._listener is not None:
                self._listener.removed(removal)

    def become(self, other: "MemoryModeration") -> None:
        """Hold what `other` holds; the listener is told of the difference."""
        before = self._sanctions
        self._sanctions = other._sanctions
        for user in {*before, *self._sanctions}:
            if before.get(user) != self._sanctions.get(user):
                self._tell(user)
        for (room, epoch), offsets in other._gone.items():
            for offset in sorted(offsets):
                self.remove(Removal(room, epoch, offset))
        self._gone = other._gone

    def forget(self, now_ms: int) -> None:
        """Drop the sanctions that are over."""
        for user, held in list(self._sanctions.items()):
            for key, sanction in list(held.items()):
                if sanction.until_ms is not None and sanction.until_ms <= now_ms:
                    del held[key]
            if not held:
                del self._sanctions[user]

    def _of(self, user: str, *, mutes: bool) -> list[Sanction]:
        held = self._sanctions.get(user)
        return [each for each in held.values() if bool(each.what) is mutes] if held else []

    def _tell(self, user: str) -> None:
        if self._listener is not None:
            self._listener.sanctioned(user)


def _kind(sanction: Sanction) -> str:
    if sanction.what:
        return "mute"
    return "kick" if sanction.kicked else "ban"


def _length(sanction: Sanction) -> float:
    return float("inf") if sanction.until_ms is None else sanction.until_ms
