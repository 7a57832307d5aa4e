"""The budget statement as a document, in Korean or English."""

from datetime import UTC, datetime, time
from decimal import Decimal

from metering.budget_statement import BudgetMonth, BudgetStatement
from metering.contract import Cost
from metering.document import Cell, Chart, Document, Row, Series, Style, Table, table, words
from metering.money import EXACT
from metering.rating.adjustments import Titles

SAID = {
    name: Titles(*titles)
    for name, titles in {
        "title": ("예산 대비 사용 현황", "Budget statement"),
        "contract": ("계약", "Contract"),
        "period": ("계약 기간", "Contract period"),
        "days": ("{start} ~ {end} ({days}일)", "{start} to {end} ({days} days)"),
        "amount": ("계약 금액", "Contract amount"),
        "parts": (
            "{amount}원 = 공급가액 {supply}원 + 부가가치세 {vat}원",
            "KRW {amount} = supply {supply} + VAT {vat}",
        ),
        "as_of": ("집계 기준", "Figures as of"),
        "nobody": ("측정 없음", "not measured"),
        "nothing": ("입력 없음", "not entered"),
        "month": ("월", "Month"),
        "usage": ("사용량 환산액", "Usage at unit prices"),
        "cloud": ("실제 클라우드 비용", "Actual cloud cost"),
        "share": ("계약 금액", "Contract amount"),
        "extra": ("추가 비용", "Extra cost"),
        "part_month": ("{month} ({days}일)", "{month} ({days} days)"),
        "sum": ("합계", "Sum"),
        "by_month": ("월별 (부가가치세 포함, 원)", "By month (VAT included, KRW)"),
        "standing": ("예산 소진", "Budget used"),
        "spent": ("사용량 환산액 누계", "Usage at unit prices so far"),
        "left": ("계약 금액까지 남은 금액", "Left to the contract amount"),
        "percent": ("계약 금액 대비", "Of the contract amount"),
        "reached": ("도달한 알림 기준", "Thresholds reached"),
        "none": ("없음", "none"),
        "expected": ("계약 종료일까지 예상", "Expected at the contract's end"),
        "interval": ("95 % 구간", "95 % interval"),
        "next_year": ("다음 해 예상", "The year after"),
        "unknown": (
            "예상할 수 없음: 온전히 측정된 날이 7일이 안 됩니다",
            "cannot be told: fewer than 7 days are measured in full",
        ),
        "figure": ("항목", "Figure"),
        "value": ("값", "Value"),
        "entries": ("입력된 비용과 부담 주체", "Costs entered, and who bears them"),
        "kind": ("구분", "Kind"),
        "what": ("내용", "What for"),
        "payer": ("부담", "Borne by"),
        "source": ("근거", "Source"),
        "won": ("금액(원)", "Amount (KRW)"),
        "contractor": ("계약상대자", "contractor"),
        "agency": ("발주처", "agency"),
        "not_an_invoice": (
            "이 현황은 사용량을 단가로 환산하여 계약 금액과 견준 것이며 청구서가 아닙니다.",
            "This compares usage at unit prices with the contract. It is not an invoice.",
        ),
        "apart": (
            "네 금액은 서로 다른 물음의 답이므로 더하거나 빼지 않습니다.",
            "The four columns answer different questions and are never added to one another.",
        ),
        "method": (
            "예상은 온전히 측정된 최근 {days}일의 하루 평균 {mean}원(표준편차 {deviation}원)이 "
            "남은 {left}일 동안 이어진다고 본 것입니다. 날마다 서로 영향이 없다고 보므로 "
            "휴일이나 이용자 증가는 반영하지 않습니다.",
            "The forecast carries the mean of the last {days} days measured in full, KRW {mean} a "
            "day (standard deviation {deviation}), over the {left} days left. Days are taken as "
            "independent: it knows of no holidays and no growth.",
        ),
        "chart": ("월별 사용량 환산액과 계약 금액", "Usage at unit prices and contract, by month"),
        "won_unit": ("원", "KRW"),
    }.items()
}


