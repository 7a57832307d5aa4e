"""A room as this process knows it while the order is made elsewhere.

Publications arrive out of three hands (a subscription, answers to our own drafts, reads), early,
twice or not at all; they leave in order, each once. No IO and no clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatd.bus import Answer, Page, Publication, Receipt
from chatd.history import Entry, History
from chatd.wire import Since


@dataclass(slots=True)
class Question:
    """A join that waits for the room to be read."""

    since: Since | None
    history: int
    answer: Answer
    deadline: float
    # Read from Redis once on its behalf; what is not in the tail then is not kept anywhere.
    read: bool = False
    # A reading that began after it has told the room's place.
    placed: bool = False


# What is held behind a gap, in messages. Over it everything is read again once the gap is seen.
_MAX_AHEAD = 4096


class Mirror:
    """Order, tail and waiting receipts of one room.

    After any call the caller looks at `behind`: when true, the room must be read and the reading
    given to `load`.
    """

    __slots__ = (
        "_ahead",
        "_max_bytes",
        "_max_messages",
        "_receipts",
        "behind",
        "epoch",
        "offset",
        "questions",
        "reading",
        "room",
        "tail",
    )

    def __init__(self, room: str, max_messages: int, max_bytes: int) -> None:
        self.room = room
        # Empty until the room was read once.
        self.epoch = ""
        self.offset = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.tail = History(max_messages, max_bytes)
        # Not in order yet, by place. Of other epochs too: the next reading says which is current.
        self._ahead: dict[tuple[str, int], Publication] = {}
        # Receipts whose message is not delivered here yet.
        self._receipts: dict[tuple[str, int], Receipt] = {}
        self.questions: list[Question] = []
        # Something is missing that only a reading can tell.
        self.behind = False
        # A reading is under way.
        self.reading = False

    def knows(self, epoch: str, offset: int) -> bool:
        """Say whether this publication has come before."""
        return (epoch == self.epoch and offset <= self.offset) or (epoch, offset) in self._ahead

    def receive(self, publication: Publication) -> list[Publication]:
        """Take a publication; return those that are in order now."""
        if not self.epoch:
            # Nobody here has a place in the room: the first reading will have it.
            if self.questions:
                self._hold(publication)
            return []
        if publication.epoch != self.epoch:
            # Another epoch has begun, or this is a straggler of one that ended: ask.
            self._hold(publication)
            self.behind = True
            return []
        offset = publication.message.offset
        if offset <= self.offset:
            return []
        if offset != self.offset + 1:
            self._hold(publication)
            return []
        ready = [publication]
        self._advance(publication)
        self._drain(ready)
        return ready

    @property
    def gapped(self) -> bool:
        """Something is held behind what has not come."""
        return bool(self._ahead) and bool(self.epoch)

    def load(
        self,
        epoch: str,
        offset: int,
        entries: Sequence[Entry],
        decode: Callable[[bytes], Publication],
    ) -> tuple[bool, list[Publication]]:
        """Take a reading: the room's place and its newest entries, without a gap up to it.

        Returns whether those who are connected have lost their place, and what is in order now.
        They have when the epoch is another, or messages they did not get are no longer kept.
        """
        known = bool(self.epoch)
        lapsed, ready = False, []
        if epoch == self.epoch and offset <= self.offset:
            self._widen(entries)
        else:
            missed = offset - self.offset
            if known and (epoch != self.epoch or missed > len(entries)):
                lapsed = True
            if known and not lapsed:
                ready = [
                    # Ours are known as such only here.
                    self._ahead.get((epoch, entry.offset)) or decode(entry.packed)
                    for entry in entries[len(entries) - missed :]
                ]
            self.epoch, self.offset = epoch, offset
            self.tail = self._tail_of(entries)
        self.behind = False
        # Our own are to be stored here before they are acknowledged, whoever still listens.
        own = (place for place in self._receipts if place in self._ahead)
        if lapsed:
            ready = [self._ahead[p] for p in sorted(own) if p[0] == epoch and p[1] <= self.offset]
        self._ahead = {
            place: publication
            for place, publication in self._ahead.items()
            if place[0] == epoch and place[1] > self.offset
        }
        self._drain(ready)
        return lapsed, ready

    def claim(self, publication: Publication) -> bool:
        """Say that a known publication is ours; False when it was delivered already."""
        place = (publication.epoch, publication.message.offset)
        if place not in self._ahead:
            return False
        self._ahead[place] = publication
        return True

    def copy(
        self, epoch: str, offset: int, decode: Callable[[str, bytes], Publication]
    ) -> Publication | None:
        """Return what stands at a place, None when it is not at hand."""
        held = self._ahead.get((epoch, offset))
        if held is not None:
            return decode(epoch, held.packed)
        after = self.tail.after(offset - 1, self.offset) if epoch == self.epoch else None
        return decode(epoch, after[0].packed) if after else None

    def wait(self, epoch: str, receipt: Receipt) -> bool:
        """Keep `receipt` until its message was delivered; False when it was."""
        if epoch == self.epoch and receipt.offset <= self.offset:
            return False
        self._receipts[epoch, receipt.offset] = receipt
        return True

    def release(self) -> list[Receipt]:
        """Return the receipts whose messages are in order now."""
        if not self._receipts:
            return []
        due = [p for p in self._receipts if p[0] == self.epoch and p[1] <= self.offset]
        return [self._receipts.pop(place) for place in due]

    def forsake(self) -> list[Receipt]:
        """Return the receipts of messages in epochs that have ended; after `load`."""
        gone = [place for place in self._receipts if place[0] != self.epoch]
        return [self._receipts.pop(place) for place in gone]

    def abandon(self) -> tuple[list[Publication], list[Receipt]]:
        """Give up what waits, out of order: nobody here listens any more."""
        publications = [self._ahead[place] for place in self._receipts if place in self._ahead]
        receipts = list(self._receipts.values())
        self._ahead, self._receipts = {}, {}
        return publications, receipts

    def page(self, since: Since | None, history: int) -> Page | None:
        """Answer from the tail, None when more than it has is asked for, or when it may be old."""
        if not self.epoch or self.is_elsewhere(since):
            return None
        if since is None:
            enough = len(self.tail) >= min(history, self.offset)
            return self._last(history) if enough else None
        missed = self.tail.after(since.offset, self.offset)
        return None if missed is None else Page(self.epoch, self.offset, True, missed, fresh=True)

    def is_elsewhere(self, since: Since | None) -> bool:
        """Say whether somebody was at a place that is not known here.

        They may be ahead: what another process has told them is still on its way to this one.
        """
        return since is not None and (since.epoch != self.epoch or since.offset > self.offset)

    def best_page(self, since: Since | None, history: int) -> Page:
        """Answer from the tail, though more may have been asked for."""
        page = self.page(since, history)
        if page is not None:
            return page
        return (
            self._last(history)
            if since is None
            else Page(self.epoch, self.offset, False, (), fresh=True)
        )

    def forget(self) -> int:
        """Drop the tail; return how many bytes that were."""
        size_bytes = self.tail.size_bytes
        self.tail.clear()
        return size_bytes

    def _last(self, history: int) -> Page:
        entries = self.tail.last(history) if history else ()
        return Page(self.epoch, self.offset, False, entries, fresh=True)

    def _hold(self, publication: Publication) -> None:
        if len(self._ahead) >= _MAX_AHEAD:
            self._ahead.clear()
            self.behind = True
        self._ahead[publication.epoch, publication.message.offset] = publication

    def _advance(self, publication: Publication) -> None:
        self.offset = publication.message.offset
        self.tail.append(Entry(self.offset, publication.packed))

    def _drain(self, ready: list[Publication]) -> None:
        while self._ahead:
            publication = self._ahead.pop((self.epoch, self.offset + 1), None)
            if publication is None:
                return
            self._advance(publication)
            ready.append(publication)

    def _widen(self, entries: Sequence[Entry]) -> None:
        """Let the tail begin as early as `entries`, when those reach it."""
        # By where they begin, not by how many: the tail may have grown since they were read.
        if not entries or entries[0].offset > self.offset - len(self.tail):
            return
        later = [
            entry for entry in self.tail.last(len(self.tail)) if entry.offset > entries[-1].offset
        ]
        if entries[-1].offset + len(later) == self.offset:
            self.tail = self._tail_of([*entries, *later])

    def _tail_of(self, entries: Sequence[Entry]) -> History:
        tail = History(self._max_messages, self._max_bytes)
        for entry in entries:
            tail.append(entry)
        return tail
