"""The words that make a PostgreSQL schema again, in the order in which they can be said.

Before the data: schemas, extensions, types, functions, sequences, tables with their checks.
After it: keys and indexes; then references, triggers, views and comments. Owners, grants,
publications and large objects are not carried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from metaport.migration.catalogue import Catalogue
from metaport.migration.postgres import qualified, quoted, string
from metaport.migration.postgres_catalogue import OWN_SCHEMAS, not_of_extension


@dataclass(frozen=True, slots=True)
class Words:
    """Statements: those of `before` in any order that works; `after` in that of its groups."""

    before: tuple[str, ...]
    indexing: tuple[str, ...]
    after: tuple[str, ...]


_SCHEMAS = f"SELECT n.nspname FROM pg_namespace n WHERE {OWN_SCHEMAS} ORDER BY 1"
_EXTENSIONS = """
SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql' ORDER BY 1
"""
_ENUMS = f"""
SELECT n.nspname, t.typname, (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
  FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'e' AND {OWN_SCHEMAS} AND {not_of_extension("pg_type", "t.oid")} ORDER BY 1, 2
"""
_COMPOSITES = f"""
SELECT n.nspname, t.typname, (SELECT string_agg(quote_ident(a.attname) || ' ' ||
  format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a
  WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS fields
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype = 'c' AND c.relkind = 'c' AND {OWN_SCHEMAS}
  AND {not_of_extension("pg_type", "t.oid")} ORDER BY 1, 2
"""
_DOMAINS = f"""
SELECT n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod) AS base, t.typdefault,
  t.typnotnull, (SELECT string_agg(' CONSTRAINT ' || quote_ident(k.conname) || ' ' ||
  pg_get_constraintdef(k.oid), '') FROM pg_constraint k
  WHERE k.contypid = t.oid AND k.contype = 'c') AS checks
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'd' AND {OWN_SCHEMAS} AND {not_of_extension("pg_type", "t.oid")} ORDER BY 1, 2
"""
_FUNCTIONS = f"""
SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p', 'w') AND {OWN_SCHEMAS} AND {not_of_extension("pg_proc", "p.oid")}
ORDER BY p.oid
"""
_SEQUENCES = f"""
SELECT n.nspname, c.relname, format_type(s.seqtypid, NULL) AS type, s.seqstart, s.seqincrement,
  s.seqmin, s.seqmax, s.seqcache, s.seqcycle
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n
  ON n.oid = c.relnamespace
WHERE {OWN_SCHEMAS} AND {not_of_extension("pg_class", "c.oid")} AND NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
  AND d.deptype = 'i')
ORDER BY 1, 2
"""
_TABLES = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
  c.relpersistence = 'u' AS unlogged, pg_get_partkeydef(c.oid) AS partitioned,
  pg_get_expr(c.relpartbound, c.oid) AS bound, array_to_string(c.reloptions, ', ') AS options,
  (SELECT pn.nspname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
     JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid
     AND c.relispartition) AS parent_schema,
  (SELECT p.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
     WHERE i.inhrelid = c.oid AND c.relispartition) AS parent
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND {OWN_SCHEMAS} AND {not_of_extension("pg_class", "c.oid")}
ORDER BY 2, 3
"""
_COLUMNS = """
SELECT a.attrelid AS oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
  a.attnotnull, a.attgenerated::text AS generated, a.attidentity::text AS identity,
  pg_get_expr(d.adbin, d.adrelid) AS words,
  (SELECT quote_ident(ln.nspname) || '.' || quote_ident(l.collname) FROM pg_collation l
     JOIN pg_namespace ln ON ln.oid = l.collnamespace JOIN pg_type t ON t.oid = a.atttypid
     WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation) AS collation,
  (SELECT format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqstart,
     s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
     FROM pg_sequence s JOIN pg_depend x ON x.classid = 'pg_class'::regclass
     AND x.objid = s.seqrelid AND x.deptype = 'i'
     WHERE x.refobjid = a.attrelid AND x.refobjsubid = a.attnum) AS counting
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
_CONSTRAINTS = """
SELECT k.conrelid AS oid, k.conname AS name, k.contype::text AS type,
  pg_get_constraintdef(k.oid) AS words
FROM pg_constraint k WHERE k.conrelid = ANY($1::oid[]) AND k.conparentid = 0 AND k.conislocal
  AND k.contype IN ('c', 'p', 'u', 'x', 'f') ORDER BY k.contype, k.conrelid, k.conname
"""
_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) AS words FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY($1::oid[]) AND NOT c.relispartition AND NOT EXISTS (
  SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
ORDER BY i.indrelid, c.relname
"""
_OWNED = """
SELECT n.nspname AS schema, c.relname AS name, tn.nspname AS table_schema, t.relname AS table_name,
  a.attname AS column_name
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class t ON t.oid = d.refobjid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a' AND t.oid = ANY($1::oid[])
ORDER BY 1, 2
"""
_TRIGGERS = """
SELECT pg_get_triggerdef(t.oid) AS words FROM pg_trigger t
WHERE t.tgrelid = ANY($1::oid[]) AND NOT t.tgisinternal AND t.tgparentid = 0
ORDER BY t.tgrelid, t.tgname
"""
_VIEWS = f"""
SELECT n.nspname, c.relname, c.relkind::text AS kind, pg_get_viewdef(c.oid) AS words, c.oid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND {OWN_SCHEMAS} AND {not_of_extension("pg_class", "c.oid")}
ORDER BY c.oid
"""
_COMMENTS = f"""
SELECT i.type, i.identity, d.description FROM pg_description d,
  LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE d.classoid = ANY(ARRAY['pg_class', 'pg_constraint', 'pg_type', 'pg_namespace']::regclass[])
  AND i.type IN ('table', 'table column', 'view', 'view column', 'materialized view', 'sequence',
    'index', 'table constraint', 'type', 'schema')
  AND coalesce(i.schema, i.name) IN (SELECT n.nspname FROM pg_namespace n WHERE {OWN_SCHEMAS})
  AND i.identity <> 'public' ORDER BY 1, 2
"""


async def read_words(connection: Any, catalogue: Catalogue) -> Words:
    """Read the words for everything in a database but the tables not in `catalogue`."""
    found = await connection.fetch(_TABLES)
    kept = {table.full_name for table in catalogue.tables}
    parents = {(row["schema"], row["name"]): row for row in found}

    def is_kept(row: Any) -> bool:
        while row["parent"]:
            row = parents[row["parent_schema"], row["parent"]]
        return f"{row['schema']}.{row['name']}" in kept

    tables = [row for row in found if is_kept(row)]
    oids = [row["oid"] for row in tables]
    names = {row["oid"]: qualified(row["schema"], row["name"]) for row in tables}
    columns = await connection.fetch(_COLUMNS, oids)
    constraints = await connection.fetch(_CONSTRAINTS, oids)
    checks = [rule for rule in constraints if rule["type"] == "c"]
    before = [
        *[
            f"CREATE SCHEMA IF NOT EXISTS {quoted(row[0])}"
            for row in await connection.fetch(_SCHEMAS)
        ],
        *[
            f"CREATE EXTENSION IF NOT EXISTS {quoted(row[0])} WITH SCHEMA {quoted(row[1])}"
            for row in await connection.fetch(_EXTENSIONS)
        ],
        *await _types(connection),
        *[row[0] for row in await connection.fetch(_FUNCTIONS)],
        *[_sequence(row) for row in await connection.fetch(_SEQUENCES)],
        *[_table(row, columns, checks) for row in tables],
    ]
    owned = [
        f"ALTER SEQUENCE {qualified(row['schema'], row['name'])} OWNED BY "
        f"{qualified(row['table_schema'], row['table_name'])}.{quoted(row['column_name'])}"
        for row in await connection.fetch(_OWNED, oids)
    ]
    indexing = [_rule(names, rule) for rule in constraints if rule["type"] in ("p", "u", "x")]
    indexing += [row["words"] for row in await connection.fetch(_INDEXES, oids)]
    after = [_rule(names, rule) for rule in constraints if rule["type"] == "f"]
    after += [row["words"] for row in await connection.fetch(_TRIGGERS, oids)]
    if kept and all(not row["parent"] or is_kept(row) for row in found):
        after += [_view(row) for row in await connection.fetch(_VIEWS)]
    after += [
        f"COMMENT ON {_commented(row['type'], row['identity'])} IS {string(row['description'])}"
        for row in await connection.fetch(_COMMENTS)
    ]
    return Words(tuple(before + owned), tuple(indexing), tuple(after))


async def _types(connection: Any) -> list[str]:
    words = [
        f"CREATE TYPE {qualified(row[0], row[1])} AS ENUM "
        f"({', '.join(string(label) for label in row['labels'] or ())})"
        for row in await connection.fetch(_ENUMS)
    ]
    words += [
        f"CREATE TYPE {qualified(row[0], row[1])} AS ({row['fields'] or ''})"
        for row in await connection.fetch(_COMPOSITES)
    ]
    words += [
        f"CREATE DOMAIN {qualified(row[0], row[1])} AS {row['base']}"
        + (f" DEFAULT {row['typdefault']}" if row["typdefault"] else "")
        + (" NOT NULL" if row["typnotnull"] else "")
        + (row["checks"] or "")
        for row in await connection.fetch(_DOMAINS)
    ]
    return words


def _sequence(row: Any) -> str:
    return (
        f"CREATE SEQUENCE {qualified(row['nspname'], row['relname'])} AS {row['type']} "
        f"START WITH {row['seqstart']} INCREMENT BY {row['seqincrement']} "
        f"MINVALUE {row['seqmin']} MAXVALUE {row['seqmax']} CACHE {row['seqcache']}"
        + (" CYCLE" if row["seqcycle"] else "")
    )


def _table(row: Any, columns: Sequence[Any], checks: Sequence[Any]) -> str:
    name = qualified(row["schema"], row["name"])
    unlogged = "UNLOGGED " if row["unlogged"] else ""
    options = f" WITH ({row['options']})" if row["options"] else ""
    own_checks = [
        f"CONSTRAINT {quoted(rule['name'])} {rule['words']}"
        for rule in checks
        if rule["oid"] == row["oid"]
    ]
    partitioned = f" PARTITION BY {row['partitioned']}" if row["partitioned"] else ""
    if row["parent"]:
        parent = qualified(row["parent_schema"], row["parent"])
        inside = f" ({', '.join(own_checks)})" if own_checks else ""
        return (
            f"CREATE {unlogged}TABLE {name} PARTITION OF {parent}{inside} {row['bound']}"
            f"{partitioned}{options}"
        )
    lines = [_column(column) for column in columns if column["oid"] == row["oid"]]
    return f"CREATE {unlogged}TABLE {name} ({', '.join(lines + own_checks)}){partitioned}{options}"


def _column(row: Any) -> str:
    words = f"{quoted(row['name'])} {row['type']}"
    if row["collation"]:
        words += f" COLLATE {row['collation']}"
    if row["identity"]:
        when = "ALWAYS" if row["identity"] == "a" else "BY DEFAULT"
        words += f" GENERATED {when} AS IDENTITY ({row['counting']})"
    elif row["generated"]:
        words += f" GENERATED ALWAYS AS ({row['words']}) STORED"
    elif row["words"]:
        words += f" DEFAULT {row['words']}"
    return words + (" NOT NULL" if row["attnotnull"] else "")


def _rule(names: dict[int, str], rule: Any) -> str:
    return f"ALTER TABLE {names[rule['oid']]} ADD CONSTRAINT {quoted(rule['name'])} {rule['words']}"


def _view(row: Any) -> str:
    kind = "MATERIALIZED VIEW" if row["kind"] == "m" else "VIEW"
    return (
        f"CREATE {kind} {qualified(row['nspname'], row['relname'])} AS {row['words'].rstrip(';')}"
    )


def _commented(kind: str, identity: str) -> str:
    match kind:
        case "table column" | "view column":
            return f"COLUMN {identity}"
        case "table constraint":
            return f"CONSTRAINT {identity}"
        case _:
            return f"{kind.upper()} {identity}"


async def say_all(connection: Any, statements: Sequence[str]) -> None:
    """Run statements that need one another, in an order that works, inside a transaction.

    What refers to something not made yet is tried again after the rest. Raises what PostgreSQL says
    of the first that can never be run.
    """
    waiting = list(statements)
    while waiting:
        refused: list[tuple[str, asyncpg.PostgresError]] = []
        for statement in waiting:
            try:
                async with connection.transaction():  # a savepoint
                    await connection.execute(statement)
            except (
                asyncpg.UndefinedObjectError,
                asyncpg.UndefinedTableError,
                asyncpg.UndefinedFunctionError,
                asyncpg.UndefinedColumnError,
                asyncpg.InvalidSchemaNameError,
                asyncpg.InvalidObjectDefinitionError,
            ) as error:
                refused.append((statement, error))
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [statement for statement, _ in refused]
