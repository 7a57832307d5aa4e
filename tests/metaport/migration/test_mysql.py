"""MariaDB comes into PostgreSQL as the type mapping says, and what comes is the same."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaport.migration.copying import Order, Outcome, copy
from metaport.migration.differences import Difference
from metaport.migration.errors import Misused
from metaport.migration.progress import Progress
from metaport.migration.rejects import RejectFile
from metaport.migration.type_mapping import from_mysql
from metaport.migration.verification import verify
from tests.metaport.migration.databases import endpoint, run, value
from tests.metaport.migration.mariadb import MariadbServer

KINDS = """
CREATE TABLE kinds (
  id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, flag tinyint(1) NOT NULL DEFAULT 1,
  tiny tinyint unsigned, big bigint unsigned, price decimal(12,3), ratio double, name varchar(40),
  raw varbinary(8), bits bit(5), one bit(1), born date NOT NULL, at datetime(6),
  seen timestamp NULL, lasts time, y year, mood enum('기쁨','it''s') DEFAULT 'it''s',
  likes set('a','b'), doc json, twice int GENERATED ALWAYS AS (tiny * 2) STORED,
  UNIQUE KEY by_name (name), KEY by_born (born, at)
) COMMENT '여러 자료형' CHARACTER SET utf8mb4
"""


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariadbServer]:
    server = MariadbServer()
    yield server
    server.close()


def progress() -> Progress:
    return Progress("en", io.StringIO())


async def copied(source: str, target: str, path: Path, **more: object) -> Outcome:
    order = Order(endpoint(source), endpoint(target), **more)  # type: ignore[arg-type]
    return await copy(order, progress(), RejectFile(path / "rejects"))


async def test_every_type_comes_as_the_mapping_says(
    mariadb: MariadbServer, postgres_url: str, tmp_path: Path
) -> None:
    name = mariadb.new_database()
    mariadb.run(
        name,
        "SET sql_mode = ''",
        KINDS,
        "CREATE TABLE child (kind int unsigned, n int, PRIMARY KEY (kind, n), "
        "FOREIGN KEY (kind) REFERENCES kinds (id) ON DELETE CASCADE)",
    )
    mariadb.run(
        name,
        "SET sql_mode = '', time_zone = '+09:00'",
        "INSERT INTO kinds (flag, tiny, big, price, ratio, name, raw, bits, one, born, at, seen, "
        "lasts, y, mood, likes, doc) VALUES (1, 255, 18446744073709551615, 1.500, 0.1, "
        "'한글😀\\t\\\\', x'00ff', b'10110', b'1', '2026-11-28', '2026-11-28 01:02:03.004', "
        "'2026-11-28 09:00:00', '-26:03:04', 2026, '기쁨', 'a,b', '{\"b\": 1, \"a\": 2}'),"
        "(0, 0, 0, 0, -1e300, 'x', NULL, NULL, NULL, '0000-00-00', '0000-00-00 00:00:00', NULL, "
        "NULL, NULL, NULL, '', NULL)",
        "INSERT INTO child VALUES (1, 1), (2, 1)",
    )
    source = mariadb.url(name)
    await copied(source, postgres_url, tmp_path)
    expected = {
        "flag": "true", "tiny": "255", "big": "18446744073709551615", "price": "1.500",
        "ratio": "0.1", "name": "한글😀\t\\", "raw": "\\x00ff", "bits": "10110", "one": "true",
        "born": "2026-11-28", "at": "2026-11-28 01:02:03.004", "seen": "2026-11-28 00:00:00",
        "lasts": "-26:03:04", "y": "2026", "mood": "기쁨", "likes": "{a,b}",
        "doc": '{"a": 2, "b": 1}', "twice": "510",
    }  # fmt: skip
    for column, text in expected.items():
        shown = f"{column} AT TIME ZONE 'UTC'" if column == "seen" else column
        query = f"SELECT ({shown})::text FROM kinds WHERE id = 1"
        assert await value(postgres_url, query) == text, column
    assert await value(postgres_url, "SELECT born IS NULL AND at IS NULL FROM kinds WHERE id = 2")
    assert await value(postgres_url, "SELECT nextval(pg_get_serial_sequence('kinds', 'id'))") == 3
    assert await value(postgres_url, "SELECT obj_description('kinds'::regclass)") == "여러 자료형"
    found = await verify(Order(endpoint(source), endpoint(postgres_url)), progress())
    assert found.passed, [one.told for one in found.tables]
    await run(postgres_url, "UPDATE kinds SET mood = 'it''s' WHERE id = 1")
    await run(postgres_url, "DELETE FROM child WHERE kind = 2")
    found = await verify(Order(endpoint(source), endpoint(postgres_url)), progress())
    assert {one.table: one.told for one in found.tables} == {
        "public.kinds": [Difference("changed", ("1",), ("mood",))],
        "public.child": [Difference("missing", ("2", "1"))],
    }


async def test_what_nothing_holds_is_refused_before_anything_is_written(
    mariadb: MariadbServer, postgres_url: str, tmp_path: Path
) -> None:
    name = mariadb.new_database()
    mariadb.run(name, "CREATE TABLE place (id int PRIMARY KEY, at point)", "CREATE TABLE t (a int)")
    with pytest.raises(Misused, match="no type holds a point"):
        await copied(mariadb.url(name), postgres_url, tmp_path)
    assert (
        await value(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    )
    await copied(mariadb.url(name), postgres_url, tmp_path, exclude=("place",))
    assert await value(postgres_url, "SELECT count(*) FROM t") == 0


async def test_a_large_table_comes_in_chunks_of_its_key(
    mariadb: MariadbServer, postgres_url: str, tmp_path: Path
) -> None:
    name = mariadb.new_database()
    mariadb.run(
        name,
        "CREATE TABLE big (room varchar(20), n int, body text, PRIMARY KEY (room, n))",
        "INSERT INTO big SELECT concat('방', seq % 7), seq, 'x' FROM seq_1_to_60000",
        "ANALYZE TABLE big",
    )
    outcome = await copied(mariadb.url(name), postgres_url, tmp_path)
    assert outcome.rows == {"public.big": 60_000}
    assert await value(postgres_url, "SELECT count(*) FROM metaport_copy.chunk") == 2


@pytest.mark.parametrize(
    ("stated", "mapped"),
    [
        ("tinyint(1)", "boolean"), ("int(10) unsigned", "bigint"),
        ("bigint(20) unsigned", "numeric(20)"),
        ("mediumint(8) unsigned", "integer"), ("decimal(10,2)", "numeric(10,2)"),
        ("varchar(255)", "character varying(255)"), ("longblob", "bytea"), ("bit(8)", "bit(8)"),
        ("datetime(3)", "timestamp(3) without time zone"),
        ("timestamp", "timestamp with time zone"),
        ("time(6)", "interval"), ("year(4)", "smallint"), ("enum('a','b')", "text"),
        ("set('a')", "text[]"), ("json", "jsonb"), ("double", "double precision"),
    ],
)  # fmt: skip
def test_the_stated_mapping(stated: str, mapped: str) -> None:
    found = from_mysql(stated)
    assert found is not None
    assert found.type == mapped
