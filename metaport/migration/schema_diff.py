"""In what two schemas differ."""

from collections.abc import Iterator

from metaport.migration.catalogue import REVISION_TABLE, Catalogue, Kind, Table
from metaport.migration.endpoint import Engine
from metaport.migration.ports import Source

# What one engine has no type for stands in another of the same family.
_FAMILIES = ({Kind.INTEGER, Kind.NUMERIC}, {Kind.OTHER, Kind.TEXT})


async def schema_differences(source: Source, target: Source, chosen: Catalogue) -> list[str]:
    """Say what one side has and the other has not: `-` of the source only, `+` of the target."""
    if source.endpoint.engine is target.endpoint.engine is Engine.POSTGRESQL:
        return await _by_words(source, target, chosen)
    return list(_by_shape(chosen, target.catalogue))


async def _by_words(source: Source, target: Source, chosen: Catalogue) -> list[str]:
    """Between two PostgreSQL servers a schema is the same if it is made by the same words."""
    names = {table.full_name for table in chosen.tables}
    there = Catalogue(tuple(table for table in target.catalogue.tables if table.full_name in names))
    ours = await source.words(chosen)  # type: ignore[attr-defined]
    theirs = await target.words(there)  # type: ignore[attr-defined]
    differences: list[str] = []
    for one, two in (
        (ours.before, theirs.before),
        (ours.indexing, theirs.indexing),
        (ours.after, theirs.after),
    ):
        differences += [f"- {words}" for words in one if words not in set(two)]
        differences += [f"+ {words}" for words in two if words not in set(one)]
    return differences


def _by_shape(chosen: Catalogue, there: Catalogue) -> Iterator[str]:
    for table in chosen.tables:
        if table.full_name not in there:
            yield f"- TABLE {table.full_name}"
            continue
        yield from _tables(table, there[table.full_name])
    for table in there.tables:
        if table.full_name not in chosen and table.name != REVISION_TABLE:
            yield f"+ TABLE {table.full_name}"


def _tables(one: Table, two: Table) -> Iterator[str]:
    name = one.full_name
    theirs = {column.name: column for column in two.columns}
    for column in one.columns:
        other = theirs.pop(column.name, None)
        if other is None:
            yield f"- COLUMN {name}.{column.name}"
            continue
        if column.nullable != other.nullable and column.name not in one.key:
            yield f"± NULL {name}.{column.name}"
        kinds = {column.kind, other.kind}
        if len(kinds) > 1 and not any(kinds <= family for family in _FAMILIES):
            yield f"± TYPE {name}.{column.name}: {column.type} → {other.type}"
    for column_name in theirs:
        yield f"+ COLUMN {name}.{column_name}"
    if one.key != two.key:
        yield f"± KEY {name}: ({', '.join(one.key)}) → ({', '.join(two.key)})"
    for sign, here, there in (("-", one, two), ("+", two, one)):
        indexes = {(index.columns, index.unique) for index in there.indexes}
        for index in here.indexes:
            if (index.columns, index.unique) not in indexes:
                unique = "UNIQUE " if index.unique else ""
                yield f"{sign} {unique}INDEX {name} ({', '.join(index.columns)})"
        references = {(r.columns, r.table, r.targets) for r in there.references}
        for reference in here.references:
            if (reference.columns, reference.table, reference.targets) not in references:
                yield f"{sign} FOREIGN KEY {name} ({', '.join(reference.columns)})"
