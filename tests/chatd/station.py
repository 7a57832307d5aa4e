"""A process at the bus, without the process: what its listener was told, in order."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from chatd.bus import Bus, Draft, Page, Publication, Receipt
from chatd.errors import FactsRefused
from chatd.facts import RoomOpened
from chatd.wire import Since


async def until(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Let the loop run until `condition` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {within_s} s"
        await asyncio.sleep(0.002)


class Station:
    """A listener that keeps everything; assign `refusal` to have it refuse batches."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.heard: list[Publication] = []
        self.receipts: list[Receipt] = []
        self.refused_drafts: list[tuple[Draft, FactsRefused]] = []
        self.opened_rooms: list[RoomOpened] = []
        self.lapsed_rooms: list[str] = []
        self.refusal: FactsRefused | None = None
        self._drafts = 0
        bus.listen(self)

    def ordered(self, publications: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.heard += publications
        self.receipts += receipts

    def refused(self, drafts: Sequence[Draft], refusal: FactsRefused) -> None:
        self.refused_drafts += [(draft, refusal) for draft in drafts]

    def opened(self, fact: RoomOpened) -> None:
        self.opened_rooms.append(fact)

    def lapsed(self, room: str) -> None:
        self.lapsed_rooms.append(room)

    def draft(
        self, room: str, body: object, *, user: str = "visitor", key: str | None = None
    ) -> Draft:
        self._drafts += 1
        return Draft(room, user, user.title(), body, key, self, self._drafts)

    async def join(self, room: str, since: Since | None = None, history: int = 0) -> Page:
        """Subscribe and read, as a hub does for its first member."""
        self.bus.subscribe(room)
        page = await self.ask(room, since, history)
        assert page is not None
        return page

    async def ask(self, room: str, since: Since | None = None, history: int = 0) -> Page | None:
        answers: list[Page | None] = []
        self.bus.read(room, since, history, answers.append)
        await until(lambda: answers, "an answer to a join")
        return answers[0]

    async def say(self, room: str, *bodies: object, key: str | None = None) -> list[Receipt]:
        """Publish in one batch and wait for the receipts."""
        drafts = [self.draft(room, body, key=key) for body in bodies]
        self.bus.publish(drafts)
        await until(lambda: all(self.receipt(draft) for draft in drafts), "a receipt")
        return [receipt for draft in drafts if (receipt := self.receipt(draft))]

    def receipt(self, draft: Draft) -> Receipt | None:
        found = [receipt for receipt in self.receipts if receipt.draft is draft]
        assert len(found) <= 1, "one receipt for a draft"
        return found[0] if found else None

    def is_refused(self, draft: Draft) -> bool:
        return any(refused is draft for refused, _ in self.refused_drafts)

    def bodies(self, room: str) -> list[object]:
        return [p.message.body for p in self.heard if p.message.room == room]

    def offsets(self, room: str) -> list[int]:
        return [p.message.offset for p in self.heard if p.message.room == room]


def bodies(page: Page) -> list[object]:
    """Return the bodies of a page's entries."""
    return [msgspec.msgpack.decode(entry.packed)["body"] for entry in page.entries]
