"""Every planted difference is found, what is equal by definition is not, and a copy is the same."""

import asyncio
import io
import json
from pathlib import Path

import asyncpg
import pytest

from metaport.migration.copying import Order, copy
from metaport.migration.differences import Difference, Verification, digest
from metaport.migration.errors import Interrupted
from metaport.migration.progress import Progress
from metaport.migration.rejects import RejectFile
from metaport.migration.rules import Leave, Mask, RuleSet
from metaport.migration.verification import verify
from metaport.migration.verify_document import verify_document
from metering.forms import FORMS
from tests.metaport.migration.databases import RICH, endpoint, run, value

SCHEMA = """
CREATE TABLE room (id int PRIMARY KEY, name text);
CREATE TABLE talk (id bigserial PRIMARY KEY, room int, body text, at timestamptz, price numeric,
  doc json, flag boolean);
"""
ROWS = """
INSERT INTO room SELECT g, '방 ' || g FROM generate_series(1, 20) g;
INSERT INTO talk (room, body, at, price, doc, flag)
  SELECT g % 20 + 1, '안녕 ' || g, '2026-11-28 09:00:00+09'::timestamptz + g * interval '1 s',
  g * 1.5, '{"a": 1, "b": [1, 2]}', g % 2 = 0 FROM generate_series(1, 9000) g;
"""


def progress() -> Progress:
    return Progress("en", io.StringIO())


async def compared(source: str, target: str, **more: object) -> Verification:
    order = Order(endpoint(source), endpoint(target), **more)  # type: ignore[arg-type]
    return await verify(order, progress())


async def both(source: str, target: str) -> None:
    for url in (source, target):
        await run(url, SCHEMA + ROWS)
        await run(url, "ALTER TABLE talk ADD FOREIGN KEY (room) REFERENCES room; ANALYZE")


def told(found: Verification, table: str) -> list[Difference]:
    return next(one.told for one in found.tables if one.table == f"public.{table}")


async def test_a_copy_is_the_same(postgres_url: str, target_url: str, tmp_path: Path) -> None:
    await run(postgres_url, RICH.read_text("utf-8"))
    order = Order(endpoint(postgres_url), endpoint(target_url))
    await copy(order, progress(), RejectFile(tmp_path / "r"))
    found = await verify(order, progress())
    assert found.passed, found
    assert {one.how for one in found.tables} == {"checksum", "sums"}


@pytest.mark.parametrize(
    ("planted", "difference"),
    [
        ("UPDATE talk SET body = body || '!' WHERE id = 4711",
         Difference("changed", ("4711",), ("body",))),
        ("DELETE FROM talk WHERE id = 8999", Difference("missing", ("8999",))),
        ("INSERT INTO talk (id, room) VALUES (8500000, 1)", Difference("extra", ("8500000",))),
        ("UPDATE talk SET at = at + interval '9 h' WHERE id = 17",
         Difference("changed", ("17",), ("at",))),
        ("UPDATE talk SET price = price + 0.01 WHERE id = 1",
         Difference("changed", ("1",), ("price",))),
        ("UPDATE talk SET doc = '{\"a\": 1, \"b\": [2, 1]}' WHERE id = 2",
         Difference("changed", ("2",), ("doc",))),
        ("UPDATE talk SET flag = NULL WHERE id = 9000",
         Difference("changed", ("9000",), ("flag",))),
    ],
)  # fmt: skip
async def test_a_planted_difference_is_found(
    postgres_url: str, target_url: str, planted: str, difference: Difference
) -> None:
    await both(postgres_url, target_url)
    await run(target_url, planted)
    found = await compared(postgres_url, target_url)
    assert not found.passed
    assert told(found, "talk") == [difference]


@pytest.mark.parametrize(
    "planted",
    [
        "UPDATE talk SET body = normalize(body, NFD)",
        "UPDATE talk SET price = price::numeric(20, 6)",
        'UPDATE talk SET doc = \'{"b":[1,2],"a":1}\'',
        "SET timezone = 'Asia/Seoul'; UPDATE talk SET at = at::text::timestamptz",
    ],
)
async def test_what_is_equal_by_definition_is_not_reported(
    postgres_url: str, target_url: str, planted: str
) -> None:
    await both(postgres_url, target_url)
    await run(target_url, planted)
    found = await compared(postgres_url, target_url)
    assert found.passed, [one.told[:2] for one in found.tables]


