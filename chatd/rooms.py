"""Rooms: which connections a message goes to, grouped by subprotocol."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from chatd.bus import Publication
from chatd.outbox import Outbox
from chatd.presence import Roster
from chatd.wire import CODECS, Codec

Member = TypeVar("Member")


class Room(Generic[Member]):
    """The members of one room in this process."""

    __slots__ = ("_joining", "_live", "_watchers", "guests", "name", "roster")

    def __init__(self, name: str, max_named: int) -> None:
        self.name = name
        self.roster = Roster(max_named)
        # Present without a chat connection (WHIP, WHEP).
        self.guests = 0
        self._live: tuple[dict[Member, Outbox], ...] = tuple({} for _ in CODECS)
        # Members the bus has not answered yet, with what was published meanwhile.
        self._joining: dict[Member, list[Publication]] = {}
        self._watchers: tuple[dict[Member, Outbox], ...] = tuple({} for _ in CODECS)

    @property
    def empty(self) -> bool:
        """Nobody is here, or about to be."""
        return not (self.guests or self._joining or any(self._live))

    @property
    def listeners(self) -> int:
        """Connections a live message is written for now."""
        return sum(map(len, self._live))

    def is_live(self, member: Member) -> bool:
        """Say whether `member` gets live messages."""
        return any(member in live for live in self._live)

    def is_joining(self, member: Member) -> bool:
        """Say whether `member` waits for the bus."""
        return member in self._joining

    def prepare(self, member: Member) -> None:
        """Hold what is published for `member` until `admit`."""
        for live in self._live:
            live.pop(member, None)
        self._joining[member] = []

    def hold(self, publications: Sequence[Publication]) -> None:
        """Keep `publications` for those who are joining."""
        for held in self._joining.values():
            held.extend(publications)

    def admit(self, member: Member, codec: Codec, outbox: Outbox) -> list[Publication]:
        """Send live messages to `member` from now on; return what was held meanwhile."""
        held = self._joining.pop(member, [])
        self._live[codec.index][member] = outbox
        return held

    def watch(self, member: Member, codec: Codec, outbox: Outbox) -> None:
        """Tell `member` who comes and goes."""
        self._watchers[codec.index][member] = outbox

    def unwatch(self, member: Member) -> None:
        """Stop telling `member`."""
        for watchers in self._watchers:
            watchers.pop(member, None)

    def dismiss(self, member: Member) -> None:
        """Forget `member`; harmless when it is not here."""
        self._joining.pop(member, None)
        self.unwatch(member)
        for live in self._live:
            live.pop(member, None)

    def audiences(self) -> Iterator[tuple[Codec, dict[Member, Outbox]]]:
        """Return the members for live messages, by codec, without empty groups."""
        return ((codec, self._live[codec.index]) for codec in CODECS if self._live[codec.index])

    def watchers(self) -> Iterator[tuple[Codec, dict[Member, Outbox]]]:
        """Return those who watch presence, by codec, without empty groups."""
        return (
            (codec, self._watchers[codec.index]) for codec in CODECS if self._watchers[codec.index]
        )
