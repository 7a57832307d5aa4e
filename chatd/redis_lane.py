"""Lanes: what makes a batch of drafts happen once although connections die.

A lane is a numbered sequence of batches from this process to rooms of one partition, one batch
under way at a time.
The script keeps the number and the answer of the last batch it did. So a batch whose answer never
came is simply sent again: done before, it is answered; not done, it is done now; a first attempt
that was stuck somewhere and arrives later is older than the number and is not done. A draft
without a key is as safe as one with.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from chatd.redis_script import Parcel, Partition

# A call of this many takes about 2 ms of the server, and nobody else is served meanwhile.
_BATCH_PARCELS = 256
_BATCH_BYTES = 1024 * 1024


@dataclass(slots=True)
class Batch:
    """Drafts that are given their places by one call."""

    sequence: int
    parcels: Sequence[Parcel]
    # Generation known when it was first sent; empty before.
    sent_under: str = ""


class Lane:
    """The drafts of this process for some rooms of one partition, oldest first."""

    def __init__(self, partition: Partition, number: int) -> None:
        self.partition = partition
        # No two lanes of a process have the same.
        self.number = number
        # Learned from every answer; a room is always read before something is said in it.
        self.generation = ""
        # Primaries the script knows of here.
        self.peers = ""
        self.batch: Batch | None = None
        # Loop iterations for which the next batch still waits for company.
        self.rest = 0
        self.waiting_bytes = 0
        self._sequence = 0
        self._waiting: deque[Parcel] = deque()

    def add(self, parcel: Parcel) -> None:
        """Put `parcel` at the end."""
        self._waiting.append(parcel)
        self.waiting_bytes += parcel.size_bytes

    def next_batch(self) -> Batch | None:
        """Return a new batch, None when nothing waits or the last is not settled."""
        if self.batch is not None or not self._waiting:
            return None
        parcels: list[Parcel] = []
        size_bytes = 0
        while self._waiting and len(parcels) < _BATCH_PARCELS and size_bytes < _BATCH_BYTES:
            parcel = self._waiting.popleft()
            size_bytes += parcel.size_bytes
            parcels.append(parcel)
        self.waiting_bytes -= size_bytes
        self.batch = self._numbered(parcels)
        return self.batch

    def again(self) -> None:
        """Number the batch anew: nothing of it was done, and that is certain."""
        if self.batch is not None:
            self.batch = self._numbered(self.batch.parcels)

    def settled(self) -> Sequence[Parcel]:
        """Forget the batch; return its parcels."""
        batch, self.batch = self.batch, None
        return batch.parcels if batch is not None else ()

    def give_up(self) -> list[Parcel]:
        """Return every parcel that was certainly never sent, and forget them."""
        parcels: list[Parcel] = []
        if self.batch is not None and not self.batch.sent_under:
            parcels += self.settled()
        parcels += self._waiting
        self._waiting.clear()
        self.waiting_bytes = 0
        return parcels

    def _numbered(self, parcels: Sequence[Parcel]) -> Batch:
        self._sequence += 1
        return Batch(self._sequence, parcels)
