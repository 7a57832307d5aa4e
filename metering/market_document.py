"""The month elsewhere as a document, beside what it comes to here."""

from collections.abc import Sequence
from decimal import Decimal

from metering.document import Cell, Document, Row, Table, table, words
from metering.market import Comparison, Offer, Rate, own
from metering.money import plain
from metering.rating.adjustments import Titles
from metering.statement import Report
from metering.statement_document import document_of
from metering.statement_words import words as words_of

SAID = {
    name: Titles(*titles)
    for name, titles in {
        "title": ("다른 서비스와의 금액 비교", "The same month elsewhere"),
        "rate": ("환율", "Exchange rate"),
        "rate_of": (
            "1 {currency} = {won}원 ({day}, 입력값)",
            "1 {currency} = KRW {won} ({day}, entered)",
        ),
        "no_rate": ("입력되지 않음", "not entered"),
        "offer": ("서비스", "Service"),
        "quantity": ("수량", "Quantity"),
        "unit": ("단위", "Unit"),
        "price": ("1,000당 단가", "Price of 1,000"),
        "amount": ("금액", "Amount"),
        "won": ("원", "KRW"),
        "own": ("이 서버(원)", "Here (KRW)"),
        "no_price": ("단가 없음", "no price"),
        "minute": ("분", "min"),
        "message": ("건", "msg"),
        "user": ("명", "users"),
        "plan": ("일 {price}부터", "from {price} a day"),
        "not_measured": ("측정 없음", "not measured"),
        "sources": ("단가의 출처", "Where the prices come from"),
        "source": ("출처", "Source"),
        "as_of": ("기준일", "As of"),
        "trust": ("신뢰도", "Trust"),
        "vendor": ("공급자 문서", "vendor's page"),
        "third party": ("제3자", "third party"),
        "not found": ("찾지 못함", "not found"),
        "note": ("비고", "Note"),
        "vat": (
            "모두 부가가치세 별도이며, 분은 한 달의 초를 합하여 한 번 올림한 것입니다. 통화마다 "
            "올림하는 곳에서는 실제 청구가 더 큽니다.",
            "All without VAT. Minutes are the month's seconds rounded up once; vendors that round "
            "each call up ask for more.",
        ),
        "guess": (
            "단가를 확인하지 못한 서비스는 추정하지 않고 비워 두었습니다.",
            "Where no price could be read, the row is left empty rather than guessed.",
        ),
    }.items()
}  # fmt: skip


def market_document(
    report: Report, compared: Sequence[Comparison], rates: Sequence[Rate], lang: str
) -> Document:
    """Put a comparison into the words of `lang`."""
    said = {name: titles.in_(lang) for name, titles in SAID.items()}
    statement = document_of(report, lang)
    entered = ", ".join(
        said["rate_of"].format(currency=rate.currency, won=plain(rate.won), day=rate.day)
        for rate in rates
    )
    return Document(
        lang=lang,
        title=said["title"],
        subtitle=statement.subtitle,
        facts=(*statement.facts, (said["rate"], entered or said["no_rate"])),
        front=(_front(report, compared, said),),
        notes=(said["vat"], said["guess"], words_of(lang).not_an_invoice),
        stamp=statement.stamp,
        details=(_sources(compared, said, lang),),
    )


def _front(report: Report, compared: Sequence[Comparison], said: dict[str, str]) -> Table:
    amounts: dict[str, Decimal] = {}
    for line in report.lines:
        amounts[line.id.meter] = amounts.get(line.id.meter, Decimal(0)) + line.amount
    rows = []
    for found in compared:
        offer = found.offer
        here = own(amounts, offer.meters)
        rows.append(
            Row(
                (
                    Cell(f"{offer.vendor} {offer.product}"),
                    Cell(said["not_measured"])
                    if found.quantity is None
                    else Cell(f"{found.quantity:,}", found.quantity),
                    Cell(said[offer.unit]),
                    _price(offer, said),
                    Cell("")
                    if found.amount is None
                    else Cell(f"{found.amount.quantize(Decimal('0.01')):,}", found.amount),
                    Cell("") if found.won is None else Cell(f"{found.won:,}", found.won),
                    Cell(f"{here:,}", here),
                )
            )
        )
    headings = ("offer", "quantity", "unit", "price", "amount", "won", "own")
    numbers = (False, True, False, True, True, True, True)
    return table([said[name] for name in headings], numbers, rows)


def _price(offer: Offer, said: dict[str, str]) -> Cell:
    if offer.plan is not None:
        price = f"{plain(offer.plan.per_day)} {offer.currency}"
        return Cell(said["plan"].format(price=price))
    if offer.price_per_1000 is None:
        return Cell(said["no_price"])
    return Cell(f"{plain(offer.price_per_1000)} {offer.currency}", offer.price_per_1000)


def _sources(compared: Sequence[Comparison], said: dict[str, str], lang: str) -> Table:
    rows = [
        Row(
            words(
                f"{found.offer.vendor} {found.offer.product}",
                found.offer.source,
                found.offer.as_of,
                said[found.offer.trust],
                Titles(found.offer.note_ko, found.offer.note_en).in_(lang),
            )
        )
        for found in compared
    ]
    headings = [said[name] for name in ("offer", "source", "as_of", "trust", "note")]
    return table(headings, (False,) * 5, rows, said["sources"])
