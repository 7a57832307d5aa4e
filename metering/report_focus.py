"""A statement in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

So that the tools that read the bills of clouds read this one: dates in UTC, periods half-open,
costs before VAT. A provider's invoice it is not: `BilledCost` is usage at unit prices.
"""

import csv
import io
from datetime import UTC, datetime

from metering.meters import METERS
from metering.money import plain
from metering.rating.adjustments import Adjustment, Kind
from metering.statement import Line, Report

COLUMNS = (
    "BilledCost", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "EffectiveCost", "ListCost",
    "ListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName", "ServiceCategory",
    "ServiceName", "SkuId", "SkuPriceId",
)  # fmt: skip
CATEGORIES = {Kind.TIER_FEE: "Purchase", Kind.FEE: "Purchase", Kind.DISCOUNT: "Credit"}


def render_focus(report: Report) -> str:
    """Write a statement as CSV (RFC 4180) in the columns of FOCUS; one row a line."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    start, end = (
        datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at_s in report.period
    )
    every = {
        "BillingCurrency": report.currency.code,
        "BillingPeriodStart": start,
        "BillingPeriodEnd": end,
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "ProviderName": "Metaport Chat",
        "ServiceCategory": "Web",
    }
    for line in report.lines:
        writer.writerow(every | _usage(line))
    for adjustment in report.adjustments:
        writer.writerow(every | _adjustment(adjustment))
    return file.getvalue()


def _usage(line: Line) -> dict[str, object]:
    meter = METERS[line.id.meter]
    return _cost(f"{line.amount:f}") | {
        "ChargeCategory": "Usage",
        "ChargeDescription": meter.title_en,
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": line.quantity,
        "ConsumedUnit": f"{meter.unit.value}s",
        "ListUnitPrice": plain(line.unit_price),
        "PricingQuantity": line.rated,
        "PricingUnit": f"{meter.unit.value}s",
        "ServiceName": meter.service.value,
        "SkuId": meter.name,
        "SkuPriceId": f"{meter.name}/{line.id.effective.isoformat()}/{line.id.tier + 1}",
    }


def _adjustment(adjustment: Adjustment) -> dict[str, object]:
    return _cost(f"{adjustment.amount:f}") | {
        "ChargeCategory": CATEGORIES.get(adjustment.kind, "Adjustment"),
        "ChargeClass": "Correction" if adjustment.kind is Kind.CORRECTION else "",
        "ChargeDescription": adjustment.name,
        "ChargeFrequency": "Recurring" if adjustment.kind is Kind.FEE else "One-Time",
        "ServiceName": "adjustments",
        "SkuId": adjustment.name,
    }


def _cost(amount: str) -> dict[str, object]:
    return dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), amount)
