"""Contracts: what is read, and that what cannot be trusted is refused with its line."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.contract import Contract, load_contract, read_contract, read_costs
from metering.errors import ContractError

HEAD = """title_ko = "계약"
title_en = "Contract"
amount = 12650000
start = 2026-07-15
end = 2026-12-31
"""
COST = """[[cloud_cost]]
month = "2026-07"
title = "VM"
amount = 310000
payer = "contractor"
source = "bill"
"""


def refusal(text: str) -> str:
    with pytest.raises(ContractError) as caught:
        read_contract(text, "contract.toml")
    return f"{caught.value.line}: {caught.value.reason}"


def test_the_shipped_example_is_the_orders_contract() -> None:
    path = Path(__file__).parents[2] / "metering" / "contract.example.toml"
    contract = load_contract(path)
    assert (contract.amount, contract.supply) == (12_650_000, 11_500_000)
    assert contract.budget.thresholds_percent == (50, 80, 100)


def test_the_days_of_the_first_and_the_last_month_are_those_of_the_contract() -> None:
    contract = read_contract(HEAD, "contract.toml")
    assert contract.months() == [
        ("2026-07", 17), ("2026-08", 31), ("2026-09", 30), ("2026-10", 31), ("2026-11", 30),
        ("2026-12", 31),
    ]  # fmt: skip
    assert contract.days() == 170


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 800))
def test_the_months_hold_every_day_once(start: date, more: int) -> None:
    end = date.fromordinal(start.toordinal() + more)
    contract = Contract("가", "a", Decimal(1), start, end)
    assert sum(days for _, days in contract.months()) == contract.days() == more + 1


@given(st.integers(1, 10**12), st.decimals(0, 100, places=2))
def test_supply_and_vat_are_the_amount(amount: int, percent: Decimal) -> None:
    contract = Contract(
        "가", "a", Decimal(amount), date(2026, 1, 1), date(2026, 1, 2), vat_percent=percent
    )
    exact = Decimal(amount) * 100 / (100 + percent)
    assert abs(contract.supply - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD.replace("12650000", '"12650000x"'), "3: Invalid decimal"),
        (HEAD.replace("12650000", "0"), "3: amount is to be more than 0"),
        (HEAD.replace("2026-12-31", "2026-07-14"), "5: end is before start"),
        (HEAD.replace("start =", "begin ="), "4: Object contains unknown field `begin`"),
        (HEAD + "vat_percent = 101\n", "6: vat_percent is 0 to 100"),
        (HEAD + "thresholds_percent = [0]\n", "6: Expected `int` >= 1"),
        (HEAD + COST.replace("contractor", "somebody"), "10: Invalid enum value 'somebody'"),
        (HEAD + COST.replace("2026-07", "2026-13"), "None: '2026-13' is not a month"),
        (HEAD + COST.replace("310000", "-1"), "None: VM: an amount is a number from 0 up"),
        (HEAD + COST.replace('"bill"', '" "'), "None: 2026-07: a cost needs a title and a source"),
        (HEAD + COST + COST.replace("310000", "true"), "15: Expected `decimal`"),
        ("amount = \n", "1: Invalid value"),
        (HEAD + "[[cap]]\nwon = 1\n", "6: a cap is of an app or of a room"),
        (HEAD + '[[cap]]\nwon = 1\napp = "a"\nroom = "b"\n', "6: a cap is of an app or of a room"),
        (HEAD + '[[cap]]\nwon = -1\napp = "a"\n', "6: a cap is a number of won from 0 up"),
        (HEAD + '[[cap]]\nwon = 1\napp = "a"\nrefuse = ["all"]\n', "9: Invalid enum value 'all'"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_its_line(text: str, told: str) -> None:
    assert refusal(text).startswith(told)


def test_costs_are_imported_from_the_file_beside(tmp_path: Path) -> None:
    csv = "month,title,amount,payer,source\n2026-08,VM,310000,agency,bill\n"
    (tmp_path / "costs.csv").write_text(csv, encoding="utf-8-sig")
    path = tmp_path / "contract.toml"
    path.write_text('cloud_cost_csv = "costs.csv"\n' + HEAD + COST)
    entered, imported = load_contract(path).cloud_cost
    assert (entered.month, imported.month) == ("2026-07", "2026-08")
    assert (imported.amount, imported.payer) == (310_000, "agency")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("month,title,amount\n", 1),
        ("", 1),
        ("month,title,amount,payer,source\n2026-08,VM,3.1만,agency,bill\n", 2),
        ("month,title,amount,payer,source\n2026-08,VM,1,agency,bill\n2026-08,VM,1,me,bill\n", 3),
        ("month,title,amount,payer,source\n2026-08,VM\n", 2),
    ],
)
def test_a_list_of_costs_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ContractError) as caught:
        read_costs(text, "costs.csv")
    assert caught.value.line == line


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"absent\.toml: No such file"):
        load_contract(tmp_path / "absent.toml")
