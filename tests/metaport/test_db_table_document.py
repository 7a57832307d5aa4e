"""The table definition document tells every table and column, in the language asked for."""

from xml.etree import ElementTree

import pytest

from metaport.db.schema import metadata
from metaport.db.table_document import DOCUMENTS, as_html, as_markdown, as_svg, said
from metaport.language import Lang


@pytest.mark.parametrize("lang", ["ko", "en"])
@pytest.mark.parametrize("form", ["markdown", "html"])
def test_every_column_is_told(form: str, lang: Lang) -> None:
    document = DOCUMENTS[form](lang)
    for table in metadata.tables.values():
        assert table.name in document
        assert said(table.comment, lang)
        for column in table.columns:
            meaning = said(column.comment, lang)
            assert meaning
            assert meaning.replace("'", "&#x27;") in document or meaning in document


def test_keys_and_rules_are_told() -> None:
    document = as_markdown("en")
    assert "| window_start_s | BIGINT | BIGINT | PK | no |" in document
    assert "- `UNIQUE room_epoch_in_order (room, ordinal)`" in document
    assert "- `INDEX message_by_time (at_ms)`" in document


def test_what_tells_of_people_and_what_is_secret_is_marked() -> None:
    marked = {"| address | TEXT | TEXT |  | no |  | network address |": "en"}
    marked["| address | TEXT | TEXT |  | 불가 |  | 접속 주소 |"] = "ko"
    for row, lang in marked.items():
        assert row in as_markdown(lang)
    for table in metadata.tables.values():
        for column in table.columns:
            if column.info.get("secret"):
                [line] = [
                    line
                    for line in as_markdown("en").split(f"## {table.name}\n")[1].splitlines()
                    if line.startswith(f"| {column.name} |")
                ][:1]
                assert "| secret |" in line


def test_the_page_needs_nothing_from_outside() -> None:
    page = as_html("ko")
    assert '<html lang="ko">' in page
    assert "src=" not in page
    assert "href=" not in page


def test_the_diagram_has_a_box_for_each_table_and_none_over_another() -> None:
    root = ElementTree.fromstring(as_svg("ko"))
    ns = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(int(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for rect in root.iter(f"{ns}rect")
        if rect.attrib["fill"] == "#fff" and "stroke" in rect.attrib
    ]
    assert len(boxes) == len(metadata.tables)
    for x, y, w, h in boxes:
        others = [box for box in boxes if box != (x, y, w, h)]
        assert not any(
            x < ox + ow and ox < x + w and y < oy + oh and oy < y + h for ox, oy, ow, oh in others
        )
