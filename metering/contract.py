"""The contract: what was agreed and what was spent beside usage, as entered by people.

A contract is a TOML file, `contract.example.toml` is one, explained. Amounts include VAT. Days are
whole days of the zone of the reports; `end` is the last of them.
"""

import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from metering.budget import THRESHOLDS_PERCENT, Budget
from metering.errors import ContractError, PeriodError
from metering.money import EXACT
from metering.toml_file import line_of, read_text, read_toml
from metering.windows import month_days

Payer = Literal["contractor", "agency"]
CSV_COLUMNS = ("month", "title", "amount", "payer", "source")


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money spent in a month, including VAT: what for, who bears it, and where that stands."""

    month: str
    title: str
    amount: Decimal
    payer: Payer
    source: str


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most an app or a room may cost in a month, including VAT, and what is refused then."""

    won: Decimal
    app: str | None = None
    room: str | None = None
    refuse: tuple[Literal["messages", "media"], ...] = ("messages", "media")


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contract: its amount and days, and the costs that were entered."""

    title_ko: str
    title_en: str
    amount: Decimal
    start: date
    end: date
    vat_percent: Decimal = Decimal(10)
    thresholds_percent: tuple[Annotated[int, msgspec.Meta(ge=1, le=1000)], ...] = THRESHOLDS_PERCENT
    cloud_cost: tuple[Cost, ...] = ()
    extra_cost: tuple[Cost, ...] = ()
    cloud_cost_csv: str | None = None
    cap: tuple[Cap, ...] = ()

    def title(self, lang: str) -> str:
        """Name the contract in `lang`."""
        return self.title_ko if lang == "ko" else self.title_en

    @property
    def budget(self) -> Budget:
        """Return the amount as a budget with its thresholds."""
        return Budget(self.amount, self.thresholds_percent)

    @property
    def supply(self) -> Decimal:
        """Return the amount without VAT, rounded half up; VAT is the rest."""
        hundredfold = EXACT.multiply(self.amount, Decimal(100))
        gross = EXACT.add(Decimal(100), self.vat_percent)
        below = EXACT.divide_int(hundredfold, gross)
        over = EXACT.subtract(hundredfold, EXACT.multiply(below, gross))
        return EXACT.add(below, Decimal(int(EXACT.multiply(over, Decimal(2)) >= gross)))

    def days(self) -> int:
        """Return how many days the contract has."""
        return (self.end - self.start).days + 1

    def months(self) -> list[tuple[str, int]]:
        """Return the months it touches, as 2026-11, and how many of its days each has."""
        found: list[tuple[str, int]] = []
        day = self.start
        while day <= self.end:
            month = f"{day:%Y-%m}"
            after = min(month_days(month)[1], self.end + timedelta(days=1))
            found.append((month, (after - day).days))
            day = after
        return found


def load_contract(path: Path) -> Contract:
    """Read a contract, with the CSV of cloud costs that it names beside it.

    Raises ContractError with file, line and reason.
    """
    contract = read_contract(read_text(path, ContractError), str(path))
    if contract.cloud_cost_csv is None:
        return contract
    beside = path.parent / contract.cloud_cost_csv
    imported = read_costs(read_text(beside, ContractError), str(beside))
    return msgspec.structs.replace(contract, cloud_cost=(*contract.cloud_cost, *imported))


def read_contract(text: str, source: str) -> Contract:
    """Read a contract from TOML; `source` names it in errors. Raises ContractError."""
    contract = read_toml(text, source, Contract, ContractError)
    if contract.end < contract.start:
        raise ContractError(source, line_of(text, "$.end"), "end is before start")
    if contract.amount <= 0:
        raise ContractError(source, line_of(text, "$.amount"), "amount is to be more than 0")
    if not 0 <= contract.vat_percent <= 100:
        raise ContractError(source, line_of(text, "$.vat_percent"), "vat_percent is 0 to 100")
    for number, cap in enumerate(contract.cap):
        line = line_of(text, f"$.cap[{number}]")
        if (cap.app is None) == (cap.room is None) or not cap.refuse:
            raise ContractError(source, line, "a cap is of an app or of a room, and refuses")
        if not cap.won.is_finite() or cap.won < 0:
            raise ContractError(source, line, "a cap is a number of won from 0 up")
    for cost in (*contract.cloud_cost, *contract.extra_cost):
        _check(cost, source, None)
    return contract


def read_costs(text: str, source: str) -> list[Cost]:
    """Read costs from CSV with the columns month, title, amount, payer, source.

    Raises ContractError with the line and the reason.
    """
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != CSV_COLUMNS:
        raise ContractError(source, 1, f"the first line is to be {','.join(CSV_COLUMNS)}")
    costs = []
    for row in reader:
        try:
            cost = msgspec.convert(row, Cost, strict=False)
        except msgspec.ValidationError as error:
            raise ContractError(source, reader.line_num, str(error)) from error
        _check(cost, source, reader.line_num)
        costs.append(cost)
    return costs


def _check(cost: Cost, source: str, line: int | None) -> None:
    try:
        month_days(cost.month)
    except PeriodError as error:
        raise ContractError(source, line, str(error)) from error
    if not cost.amount.is_finite() or cost.amount < 0:
        raise ContractError(source, line, f"{cost.title}: an amount is a number from 0 up")
    if not cost.title.strip() or not cost.source.strip():
        raise ContractError(source, line, f"{cost.month}: a cost needs a title and a source")
