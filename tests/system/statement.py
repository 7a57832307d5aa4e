"""The report, what the ledger holds of each person, and the money computed a second time."""

import json
import sqlite3
import time
import tomllib
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from loadtest.launch import Server
from tests.system.deadline import until

PRICE_BOOK = Path(__file__).parents[2] / "metering" / "pricebook.default.toml"
SEOUL = timezone(timedelta(hours=9))
UNITS = {
    "message": 1,
    "1000 messages": 1_000,
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "1000 minutes": 60_000,
    "byte": 1,
    "MB": 10**6,
    "GB": 10**9,
}
PARTICIPATION = ("voice.participant_seconds", "video.participant_seconds.")


async def report(server: Server) -> dict[str, Any]:
    """Return this month's report as the operator's command prints it."""
    month = datetime.now(SEOUL).strftime("%Y-%m")
    text = await server.command("usage", "report", "--month", month, "--format", "json")
    found: dict[str, Any] = json.loads(text)
    return found


async def settled_report(server: Server) -> dict[str, Any]:
    """Return the report once it is as of now: protocol.md allows 10 s, the command takes one.

    "As of" a second means everything before it, so this second is settled when the next is told.
    """
    now = int(time.time()) + 1
    found: dict[str, Any] = {}

    async def caught_up() -> bool:
        found.update(await report(server))
        return found["as_of"] is not None and _seconds(found["as_of"]) >= now

    await until(caught_up, 15, lambda: f"the report is as of {now}: {found}")
    return found


def quantities(report: dict[str, Any]) -> dict[str, int]:
    """Return the quantity of each meter of a report."""
    found: dict[str, int] = defaultdict(int)
    for line in report["lines"]:
        found[line["meter"]] += line["quantity"]
    return found


def by_user(server: Server) -> dict[str, dict[str, int]]:
    """Return what the ledger holds: user → meter → quantity."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    path = server.data_dir / "metaport.db"
    ledger = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = ledger.execute("SELECT user_id, meter, quantity FROM usage_window")
        for user, meter, quantity in rows:
            found[user][meter] += quantity
    finally:
        ledger.close()
    return found


def participation(meters: dict[str, int]) -> int:
    """Return the seconds of voice and video together."""
    return sum(n for meter, n in meters.items() if meter.startswith(PARTICIPATION))


def unit_prices() -> dict[str, Decimal]:
    """Return what one message, second or byte of each meter costs, by the default price book."""
    [version] = _book()["version"]
    prices = version["price"].items()
    return {meter: Decimal(price["price"]) / UNITS[price["per"]] for meter, price in prices}


def check_money(report: dict[str, Any]) -> None:
    """Compute every amount again from the quantities and the price book, to the won."""
    prices = unit_prices()
    subtotal = Decimal(0)
    for line in report["lines"]:
        amount = _won(line["quantity"] * prices[line["meter"]])
        assert Decimal(line["unit_price"]) == prices[line["meter"]], line
        assert Decimal(line["amount"]) == amount, line
        subtotal += amount
    assert {line["meter"] for line in report["lines"]} == set(prices)
    vat = _won(subtotal * Decimal(_book()["vat_percent"]) / 100)
    assert Decimal(report["subtotal"]) == subtotal
    assert Decimal(report["vat"]) == vat
    assert Decimal(report["total"]) == subtotal + vat
    assert report["currency"] == "KRW"


def _book() -> dict[str, Any]:
    return tomllib.loads(PRICE_BOOK.read_text(encoding="utf-8"), parse_float=Decimal)


def _won(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), rounding=ROUND_HALF_UP)


def _seconds(as_of: str) -> float:
    return datetime.fromisoformat(as_of).timestamp()
