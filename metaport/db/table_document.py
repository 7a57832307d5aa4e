"""The table definition document (테이블 정의서): every table and column, in Korean or English."""

from collections.abc import Callable, Iterator, Mapping
from html import escape
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import (
    CheckConstraint,
    Column,
    DefaultClause,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine import make_url

from metaport.db.diagram import draw
from metaport.db.revisions import head
from metaport.db.schema import metadata
from metaport.language import Lang, Say

_TITLE = Say("테이블 정의서", "Table definition document")
_SCHEMA = Say("스키마 개정", "schema revision")
_HEADINGS = (
    Say("열", "column"),
    Say("PostgreSQL 자료형", "type on PostgreSQL"),
    Say("SQLite 자료형", "type on SQLite"),
    Say("키", "key"),
    Say("빈 값", "null"),
    Say("기본값", "default"),
    Say("개인정보", "personal data"),
    Say("설명", "meaning"),
)
_POSTGRESQL, _SQLITE = (
    make_url(url).get_dialect()() for url in ("postgresql+asyncpg://", "sqlite+aiosqlite://")
)
_YES, _NO = Say("허용", "yes"), Say("불가", "no")


class Definition(NamedTuple):
    """One table as rows of text: of each column, and of each rule over columns."""

    name: str
    meaning: str
    columns: list[tuple[str, ...]]
    rules: list[str]


def definitions(lang: Lang) -> Iterator[Definition]:
    """Describe every table, by name."""
    for table in sorted(metadata.tables.values(), key=lambda table: table.name):
        columns = [_column(column, lang) for column in table.columns]
        yield Definition(table.name, said(table.comment, lang), columns, list(_rules(table)))


def said(comment: str | None, lang: Lang) -> str:
    """Return the half of a comment that is in `lang`."""
    ko, _, en = (comment or "").partition(" / ")
    return Say(ko, en).to(lang)


def _column(column: Column[object], lang: Lang) -> tuple[str, ...]:
    default = column.server_default
    return (
        column.name,
        column.type.compile(_POSTGRESQL),
        column.type.compile(_SQLITE),
        ", ".join(_keys(column)),
        (_YES if column.nullable else _NO).to(lang),
        str(default.arg) if isinstance(default, DefaultClause) else "",
        _personal(column, lang),
        said(column.comment, lang),
    )


_KINDS = {
    "person": Say("본인", "whose"),
    "actor": Say("행위자", "who did it"),
    "name": Say("이름", "name"),
    "login": Say("로그인 이름", "sign-in name"),
    "contact": Say("연락처", "contact"),
    "address": Say("접속 주소", "network address"),
    "image": Say("사진", "picture"),
    "content": Say("쓴 내용", "what was written"),
}
_SECRET = Say("비밀", "secret")


def _personal(column: Column[object], lang: Lang) -> str:
    """Say what a column tells of a person, or that it is a secret; nothing where it is neither."""
    if column.info.get("secret"):
        return _SECRET.to(lang)
    kind = column.info.get("personal")
    return "" if kind is None else _KINDS[kind].to(lang)


def _keys(column: Column[object]) -> Iterator[str]:
    if column.primary_key:
        yield "PK"
    for key in sorted(column.foreign_keys, key=lambda key: key.target_fullname):
        yield f"FK → {key.target_fullname}"


def _rules(table: Table) -> Iterator[str]:
    for rule in sorted(table.constraints, key=lambda rule: str(rule.name)):
        match rule:
            case UniqueConstraint():
                yield f"UNIQUE {rule.name} ({', '.join(rule.columns.keys())})"
            case CheckConstraint():
                yield f"CHECK {rule.name} ({rule.sqltext})"
            case ForeignKeyConstraint() if len(rule.elements) > 1:
                targets = ", ".join(element.target_fullname for element in rule.elements)
                yield f"FOREIGN KEY ({', '.join(rule.column_keys)}) → {targets}"
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        unique = "UNIQUE " if index.unique else ""
        columns = ", ".join(getattr(part, "name", str(part)) for part in index.expressions)
        yield f"{unique}INDEX {index.name} ({columns})"


def as_markdown(lang: Lang) -> str:
    """Write the document as Markdown."""
    lines = [f"# {_TITLE.to(lang)}", "", f"{_SCHEMA.to(lang)}: `{head()}`", ""]
    for table in definitions(lang):
        lines += [f"## {table.name}", "", table.meaning, ""]
        lines += [_row(heading.to(lang) for heading in _HEADINGS), "|---" * len(_HEADINGS) + "|"]
        lines += [_row(column) for column in table.columns]
        lines += ["", *(f"- `{rule}`" for rule in table.rules), *([""] if table.rules else [])]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Iterator[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def as_html(lang: Lang) -> str:
    """Write the document with its diagram as one page without outside parts."""
    body = "".join(part for table in definitions(lang) for part in _section(table, lang))
    return (
        f'<!doctype html>\n<html lang="{lang}"><head><meta charset="utf-8">'
        f"<title>{_TITLE.to(lang)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{_TITLE.to(lang)}</h1>\n<p>{_SCHEMA.to(lang)}: <code>{head()}</code></p>\n"
        f"<figure>{as_svg(lang)}</figure>\n{body}</body></html>\n"
    )


_STYLE = (
    "body{font:14px/1.5 'Noto Sans KR','Noto Sans CJK KR',system-ui,sans-serif;margin:2rem;"
    "max-width:76rem}table{border-collapse:collapse;width:100%}"
    "th,td{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top}"
    "th{background:#eef2f6}figure{margin:0;overflow:auto}h2{margin-top:2rem}"
    "@media print{h2,tr{break-inside:avoid}body{margin:0}}"
)


def _section(table: Definition, lang: Lang) -> Iterator[str]:
    yield f'<h2 id="{escape(table.name)}">{escape(table.name)}</h2><p>{escape(table.meaning)}</p>\n'
    headings = "".join(f"<th>{heading.to(lang)}</th>" for heading in _HEADINGS)
    yield f"<table><thead><tr>{headings}</tr></thead><tbody>\n"
    for column in table.columns:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in column) + "</tr>\n"
    yield "</tbody></table>\n"
    if table.rules:
        rules = "".join(f"<li><code>{escape(rule)}</code></li>" for rule in table.rules)
        yield f"<ul>{rules}</ul>\n"


def as_svg(lang: Lang) -> str:
    """Draw every table, and which refers to which."""
    return draw(metadata, lambda comment: said(comment, lang))


DOCUMENTS: Mapping[str, Callable[[Lang], str]] = MappingProxyType(
    {"markdown": as_markdown, "html": as_html, "svg": as_svg}
)