async def test_orphans_and_counters_that_are_behind_are_found(
    postgres_url: str, target_url: str
) -> None:
    await both(postgres_url, target_url)
    await run(
        target_url,
        "SET session_replication_role = replica; DELETE FROM room WHERE id = 7;"
        "SELECT setval('talk_id_seq', 8000)",
    )
    found = await compared(postgres_url, target_url)
    talk = next(one for one in found.tables if one.table == "public.talk")
    assert talk.orphans == {"talk_room_fkey": 450}
    assert [one.passed for one in found.sequences] == [False]
    assert told(found, "room") == [Difference("missing", ("7",))]


async def test_differences_of_schema_are_told_in_its_words(
    postgres_url: str, target_url: str
) -> None:
    await both(postgres_url, target_url)
    await run(target_url, "CREATE INDEX talk_at ON talk (at); ALTER TABLE room ADD CHECK (id > 0)")
    found = await compared(postgres_url, target_url)
    assert not found.passed
    assert any("talk_at" in line and line.startswith("+") for line in found.schema)
    assert any("CHECK" in line for line in found.schema)


async def test_what_rules_leave_and_mask_is_taken_into_account(
    postgres_url: str, target_url: str, tmp_path: Path
) -> None:
    await run(postgres_url, SCHEMA + ROWS)
    rules = RuleSet(
        "own",
        (Leave("room", "시험", "test", column="name", equals=("방 3",)),),
        (Mask("talk", "body", "text"), Mask("room", "name", "name")),
    )
    await run(postgres_url, "ALTER TABLE talk ADD FOREIGN KEY (room) REFERENCES room")
    order = Order(endpoint(postgres_url), endpoint(target_url), rules=rules, mask_key=b"k" * 32)
    await copy(order, progress(), RejectFile(tmp_path / "r"))
    found = await compared(postgres_url, target_url, mask_key=b"k" * 32)
    assert found.passed, found
    assert {one.table: one.left for one in found.tables} == {"public.room": 1, "public.talk": 450}
    # Without the key of pseudonyms the rest is compared; without masking everything differs.
    found = await compared(postgres_url, target_url)
    assert found.passed
    assert {one.not_compared for one in found.tables} == {("name",), ("body",)}
    await run(target_url, "UPDATE talk SET body = 'no pseudonym' WHERE id = 5")
    found = await compared(postgres_url, target_url, mask_key=b"k" * 32)
    assert told(found, "talk") == [Difference("changed", ("5",), ("body",))]


async def test_the_report_carries_its_digest_in_every_form(
    postgres_url: str, target_url: str
) -> None:
    await both(postgres_url, target_url)
    await run(target_url, "DELETE FROM talk WHERE id = 8999")
    found = await compared(postgres_url, target_url)
    tree = json.loads(json.dumps(found.as_json()))
    assert tree["digest"] == digest(tree)
    assert digest({**tree, "passed": True}) != tree["digest"]
    for lang in ("ko", "en"):
        document = verify_document(found, lang)  # type: ignore[arg-type]
        for form in ("text", "html"):
            text = FORMS[form](document).decode()
            assert tree["digest"] in text
            assert "8999" in text
        assert FORMS["pdf"](document).startswith(b"%PDF")


async def test_a_database_that_dies_meanwhile_is_told(postgres_url: str, target_url: str) -> None:
    await both(postgres_url, target_url)
    holder = await asyncpg.connect(target_url)
    await holder.execute("BEGIN; LOCK TABLE talk")
    verifying = asyncio.create_task(compared(postgres_url, target_url))
    waiting = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = "
        "'Lock' AND datname = current_database() AND application_name = 'metaport db'"
    )
    while not await value(target_url, waiting):
        assert not verifying.done()
        await asyncio.sleep(0.01)
    with pytest.raises(Interrupted, match="is lost"):
        await verifying
    await holder.close()


async def test_two_servers_that_sort_otherwise_are_compared_by_bytes(
    postgres_server: object, postgres_url: str
) -> None:
    name = endpoint(postgres_url).name + "_icu"
    await run(postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C.UTF-8'")
    other: str = postgres_server.url(name)  # type: ignore[attr-defined]
    for url in (postgres_url, other):
        await run(
            url,
            "CREATE TABLE t (k text PRIMARY KEY, v int); INSERT INTO t SELECT md5(g::text), g "
            "FROM generate_series(1, 6000) g; INSERT INTO t VALUES ('가', 1), ('é', 2), ('Z', 3);"
            "ANALYZE t",
        )
    assert (await compared(postgres_url, other)).passed
    await run(other, "DELETE FROM t WHERE k = '가'; UPDATE t SET v = 0 WHERE k = 'é'")
    found = await compared(postgres_url, other)
    assert sorted(told(found, "t"), key=lambda one: one.what) == [
        Difference("changed", ("é",), ("v",)), Difference("missing", ("가",)),
    ]  # fmt: skip