def budget_document(statement: BudgetStatement, lang: str) -> Document:
    """Put a budget statement into the words of `lang`."""
    said = {name: titles.in_(lang) for name, titles in SAID.items()}
    contract = statement.contract
    days = said["days"].format(start=contract.start, end=contract.end, days=contract.days())
    vat = EXACT.subtract(contract.amount, contract.supply)
    parts = said["parts"].format(
        amount=_won(contract.amount), supply=_won(contract.supply), vat=_won(vat)
    )
    notes = [said["not_an_invoice"], said["apart"]]
    if statement.forecast is not None:
        found = statement.forecast
        notes.append(
            said["method"].format(
                days=found.days, mean=_won(found.mean), deviation=_won(found.deviation),
                left=found.days_left,
            )
        )  # fmt: skip
    return Document(
        lang=lang,
        title=said["title"],
        subtitle=statement.today.isoformat(),
        facts=(
            (said["contract"], contract.title(lang)),
            (said["period"], days),
            (said["amount"], parts),
            (said["as_of"], statement.as_of or said["nobody"]),
        ),
        front=(_months(statement, said), _standing(statement, said)),
        notes=tuple(notes),
        stamp=datetime.combine(statement.today, time(), UTC),
        details=(_chart(statement, said), *_entries(statement, said)),
    )


def _won(amount: Decimal) -> str:
    return f"{amount:,f}"


def _amount(amount: Decimal | None, absent: str = "") -> Cell:
    return Cell(absent) if amount is None else Cell(_won(amount), amount)


def _months(statement: BudgetStatement, said: dict[str, str]) -> Table:
    sums = statement.sums()
    columns = ("usage", "cloud", "contract", "extra")
    total = Row((Cell(said["sum"]), *(_amount(sums[name]) for name in columns)), Style.TOTAL)
    headings = (said["month"], said["usage"], said["cloud"], said["share"], said["extra"])
    rows = [*(_month(month, said) for month in statement.months), total]
    return table(headings, (False, True, True, True, True), rows, said["by_month"])


def _month(month: BudgetMonth, said: dict[str, str]) -> Row:
    return Row(
        (
            Cell(said["part_month"].format(month=month.month, days=month.days)),
            _amount(month.usage, said["nobody"]),
            _amount(month.cloud, said["nothing"]),
            _amount(month.contract),
            _amount(month.extra, said["nothing"]),
        )
    )


def _standing(statement: BudgetStatement, said: dict[str, str]) -> Table:
    standing, found = statement.standing, statement.forecast
    reached = ", ".join(f"{percent} %" for percent in standing.reached) or said["none"]
    lines = [
        (said["spent"], _amount(standing.spent)),
        (said["left"], _amount(standing.left)),
        (said["percent"], Cell(f"{standing.percent:f} %", standing.percent)),
        (said["reached"], Cell(reached)),
    ]
    if found is None:
        lines.append((said["expected"], Cell(said["unknown"])))
    else:
        lines += [
            (said["expected"], _amount(found.expected)),
            (said["interval"], Cell(f"{_won(found.low)} ~ {_won(found.high)}")),
            (said["next_year"], _amount(statement.next_year)),
        ]
    rows = [Row((Cell(label), value)) for label, value in lines]
    return table((said["figure"], said["value"]), (False, True), rows, said["standing"])


def _entries(statement: BudgetStatement, said: dict[str, str]) -> list[Table]:
    contract = statement.contract
    entries: list[tuple[str, Cost]] = [
        *((said["cloud"], cost) for cost in contract.cloud_cost),
        *((said["extra"], cost) for cost in contract.extra_cost),
    ]
    if not entries:
        return []
    rows = [
        Row(
            (
                *words(cost.month, kind, cost.title, said[cost.payer], cost.source),
                _amount(cost.amount),
            )
        )
        for kind, cost in sorted(entries, key=lambda entry: (entry[1].month, entry[0]))
    ]
    headings = ("month", "kind", "what", "payer", "source", "won")
    numbers = (False, False, False, False, False, True)
    return [table([said[name] for name in headings], numbers, rows, said["entries"])]


def _chart(statement: BudgetStatement, said: dict[str, str]) -> Chart:
    labels = tuple(month.month for month in statement.months)
    usage = tuple(month.usage or Decimal(0) for month in statement.months)
    share = tuple(month.contract for month in statement.months)
    series = (Series(said["usage"], usage), Series(said["share"], share, 1))
    return Chart(said["chart"], labels, series, said["won_unit"], lines=True)
