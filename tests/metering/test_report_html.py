"""A statement as a page: whole, self-contained, and allowed by a strict policy."""

import base64
import hashlib
from html import unescape
from html.parser import HTMLParser

from metering.document_html import STYLE_SOURCE
from metering.meters import METERS
from metering.report import RENDERERS
from metering.statement import Report


def html_of(report: Report, lang: str) -> str:
    return RENDERERS["html"](report, lang).decode()


class Page(HTMLParser):
    """Collects what a page loads and whether its tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "style")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(report: Report, lang: str) -> None:
    text = html_of(report, lang)
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.addresses == []
    assert not {"script", "link", "img"} & set(page.seen)
    assert f'<html lang="{lang}">' in text


def test_the_page_says_what_it_is(report: Report, lang: str) -> None:
    said = unescape(html_of(report, lang))
    assert {"ko": "청구서가 아닙니다", "en": "not an invoice"}[lang] in said
    assert {"ko": "잠정", "en": "provisional"}[lang] in said
    assert {"ko": "2026-11-01 00:00 ~ 2026-12-01 00:00", "en": "2026-11-01 00:00 to"}[lang] in said
    assert all(meter.definition(lang) in said for meter in METERS.values())


def test_the_style_and_no_other_can_be_allowed(report: Report) -> None:
    style = html_of(report, "ko").partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == STYLE_SOURCE
