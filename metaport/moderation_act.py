"""One act of a moderator, and what follows from it for the book of moderation."""

from typing import Any, Literal, NamedTuple

from chatd.moderation import MemoryModeration, Removal, Sanction, What

ActName = Literal["mute", "unmute", "kick", "ban", "unban", "remove", "move", "expel"]


class Act(NamedTuple):
    """What a moderator did; `revision` is 0 before it is kept. `room` may be a pattern."""

    act: ActName
    room: str
    user: str | None
    by: str
    at_ms: int
    note: str = ""
    what: tuple[What, ...] = ()
    until_ms: int | None = None
    epoch: str | None = None
    offset: int | None = None
    to: str | None = None
    revision: int = 0

    def as_map(self) -> dict[str, Any]:
        """Return what is set, as API and webhooks tell it."""
        fields = {key: value for key, value in self._asdict().items() if value not in (None, ())}
        if self.act == "remove":
            fields["message"] = f"{self.epoch}-{self.offset}"
        return fields


def apply(act: Act, book: MemoryModeration) -> None:
    """Have `book` say what follows from an act."""
    user = act.user or ""
    match act.act:
        case "mute":
            what = frozenset(act.what)
            book.put(Sanction(act.room, user, act.until_ms, what, act.by, act.note))
        case "unmute":
            book.lift(act.room, user, mutes=True)
        case "kick" | "ban":
            kicked = act.act == "kick"
            book.put(
                Sanction(act.room, user, act.until_ms, by=act.by, note=act.note, kicked=kicked)
            )
        case "unban":
            book.lift(act.room, user, mutes=False)
        case "remove":
            book.remove(Removal(act.room, act.epoch or "", act.offset or 0, act.by, act.note))
