"""A statement for a spreadsheet: every line, then the three sums, in raw units."""

import csv
import io

from metering.breakdown import break_down
from metering.meters import FIGURES, METERS
from metering.money import plain
from metering.statement import Report
from metering.statement_document import title_of
from metering.statement_words import adjustment_title, words

# Spreadsheets on Korean desktops take a file without it for CP949 and show nonsense.
BYTE_ORDER_MARK = "\ufeff"

COLUMNS = (
    "kind",
    "month",
    "zone",
    "meter",
    "title",
    "prices_of",
    "tier",
    "quantity",
    "rated_quantity",
    "unit",
    "unit_price",
    "amount",
    "currency",
    "complete",
    "as_of",
)


def render_csv(report: Report, lang: str) -> str:
    """Write a statement as comma-separated values (RFC 4180); only the titles are in `lang`."""
    said = words(lang)
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    every = {
        "month": report.month,
        "zone": report.zone.key,
        "currency": report.currency.code,
        "complete": str(report.complete).lower(),
        "as_of": report.as_of() or "",
    }
    for line in report.lines:
        writer.writerow(
            every
            | {
                "kind": "line",
                "meter": line.id.meter,
                "title": title_of(line, said),
                "prices_of": line.id.effective.isoformat(),
                "tier": line.id.tier + 1,
                "quantity": line.quantity,
                "rated_quantity": line.rated,
                "unit": METERS[line.id.meter].unit.value,
                "unit_price": plain(line.unit_price),
                "amount": f"{line.amount:f}",
            }
        )
    for adjustment in report.adjustments:
        writer.writerow(
            every
            | {
                "kind": adjustment.kind.value,
                "meter": adjustment.subject,
                "title": adjustment_title(adjustment, said),
                "quantity": adjustment.quantity,
                "rated_quantity": adjustment.quantity,
                "unit": adjustment.unit,
                "unit_price": plain(adjustment.unit_price),
                "amount": f"{adjustment.amount:f}",
            }
        )
    if report.by is not None:
        used = report.by.used
        shared = break_down(report.lines, report.adjustments, used, report.currency)
        for share in shared.shares:
            key = every | {"kind": f"by_{report.by.dimension}", "title": share.key}
            writer.writerow(key | {"amount": f"{share.amount:f}"})
            for meter, quantity in sorted(share.quantities.items()):
                unit = _unit_of(meter)
                writer.writerow(key | {"meter": meter, "quantity": quantity, "unit": unit})
    vat_title = said.vat.format(percent=plain(report.vat_percent))
    for kind, title, amount in (
        ("subtotal", said.subtotal, report.subtotal),
        ("vat", vat_title, report.vat),
        ("total", said.total, report.total),
    ):
        writer.writerow(every | {"kind": kind, "title": title, "amount": f"{amount:f}"})
    return BYTE_ORDER_MARK + file.getvalue()


def _unit_of(meter: str) -> str:
    found = METERS.get(meter) or FIGURES[meter]
    return found.unit.value
