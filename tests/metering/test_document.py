"""A document in every form: the same figures, and the same bytes each time."""

import csv
import io
import re
import zipfile
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metering.document import Chart, Document, Series
from metering.document_pdf import _Sheet, font_path
from metering.errors import FontMissing
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import MemoryLedger
from metering.meters import METERS
from metering.plot import HEIGHT, WIDTH, Bar, Stroke, Text, shapes
from metering.pricebook import load_price_book
from metering.report import RENDERERS, Report, build_report

WINDOW = 1_795_000_500 // 900 * 900


@pytest.fixture
async def detailed() -> Report:
    ledger = MemoryLedger()
    rows = [
        UsageRow("hub", "1", meter, Subject(f"로비 {room:02}", "visitor"), WINDOW, 9_000 + room)
        for meter in METERS
        for room in range(50)
    ]
    await ledger.upsert(rows, Checkpoint("hub", "1", WINDOW + 70))
    book = load_price_book()
    return await build_report(ledger, book, "2026-11", "Asia/Seoul", WINDOW + 75, details=True)


@pytest.mark.parametrize("form", RENDERERS)
async def test_the_same_figures_are_the_same_bytes(detailed: Report, form: str, lang: str) -> None:
    assert RENDERERS[form](detailed, lang) == RENDERERS[form](detailed, lang)


def sheets(body: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("xl/worksheets/sheet"))
        return [archive.read(name).decode() for name in names]


def test_a_workbook_holds_numbers_and_charts(detailed: Report, lang: str) -> None:
    body = RENDERERS["xlsx"](detailed, lang)
    front = sheets(body)[0]
    numbers = {Decimal(found) for found in re.findall(r"<c [^>]*><v>([\d.]+)</v></c>", front)}
    assert {line.amount for line in detailed.lines} <= numbers
    assert {detailed.subtotal, detailed.vat, detailed.total} <= numbers
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {"xl/charts/chart1.xml", "xl/charts/chart2.xml"} <= set(archive.namelist())
        assert all("macro" not in name for name in archive.namelist())


def test_words_are_never_formulas() -> None:
    """A room named by a visitor lands in a sheet that the budget holder opens."""
    with zipfile.ZipFile(io.BytesIO(_with_room("=HYPERLINK(1)"))) as archive:
        text = "".join(archive.read(n).decode() for n in archive.namelist() if n.endswith(".xml"))
    assert "<f>HYPERLINK" not in text
    assert "=HYPERLINK(1)" in text


def _with_room(name: str) -> bytes:
    import asyncio

    async def made() -> Report:
        ledger = MemoryLedger()
        row = UsageRow("hub", "1", "chat.messages_sent", Subject(name, "visitor"), WINDOW, 5)
        await ledger.upsert([row], Checkpoint("hub", "1", WINDOW + 70))
        return await build_report(
            ledger, load_price_book(), "2026-11", "Asia/Seoul", WINDOW + 75, details=True
        )

    return RENDERERS["xlsx"](asyncio.run(made()), "ko")


def test_a_pdf_embeds_its_font_and_numbers_its_sheets(detailed: Report, lang: str) -> None:
    body = RENDERERS["pdf"](detailed, lang)
    assert body.startswith(b"%PDF-")
    assert b"/FontFile" in body
    pages = len(re.findall(rb"/Type /Page\b", body))
    assert 4 <= pages <= 6


def test_without_its_font_a_pdf_is_refused_in_one_sentence(monkeypatch) -> None:
    monkeypatch.setattr("metering.document_pdf.FONT_PACKAGE", "no_such_font_package")
    with pytest.raises(FontMissing, match="ask for html instead"):
        font_path()


def test_the_details_add_up_to_the_statement(detailed: Report, lang: str) -> None:
    text = RENDERERS["text"](detailed, lang).decode()
    subtotal = {"ko": "공급가액", "en": "Subtotal"}[lang]
    sums = re.findall(rf"^{subtotal} +([\d,]+)$", text, re.MULTILINE)
    assert sums == [f"{detailed.subtotal:,}"] * 3
    assert {"ko": "그 밖의 방 10개", "en": "10 other rooms"}[lang] in text


def test_focus_has_a_row_a_line_and_half_open_periods_in_utc(detailed: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(RENDERERS["focus"](detailed, "ko").decode())))
    assert len(rows) == len(detailed.lines)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == detailed.subtotal
    assert {(row["BillingPeriodStart"], row["BillingPeriodEnd"]) for row in rows} == {
        ("2026-10-31T15:00:00Z", "2026-11-30T15:00:00Z")
    }
    for row in rows:
        exact = Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"])
        assert detailed.currency.round(exact) == Decimal(row["ListCost"])


@pytest.mark.parametrize("most", [0, 1, 7, 99, 123_456_789])
@pytest.mark.parametrize("kind", [{}, {"lines": True}, {"lines": True, "log": True}])
def test_a_chart_stays_on_its_sheet(most: int, kind: dict[str, bool]) -> None:
    values = tuple(Decimal(most * n) for n in range(31))
    series = (Series("하나", values), Series("둘", values, 1))
    chart = Chart("도표", tuple(f"{n:02}" for n in range(31)), series, "원", **kind)
    for shape in shapes(chart):
        match shape:
            case Bar():
                assert shape.x >= 0
                assert shape.height > 0
                assert shape.x + shape.width <= WIDTH
                assert 0 <= shape.y <= shape.y + shape.height <= HEIGHT
            case Stroke():
                assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in shape.points)
            case Text():
                assert 0 <= shape.x <= WIDTH
                assert 0 <= shape.y <= HEIGHT


def test_a_document_in_pdf_breaks_words_and_keeps_figures_whole() -> None:
    """A meaning of two lines was cut with "…", and so was a heading of many columns."""
    document = Document("ko", "t", "s", (), (), (), datetime(2026, 11, 1, tzinfo=UTC))
    sheet = _Sheet(document, font_path())
    sheet.add_page()
    sheet._face(9)
    text = "매 분 정각에 접속해 있던 사용자 수를 서버별로 세어 더한 값 가운데 가장 큰 값이다."
    lines = sheet._broken(text, 40.0)
    assert len(lines) > 2
    assert " ".join(lines) == text
    assert all(sheet.get_string_width(line) <= 40.0 for line in lines)
    assert "".join(sheet._broken("가" * 60, 30.0)) == "가" * 60
    assert sheet._broken("", 30.0) == [""]
    sheet.output()  # lets go of the font
