"""The board of a room: each user's last value of each kind, and who looks at it."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from chatd.outbox import Outbox
from chatd.wire import MSGPACK, VARIANTS, Codec, UserState

Member = TypeVar("Member")


class Board(Generic[Member]):
    """Last values without history. `late` are onlookers who missed changes."""

    __slots__ = ("_changed", "_onlookers", "_values", "late", "size_bytes")

    def __init__(self) -> None:
        # user -> kind -> (value, bytes)
        self._values: dict[str, dict[str, tuple[Any, int]]] = {}
        # Since `take_changes`, by user and kind.
        self._changed: dict[tuple[str, str], None] = {}
        self._onlookers: tuple[dict[Member, Outbox], ...] = tuple({} for _ in VARIANTS)
        self.late: set[Member] = set()
        self.size_bytes = 0

    def kinds(self, user: str) -> tuple[str, ...]:
        """Return the kinds `user` shows a value of."""
        return tuple(self._values.get(user, ()))

    def shown_bytes(self, user: str, kind: str) -> int:
        """Return what a value that is shown takes, 0 where there is none."""
        return self._values.get(user, {}).get(kind, (None, 0))[1]

    def put(self, user: str, kind: str, value: Any) -> None:
        """Show `value`; None takes the last one away."""
        shown = self._values.setdefault(user, {})
        _, before_bytes = shown.pop(kind, (None, 0))
        self.size_bytes -= before_bytes
        if value is not None:
            size_bytes = value_bytes(user, kind, value)
            shown[kind] = (value, size_bytes)
            self.size_bytes += size_bytes
        elif not before_bytes:
            return
        if not shown:
            del self._values[user]
        self._changed[user, kind] = None

    def forget(self, user: str) -> None:
        """Take everything of `user` away."""
        for kind in self.kinds(user):
            self.put(user, kind, None)

    def take_changes(self) -> list[UserState]:
        """Return what changed since the last call, each with its last value."""
        changed, self._changed = self._changed, {}
        return [UserState(user, kind, self._value(user, kind)) for user, kind in changed]

    def everything(self) -> list[UserState]:
        """Return every value there is."""
        return [
            UserState(user, kind, value)
            for user, shown in self._values.items()
            for kind, (value, _) in shown.items()
        ]

    def look(self, member: Member, codec: Codec, outbox: Outbox) -> None:
        """Tell `member` what changes."""
        self._onlookers[codec.index][member] = outbox

    def look_away(self, member: Member) -> None:
        """Stop telling `member`."""
        self.late.discard(member)
        for onlookers in self._onlookers:
            onlookers.pop(member, None)

    def onlookers(self) -> Iterator[tuple[Codec, dict[Member, Outbox]]]:
        """Return who is told, by codec, without empty groups."""
        return (
            (codec, self._onlookers[codec.index])
            for codec in VARIANTS
            if self._onlookers[codec.index]
        )

    def _value(self, user: str, kind: str) -> Any:
        return self._values.get(user, {}).get(kind, (None, 0))[0]


def value_bytes(user: str, kind: str, value: Any) -> int:
    """Return what a value takes in a `states` frame."""
    return len(MSGPACK.encode(UserState(user, kind, value)))
