"""A month's statement as plain values: what every form of it is written from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from metering.dimensions import Dimension
from metering.meters import METERS
from metering.money import Currency, plain
from metering.pricebook import Per
from metering.rating.adjustments import Adjustment
from metering.rating.rounding import Rounding
from metering.reconciliation import Reconciliation
from metering.statement_words import adjustment_title, words
from metering.windows import Period


class LineId(NamedTuple):
    """The identity of a line within its month."""

    meter: str
    effective: date
    tier: int


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity at one unit price.

    `quantity` was measured; `rated` is paid, and differs from it only where the price has a
    `rounding`. `since` is set where a price change begins the line, `tiered` where its meter has
    tiers.
    """

    id: LineId
    quantity: int
    rated: int
    rounding: Rounding | None
    unit_price: Decimal
    amount: Decimal
    per: Per
    since: date | None
    tiered: bool


@dataclass(frozen=True, slots=True)
class Aside:
    """What a month's details say beside money.

    `figures` are those of `meters.FIGURES` that somebody measured, `readers` says up to which
    second each node's usage is known, `reconciled` what each day was compared with.
    """

    figures: Mapping[str, int]
    readers: Mapping[str, int]
    reconciled: tuple[Reconciliation, ...]


class By(NamedTuple):
    """What was used by the keys of a dimension, then by meter."""

    dimension: Dimension
    used: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Report:
    """A month's statement. `as_of_s` is the second up to which its figures are known."""

    month: str
    zone: ZoneInfo
    period: Period
    currency: Currency
    vat_percent: Decimal
    complete: bool
    as_of_s: int | None
    lines: tuple[Line, ...]
    adjustments: tuple[Adjustment, ...]
    subtotal: Decimal
    vat: Decimal
    total: Decimal
    # What was used by day, room and app (key, then meter, to quantity); empty unless asked for.
    by_day: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    by_room: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    by_app: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    by: By | None = None
    # What is told beside the priced meters; None where it was not asked for or not kept.
    aside: "Aside | None" = None

    def as_of(self) -> str | None:
        """Write the second up to which the figures are known as ISO 8601 in the report's zone."""
        if self.as_of_s is None:
            return None
        return datetime.fromtimestamp(self.as_of_s, self.zone).isoformat()

    def as_json(self) -> dict[str, Any]:
        """Return the statement in the shape the public interface fixes."""
        return {
            "month": self.month,
            "zone": self.zone.key,
            "currency": self.currency.code,
            "complete": self.complete,
            "as_of": self.as_of(),
            "lines": [
                *(_line_json(line) for line in self.lines),
                *(_adjustment_json(adjustment) for adjustment in self.adjustments),
            ],
            "subtotal": f"{self.subtotal:f}",
            "vat": f"{self.vat:f}",
            "total": f"{self.total:f}",
        }


def _line_json(line: Line) -> dict[str, Any]:
    stated = {
        "meter": line.id.meter,
        "unit": METERS[line.id.meter].unit.value,
        "quantity": line.quantity,
        "unit_price": plain(line.unit_price),
        "amount": f"{line.amount:f}",
    }
    return stated if line.rounding is None else stated | {"rated_quantity": line.rated}


def _adjustment_json(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "meter": adjustment.name,
        "unit": adjustment.unit,
        "quantity": adjustment.quantity,
        "unit_price": plain(adjustment.unit_price),
        "amount": f"{adjustment.amount:f}",
        "kind": adjustment.kind.value,
        "title_ko": adjustment_title(adjustment, words("ko")),
        "title_en": adjustment_title(adjustment, words("en")),
    }
