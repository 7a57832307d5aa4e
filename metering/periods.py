"""Closed months: what a month was, once and for all, and what was found wrong with it later.

1. A month that is over and fully counted is closed by a person. Its lines (quantities by day, meter
   and place), the price book that was in force and the statement made of both are kept together.
   Where the book rounds sessions, what they came to is kept as well; and what the month had been
   compared with by then.
2. `digest` is a hash over all of it in one fixed form: equal digests are equal months, anywhere.
   `signature` is keyed, and says that it was this installation which closed it.
3. **A closed month never changes.** Its report is made from its own lines and its own price book.
   What turns out wrong later is a `Correction`: a line in the month in which it is found, with a
   reason and a person, whose amount is what the closed month would have cost more or less.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from metering.meters import METERS
from metering.rating.adjustments import Adjustment, Kind, Titles, single
from metering.rating.rounding import Piece


class ClosedLine(NamedTuple):
    """A quantity of a closed month."""

    day_start_s: int
    meter: str
    app: str
    space: str
    room: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Correction:
    """What a closed month was wrong by; booked in another month, and part of its statement.

    `amount` is without VAT; `day_start_s` is the day of the closed month whose price it has.
    """

    number: int
    corrects: str
    booked_in: str
    day_start_s: int
    meter: str
    room: str
    quantity: int
    amount: Decimal
    reason: str
    person: str
    at_s: int

    def as_adjustment(self) -> Adjustment:
        """Return the line of the statement of the month it is booked in."""
        meter, quantity = METERS[self.meter], f"{self.quantity:+,}"
        return single(
            Kind.CORRECTION,
            f"{self.corrects}.{self.meter}.{self.number}",
            self.amount,
            Titles(
                f"{self.corrects} {meter.title_ko} {quantity}: {self.reason} ({self.person})",
                f"{self.corrects} {meter.title_en} {quantity}: {self.reason} ({self.person})",
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the correction as plain values."""
        return asdict(self) | {"amount": f"{self.amount:f}", "class": "Correction"}


class ClosedSessions(NamedTuple):
    """What the sessions of a meter came to in a part of a closed month, see `Ledger.sessions`."""

    start_s: int
    end_s: int
    meter: str
    pieces: tuple[Piece, ...]

    @classmethod
    def read(cls, kept: Sequence[Any]) -> "ClosedSessions":
        """Return what a JSON list says."""
        start_s, end_s, meter, pieces = kept
        return cls(start_s, end_s, meter, tuple(Piece(*piece) for piece in pieces))


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A month that is closed, but for its lines. `note` says why it was closed incomplete."""

    month: str
    zone: str
    start_s: int
    end_s: int
    as_of_s: int
    closed_at_s: int
    closed_by: str
    note: str
    price_book: str
    price_book_source: str
    figures: Mapping[str, int]
    corrections: tuple[Mapping[str, Any], ...]
    statement: str
    digest: str = ""
    signature: str = ""
    sessions: tuple[ClosedSessions, ...] = ()
    reconciled: tuple[Mapping[str, Any], ...] = ()

    def header(self) -> dict[str, Any]:
        """Return what the digest begins with: everything but digest and signature.

        What is empty of `sessions` and `reconciled` is left out: months were closed before they
        were kept.
        """
        header = asdict(self)
        del header["digest"], header["signature"]
        header |= {"figures": dict(self.figures), "corrections": list(self.corrections)}
        for name, kept in (("sessions", self.sessions), ("reconciled", self.reconciled)):
            if kept:
                header[name] = list(kept)
            else:
                del header[name]
        return header


def canonical(value: object) -> bytes:
    """Write plain values in the one form that is hashed: sorted keys, no blanks, UTF-8."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def digest_of(closed: ClosedMonth, lines: Iterable[ClosedLine]) -> str:
    """Hash a month with its lines, which come in their own order (SHA-256, hexadecimal)."""
    sha256 = hashlib.sha256(canonical(closed.header()))
    for line in lines:
        sha256.update(b"\n" + canonical(list(line)))
    return sha256.hexdigest()


def signature_of(digest: str, key: bytes) -> str:
    """Sign a digest with the installation's key (HMAC-SHA-256, hexadecimal)."""
    return hmac.digest(key, b"metaport closed month " + digest.encode(), hashlib.sha256).hex()


def is_signed(closed: ClosedMonth, key: bytes) -> bool:
    """Tell whether this key closed the month."""
    return hmac.compare_digest(closed.signature, signature_of(closed.digest, key))
