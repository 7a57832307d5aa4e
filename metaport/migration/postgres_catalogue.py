"""What a PostgreSQL database holds, read from its catalogues."""

from collections import defaultdict
from typing import Any

from metaport.migration.catalogue import (
    RECORD_SCHEMA,
    Catalogue,
    Column,
    Index,
    Kind,
    Reference,
    Sequence,
    Table,
)

# Of everybody's own; not the system's, not an extension's, not the record of a copy.
OWN_SCHEMAS = (
    "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', "
    f"'{RECORD_SCHEMA}') AND n.nspname !~ '^pg_(temp|toast_temp)_'"
)


def not_of_extension(catalogue: str, oid: str) -> str:
    """Write the condition that an object was not made by an extension."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = '{catalogue}'::regclass "
        f"AND x.objid = {oid} AND x.deptype = 'e')"
    )


_TABLES = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, obj_description(c.oid, 'pg_class') AS comment,
  (SELECT coalesce(sum(greatest(p.reltuples, 0)), 0)::bigint FROM pg_class p
     WHERE p.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)
        OR (c.relkind = 'r' AND p.oid = c.oid)) AS rows,
  (SELECT coalesce(sum(pg_total_relation_size(p.oid)), 0)::bigint FROM pg_class p
     WHERE p.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)
        OR (c.relkind = 'r' AND p.oid = c.oid)) AS size_bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND {OWN_SCHEMAS}
  AND {not_of_extension("pg_class", "c.oid")}
ORDER BY 2, 3
"""
_COLUMNS = """
SELECT a.attrelid AS oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
  NOT a.attnotnull AS nullable, a.attgenerated <> '' AS generated, a.attidentity <> '' AS identity,
  pg_get_expr(d.adbin, d.adrelid) AS default_words,
  col_description(a.attrelid, a.attnum) AS comment,
  coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text AS base,
  coalesce((SELECT l.collname FROM pg_collation l WHERE l.oid = a.attcollation
     AND l.collname <> 'default'), '') AS collation
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
_INDEXES = """
SELECT i.indrelid AS oid, c.relname AS name, i.indisunique AS is_unique, i.indisprimary AS primary,
  i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid AS plain,
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(i.indkey::int2[])
     WITH ORDINALITY AS k(number, place) JOIN pg_attribute a
     ON a.attrelid = i.indrelid AND a.attnum = k.number
     WHERE k.place <= i.indnkeyatts) AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY($1::oid[]) ORDER BY i.indrelid, i.indisprimary DESC, c.relname
"""
_REFERENCES = """
SELECT f.conrelid AS oid, f.conname AS name, n.nspname || '.' || c.relname AS target,
  f.confdeltype::text AS on_delete,
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY
     AS k(number, place) JOIN pg_attribute a ON a.attrelid = f.conrelid
     AND a.attnum = k.number) AS columns,
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY
     AS k(number, place) JOIN pg_attribute a ON a.attrelid = f.confrelid
     AND a.attnum = k.number) AS targets
FROM pg_constraint f JOIN pg_class c ON c.oid = f.confrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY($1::oid[])
ORDER BY f.conrelid, f.conname
"""
_SEQUENCES = f"""
SELECT n.nspname || '.' || c.relname AS name, pg_sequence_last_value(c.oid) AS last,
  tn.nspname || '.' || t.relname AS owner, a.attname AS owner_column
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class t ON t.oid = d.refobjid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.relkind = 'S' AND {OWN_SCHEMAS} AND {not_of_extension("pg_class", "c.oid")}
ORDER BY 1
"""
_DATABASE = """
SELECT current_setting('server_version') AS version, pg_encoding_to_char(encoding) AS encoding,
  datcollate AS collation FROM pg_database WHERE datname = current_database()
"""
_EXTENSIONS = "SELECT extname, extversion FROM pg_extension WHERE extname <> 'plpgsql'"

_KINDS = {
    "boolean": Kind.BOOLEAN,
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "numeric": Kind.NUMERIC,
    "real": Kind.FLOAT,
    "double precision": Kind.FLOAT,
    "text": Kind.TEXT,
    "character varying": Kind.TEXT,
    "character": Kind.TEXT,
    "bytea": Kind.BYTES,
    "date": Kind.DATE,
    "timestamp without time zone": Kind.TIMESTAMP,
    "timestamp with time zone": Kind.INSTANT,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
}
_ON_DELETE = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}


async def read_postgres(connection: Any) -> Catalogue:
    """Read what stands in a PostgreSQL database, as the connection's snapshot sees it."""
    database = await connection.fetchrow(_DATABASE)
    found = await connection.fetch(_TABLES)
    oids = [row["oid"] for row in found]
    columns: dict[int, list[Column]] = defaultdict(list)
    for row in await connection.fetch(_COLUMNS, oids):
        columns[row["oid"]].append(_column(row))
    indexes: dict[int, list[Any]] = defaultdict(list)
    for row in await connection.fetch(_INDEXES, oids):
        indexes[row["oid"]].append(row)
    references: dict[int, list[Reference]] = defaultdict(list)
    for row in await connection.fetch(_REFERENCES, oids):
        references[row["oid"]].append(
            Reference(
                row["name"],
                tuple(row["columns"]),
                row["target"],
                tuple(row["targets"]),
                _ON_DELETE.get(row["on_delete"], ""),
            )
        )
    tables = tuple(
        _table(row, columns[row["oid"]], indexes[row["oid"]], references[row["oid"]])
        for row in found
    )
    sequences = tuple(
        Sequence(
            row["name"],
            row["last"],
            (row["owner"], row["owner_column"]) if row["owner_column"] else None,
        )
        for row in await connection.fetch(_SEQUENCES)
    )
    extensions = {row[0]: row[1] for row in await connection.fetch(_EXTENSIONS)}
    return Catalogue(
        tables, sequences, database["version"], database["encoding"], database["collation"],
        extensions,
    )  # fmt: skip


def _column(row: Any) -> Column:
    default = None if row["generated"] else row["default_words"]
    return Column(
        row["name"],
        row["type"],
        _KINDS.get(row["base"], Kind.OTHER),
        row["nullable"],
        default,
        row["generated"],
        row["identity"] or (default or "").startswith("nextval("),
        row["comment"],
        row["collation"],
    )


def _table(
    row: Any, columns: list[Column], indexes: list[Any], references: list[Reference]
) -> Table:
    nullable = {column.name for column in columns if column.nullable}
    keys = [
        index
        for index in indexes
        if index["is_unique"] and index["plain"] and not nullable & set(index["columns"])
    ]
    return Table(
        row["schema"],
        row["name"],
        tuple(columns),
        tuple(keys[0]["columns"]) if keys else (),
        bool(keys and keys[0]["primary"]),
        tuple(
            Index(index["name"], tuple(index["columns"]), index["is_unique"])
            for index in indexes
            if index["plain"] and not index["primary"]
        ),
        tuple(references),
        row["rows"],
        row["size_bytes"],
        row["comment"],
    )
