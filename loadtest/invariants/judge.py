"""Compares everything that is heard with everything else, and names what breaks a promise."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Frame = dict[str, Any]
Place = tuple[str, str, int]  # room, epoch, offset


@dataclass
class View:
    """How far one person has come in one room; None: in no epoch yet."""

    epoch: str | None = None
    offset: int = 0


@dataclass
class Verdict:
    """What was seen, and what was wrong with it."""

    violations: list[str] = field(default_factory=list)
    acknowledged: int = 0
    heard: int = 0
    joins: int = 0
    recovered: int = 0
    epochs_told: int = 0
    lost: list[Place] = field(default_factory=list)
    # Texts that stand in more than one epoch: sent again to a Redis that had forgotten their keys.
    twice: int = 0


class Judge:
    """One for all people of a run.

    Args:
        keeps_epochs: rooms keep their numbering through everything.
        may_lose: a new epoch may have lost what the one before had acknowledged.
        kept: so many messages of a room are always recovered.
    """

    def __init__(
        self, *, keeps_epochs: bool = True, may_lose: bool = False, kept: int = 1000
    ) -> None:
        self.verdict = Verdict()
        self._began = time.monotonic()
        self._keeps_epochs = keeps_epochs
        self._may_lose = may_lose
        self._kept = kept
        # What stands at a place: the body's unique text, and the id of the message.
        self._placed: dict[Place, tuple[str, str]] = {}
        # Where a text stands, for each epoch it stands in.
        self._texts: dict[tuple[str, str, str], int] = {}
        self._acknowledged: dict[Place, str] = {}

    def joined(self, who: str, view: View, reply: Frame, since: tuple[str, int] | None) -> None:
        """Take the answer to a join; `since` is what was asked for."""
        verdict = self.verdict
        verdict.joins += 1
        room, epoch, offset = reply["room"], reply["epoch"], reply["offset"]
        messages = reply["messages"]
        for message in messages:
            self._place(who, room, epoch, message)
        if since is None:
            self._no_more_than(who, reply, offset)
        elif reply["recovered"]:
            verdict.recovered += 1
            expected = list(range(since[1] + 1, offset + 1))
            if epoch != since[0]:
                self._blame(who, f"{room} recovered from {since} into another epoch {epoch}")
            elif [m["offset"] for m in messages] != expected:
                self._blame(
                    who,
                    f"{room} recovered from {since} to {offset} with "
                    f"{_ranges([m['offset'] for m in messages])}",
                )
        else:
            self._not_recovered(who, reply, since)
        view.epoch, view.offset = epoch, offset

    def heard(self, who: str, view: View, message: Frame) -> None:
        """Take a live message."""
        self.verdict.heard += 1
        room = message["room"]
        if view.epoch is None:
            self._blame(who, f"{room} heard {message['offset']} before `joined`")
            return
        if message["offset"] != view.offset + 1:
            self._blame(who, f"{room} heard {message['offset']} after {view.offset}, live")
        view.offset = message["offset"]
        self._place(who, room, view.epoch, message)

    def acknowledged(self, who: str, view: View, sent: Frame, text: str) -> None:
        """Take a `sent` for a body with this text."""
        self.verdict.acknowledged += 1
        if view.epoch is None:
            self._blame(who, f"{sent['room']} acknowledged {sent['offset']} without a join")
            return
        # The first of a repeat may stand in an epoch that has ended; then the answer says which.
        place = sent["room"], sent.get("epoch", view.epoch), sent["offset"]
        before = self._acknowledged.setdefault(place, text)
        if before != text:
            self._blame(who, f"{place} was acknowledged for {before!r} and for {text!r}")
        self._stand(who, place, text, sent["message_id"])

    def read(self, who: str, room: str, epochs: Mapping[str, Sequence[Frame]]) -> None:
        """Take a whole room, as somebody who came at the end reads it: what is there stays."""
        for epoch, messages in epochs.items():
            offsets = [message["offset"] for message in messages]
            if offsets != list(range(1, len(offsets) + 1)):
                self._blame(who, f"{room} in {epoch} is read as {_ranges(offsets)}")
            for message in messages:
                self._place(who, room, epoch, message)
        stands = Counter(str(m["body"]["text"]) for messages in epochs.values() for m in messages)
        self.verdict.twice += sum(count > 1 for count in stands.values())
        for place in self.missing(room, epochs):
            self.verdict.lost.append(place)
            if not self._may_lose:
                self._blame(who, f"{place} was acknowledged and is lost")

    def missing(self, room: str, epochs: Mapping[str, Sequence[Frame]]) -> list[Place]:
        """Return the acknowledged places of a room whose messages are nowhere in it."""
        texts = {m["body"]["text"] for messages in epochs.values() for m in messages}
        return [
            place
            for place, text in self._acknowledged.items()
            if place[0] == room and text not in texts
        ]

    def _not_recovered(self, who: str, reply: Frame, since: tuple[str, int]) -> None:
        room, epoch, offset = reply["room"], reply["epoch"], reply["offset"]
        if reply["messages"]:
            self._blame(who, f"{room} was not recovered and still has messages")
        if epoch != since[0]:
            self.verdict.epochs_told += 1
            if self._keeps_epochs:
                self._blame(who, f"{room} began anew: {since} is now {epoch} {offset}")
        elif since[1] <= offset <= since[1] + self._kept:
            self._blame(who, f"{room} has {offset} and does not recover {since}")
        elif offset < since[1]:
            self._blame(who, f"{room} went back within an epoch: {since} to {offset}")

    def _no_more_than(self, who: str, reply: Frame, offset: int) -> None:
        offsets = [message["offset"] for message in reply["messages"]]
        if reply["recovered"]:
            self._blame(who, f"{reply['room']} recovered what was not asked for")
        if offsets and offsets != list(range(offset - len(offsets) + 1, offset + 1)):
            self._blame(who, f"{reply['room']} ends at {offset} and told {_ranges(offsets)}")

    def _place(self, who: str, room: str, epoch: str, message: Frame) -> None:
        place = room, epoch, message["offset"]
        self._stand(who, place, str(message["body"]["text"]), message["id"])

    def _stand(self, who: str, place: Place, text: str, message_id: str) -> None:
        stands = self._placed.setdefault(place, (text, message_id))
        if stands != (text, message_id):
            self._blame(who, f"{place} holds {stands} and {(text, message_id)}")
        room, epoch, offset = place
        first = self._texts.setdefault((room, epoch, text), offset)
        if first != offset:
            self._blame(who, f"{text!r} stands in {room} at {first} and at {offset}")

    def _blame(self, who: str, what: str) -> None:
        at_s = time.monotonic() - self._began
        self.verdict.violations.append(f"{at_s:7.2f} s  {who}: {what}")


def _ranges(offsets: Sequence[int]) -> str:
    """Write offsets as ranges: `1-4, 6`."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == runs[-1][1] + 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    shown = [f"{low}-{high}" if high > low else str(low) for low, high in runs]
    return ", ".join(shown[:8]) or "nothing"
