"""What a copy leaves behind and what it masks: a TOML file, or a set that is shipped.

A rule names tables and columns by patterns. Rows that refer to a row left behind are left behind
with it, so that nothing refers to nothing. Masking gives values other words, see `masking`.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path

import msgspec

from metaport.migration.catalogue import Catalogue, Kind, Table, matches
from metaport.migration.dialect import Dialect
from metaport.migration.errors import Misused
from metaport.migration.masking import MASKS
from metaport.migration.postgres import quoted, string
from metering.errors import FileRefused
from metering.toml_file import read_text, read_toml

SHIPPED = ("promote", "anonymize")
# References of references; a schema that goes deeper has none of our rules in mind.
DEPTH = 8


class Leave(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Leave rows behind: all, or those whose column is, begins or ends with one of some words."""

    table: str
    why_ko: str
    why_en: str
    all: bool = False
    column: str = ""
    equals: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"how": "as"}):
    """Give a column other words."""

    table: str
    column: str
    how: str


class RuleSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules of a copy."""

    name: str = "none"
    leave: tuple[Leave, ...] = ()
    mask: tuple[Mask, ...] = ()

    def left(self, table: Table) -> Iterator[tuple[Leave, str]]:
        """Return each rule that speaks of a table with its condition in SQL."""
        for rule in self.leave:
            if matches(table, (rule.table,)):
                words = _condition(rule, table, "t0")
                if words:
                    yield rule, words

    def condition(self, table: Table, catalogue: Catalogue, dialect: Dialect) -> str:
        """Write what is true of the rows to leave behind, empty where none are."""
        return self._left(table, catalogue, dialect, "t0", ())

    def carried(self, table: Table, catalogue: Catalogue, dialect: Dialect) -> str:
        """Write what is true of the rows to copy, empty where all are."""
        condition = self.condition(table, catalogue, dialect)
        return f"NOT COALESCE({condition}, FALSE)" if condition else ""

    def masks(self, table: Table) -> dict[str, str]:
        """Return how each masked column of a table is masked."""
        found: dict[str, str] = {}
        for rule in self.mask:
            if matches(table, (rule.table,)):
                for column in table.stored:
                    if fnmatchcase(column.name, rule.column):
                        found.setdefault(column.name, rule.how)
        return found

    def _left(
        self, table: Table, catalogue: Catalogue, dialect: Dialect, alias: str,
        above: tuple[str, ...],
    ) -> str:  # fmt: skip
        parts = [
            words
            for rule in self.leave
            if matches(table, (rule.table,)) and (words := _condition(rule, table, alias))
        ]
        for reference in table.references:
            if reference.table not in catalogue or len(above) >= DEPTH or reference.table in above:
                continue
            if reference.table == table.full_name:
                continue
            parent, inner = catalogue[reference.table], f"t{len(above) + 1}"
            condition = self._left(parent, catalogue, dialect, inner, (*above, table.full_name))
            if condition:
                joined = " AND ".join(
                    f"{inner}.{quoted(theirs)} = {alias}.{quoted(own)}"
                    for own, theirs in zip(reference.columns, reference.targets, strict=True)
                )
                parts.append(
                    f"EXISTS (SELECT 1 FROM {dialect.named(parent)} AS {inner} "
                    f"WHERE {joined} AND {condition})"
                )
        return f"({' OR '.join(parts)})" if parts else ""


def _condition(rule: Leave, table: Table, alias: str) -> str:
    if rule.all:
        return "(TRUE)"
    parts = [
        words
        for column in table.columns
        if column.kind is Kind.TEXT and fnmatchcase(column.name, rule.column)
        for words in _compared(rule, f"{alias}.{quoted(column.name)}")
    ]
    return f"({' OR '.join(parts)})" if parts else ""


def _compared(rule: Leave, name: str) -> Iterator[str]:
    for word in rule.equals:
        yield f"{name} = {string(word)}"
    for word in rule.prefix:
        yield f"substr({name}, 1, {len(word)}) = {string(word)}"
    for word in rule.suffix:
        yield f"substr({name}, length({name}) - {len(word) - 1}, {len(word)}) = {string(word)}"


NOTHING = RuleSet()


class RulesRefused(FileRefused):
    """A rules file cannot be used."""


def load_rules(stated: str | None) -> RuleSet:
    """Read rules: `none`, the name of a set that is shipped, or a file. Raises Misused."""
    if stated in (None, "none"):
        return NOTHING
    try:
        text = shipped_text(stated) if stated in SHIPPED else read_text(Path(stated), RulesRefused)
        rules = read_toml(text, stated, RuleSet, RulesRefused)
    except RulesRefused as error:
        raise Misused(
            f"규칙 파일을 쓸 수 없습니다: {error} (함께 오는 규칙: {', '.join(SHIPPED)})",
            f"no usable rules: {error} (shipped: {', '.join(SHIPPED)})",
        ) from error
    for n, rule in enumerate(rules.leave, 1):
        if rule.all == bool(rule.column and (rule.equals or rule.prefix or rule.suffix)):
            raise Misused(
                f"{stated}: {n}번째 leave에는 all이나 column과 equals 등이 있어야 합니다",
                f"{stated}: leave number {n} needs all, or column with equals, prefix or suffix",
            )
    for masked in rules.mask:
        if masked.how not in MASKS:
            raise Misused(
                f"{stated}: as는 {', '.join(sorted(MASKS))} 가운데 하나입니다: {masked.how!r}",
                f"{stated}: as is one of {', '.join(sorted(MASKS))}, not {masked.how!r}",
            )
    return rules


def rules_of(tree: Mapping[str, object]) -> RuleSet:
    """Read rules back from the record of a copy."""
    return msgspec.convert(tree, RuleSet)


def shipped_text(name: str) -> str:
    """Return a shipped set as it is written."""
    return (
        resources.files("metaport.migration").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    )
