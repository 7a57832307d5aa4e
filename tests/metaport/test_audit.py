"""The audit log: written before the answer, chained, and every way of tampering shows."""

import asyncio
import json

import pytest
from sqlalchemy import text

from metaport.audit import Entry, Sealer
from metaport.audit_spool import CARRIED, SPOOL, AuditSpool
from metaport.audit_writer import ANCHOR, AuditKeeper, AuditWriter, read_anchor
from metaport.cli import main
from metaport.db.audit import MOST_ROWS, Filter, SqlAudit
from metaport.db.direct import DirectPool
from metaport.db.engine import connect
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, exactly, serving
from tests.system.deadline import until

config = test_compose.config
hub = test_compose.hub

NOW = 1_790_790_000.0
SEALER = Sealer("k" * 32)
ADMIN = {"user": "ann", "roles": ["admin"]}


def entry(number, **fields):
    told = Entry(
        f"id-{number}", int(NOW * 1000) + number, "ann", "192.0.2.7", "api", "PATCH /x",
        '{"room":"가"}', "", "", "200", f"r-{number}",
    )  # fmt: skip
    return told._replace(**fields)


@pytest.fixture(params=["sqlite", "postgres", "direct"])
async def store(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'audit.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = connect(url)
    direct = DirectPool(engine.url) if request.param == "direct" else None
    store = SqlAudit(engine, direct)
    await store.page(Filter(), 1)  # finds the schema
    yield store
    if direct is not None:
        await direct.close()
    await engine.dispose()


@pytest.fixture
async def chain(store):
    """Three batches of four rows, sealed; yields the store and the last seal."""
    for batch in range(3):
        await store.add([entry(batch * 4 + row) for row in range(4)])
        last = await store.seal(SEALER, NOW)
    return store, last


async def change(store, *statements):
    async with store._engine.begin() as connection:
        for statement in statements:
            assert (await connection.execute(text(statement))).rowcount >= 1, statement


async def test_a_chain_nobody_touched_is_whole(chain):
    store, last = chain
    checked = await store.verify(SEALER, NOW, last)
    assert (checked.rows, checked.unsealed, checked.last, checked.faults) == (12, 0, last, [])
    assert await store.seal(SEALER, NOW) is None
    await store.add([entry(12)])
    assert (await store.verify(SEALER, NOW, last)).unsealed == 1
    assert (await store.verify(SEALER, NOW + 61, last)).faults[0].kind == "unsealed"


@pytest.mark.parametrize(
    ("statements", "faults"),
    [
        (["UPDATE audit_entry SET actor = 'eve' WHERE serial = 6"], [("changed", 6)]),
        (["UPDATE audit_entry SET at_ms = at_ms + 1 WHERE serial = 6"], [("changed", 6)]),
        (["UPDATE audit_entry SET result = '403' WHERE serial = 12"], [("changed", 12)]),
        (["UPDATE audit_entry SET seal = NULL WHERE serial = 6"], [("changed", 6)]),
        (["DELETE FROM audit_entry WHERE serial = 6"], [("missing", 2)]),
        (
            [
                "UPDATE audit_entry SET serial = 99 WHERE serial = 6",
                "UPDATE audit_entry SET serial = 6 WHERE serial = 7",
                "UPDATE audit_entry SET serial = 7 WHERE serial = 99",
            ],
            [("changed", 6), ("changed", 7)],
        ),
        (
            [
                "UPDATE audit_entry SET batch = NULL WHERE serial = 6",
                "UPDATE audit_entry SET batch = 2 WHERE serial = 1",
                "UPDATE audit_entry SET batch = 1 WHERE serial = 6",
            ],
            [("reordered", 1), ("reordered", 2)],
        ),
        (
            [
                "INSERT INTO audit_entry (serial, id, at_ms, actor, address, via, action, object,"
                " whose, personal, result, request_id, batch)"
                " VALUES (99, 'x', 1, 'eve', '', 'api', 'x', '', '', '', '200', '', 2)"
            ],
            [("changed", 99), ("added", 2)],
        ),
        (["UPDATE audit_batch SET sealed_at_s = sealed_at_s + 1 WHERE number = 2"],
         [("changed-batch", 2)]),
        (["UPDATE audit_batch SET forgotten = seal WHERE number = 2"], [("changed-batch", 2)]),
        (
            ["DELETE FROM audit_entry WHERE batch = 2", "DELETE FROM audit_batch WHERE number = 2"],
            [("missing-batch", 2)],
        ),
        (
            ["DELETE FROM audit_entry WHERE batch = 3", "DELETE FROM audit_batch WHERE number = 3"],
            [("truncated", 3)],
        ),
        (
            ["DELETE FROM audit_entry WHERE batch > 0", "DELETE FROM audit_batch WHERE number > 0"],
            [("truncated", 3)],
        ),
    ],
    ids=lambda value: value[0][:40] if isinstance(value[0], str) else value[0][0],
)  # fmt: skip
async def test_what_was_tampered_with_is_found(chain, statements, faults):
    store, last = chain
    await change(store, *statements)
    checked = await store.verify(SEALER, NOW, last)
    assert [(fault.kind, fault.at) for fault in checked.faults] == faults
    assert all(str(fault.at) in said for fault in checked.faults for said in fault.say)


async def test_who_has_not_the_key_cannot_seal_again_what_they_changed(chain):
    store, last = chain
    await change(
        store,
        "UPDATE audit_entry SET actor = 'eve', batch = NULL, seal = NULL WHERE batch = 3",
        "DELETE FROM audit_batch WHERE number = 3",
    )
    await store.seal(Sealer("another" * 6), NOW)
    kinds = {fault.kind for fault in (await store.verify(SEALER, NOW, last)).faults}
    assert kinds == {"changed", "changed-batch"}


async def test_writers_do_not_wait_for_each_other_and_two_sealers_make_one_chain(store):
    await asyncio.gather(*(store.add([entry(n * 10 + k) for k in range(5)]) for n in range(8)))
    await asyncio.gather(*(store.seal(SEALER, NOW) for _ in range(4)))
    checked = await store.verify(SEALER, NOW)
    assert (checked.rows, checked.unsealed, checked.faults) == (40, 0, [])


async def test_what_is_past_its_time_is_deleted_and_the_chain_goes_on(chain):
    store, last = chain
    assert await store.forget(SEALER, NOW) == 0
    assert await store.forget(SEALER, NOW + 1) == 12
    await store.add([entry(20)])
    await store.seal(SEALER, NOW + 2)
    checked = await store.verify(SEALER, NOW, last)
    assert (checked.rows, checked.faults) == (1, [])


async def test_entries_are_told_newest_first_page_by_page(store):
    await store.add([entry(n, actor="ann" if n % 2 else "ben") for n in range(6)])
    await store.add([entry(9, personal="profile", whose="kim")])
    assert [e.id for _, e in await store.page(Filter(actor="ben"), 9)] == ["id-4", "id-2", "id-0"]
    assert [e.whose for _, e in await store.page(Filter(personal=True), 9)] == ["kim"]
    first = await store.page(Filter(), 3)
    then = await store.page(Filter(before=first[-1][0]), 9)
    assert [e.id for _, e in first + then] == [f"id-{n}" for n in (9, 5, 4, 3, 2, 1, 0)]


async def test_while_the_database_is_away_entries_wait_on_disk_and_come_once(store, tmp_path):
    away = connect(f"sqlite:///{tmp_path / 'gone' / 'x.db'}")
    (tmp_path / "gone").write_text("no directory")
    spool = AuditSpool(tmp_path)
    writer = AuditWriter(SqlAudit(away), spool)
    await asyncio.gather(*(writer.write(entry(n)) for n in range(5)))
    await away.dispose()
    assert (tmp_path / SPOOL).stat().st_mode & 0o077 == 0
    # A crash between the insertion and its being done, and a line cut short by one.
    await store.add(spool.take())
    spool.append([entry(7)])
    with (tmp_path / SPOOL).open("a") as file:
        file.write('["id-8", 1')
    keeper = AuditKeeper(store, spool, SEALER, data_dir=tmp_path, days=0, clock=lambda: NOW)
    await keeper.turn()
    await keeper.turn()
    assert sorted(e.id for _, e in await store.page(Filter(), 99)) == [
        "id-0", "id-1", "id-2", "id-3", "id-4", "id-7",
    ]  # fmt: skip
    assert not (tmp_path / SPOOL).exists()
    assert not (tmp_path / CARRIED).exists()
    anchor = read_anchor((tmp_path / "audit.anchor").read_text())
    assert (await store.verify(SEALER, NOW, anchor)).faults == []


async def entries(hub, **query):
    url = "/api/v1/audit"
    async with hub.get(url, params=query, headers=bearer(user="aud", roles=["auditor"])) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["entries"]


async def test_what_is_done_refused_and_told_over_the_api_is_written_down(hub, config):
    room = exactly(config, "/api/v1/rooms/%EA%B0%80%2F1")
    visitor = bearer(user="vic", roles=["visitor"])
    named = bearer(**ADMIN) | {"X-Request-Id": "case-1"}
    await hub.post("/api/v1/rooms", json={"room": "가/1"}, headers=named)
    await hub.delete(room, headers=visitor)
    await hub.patch(room, json={"capacity": 0}, headers=bearer(**ADMIN))
    await hub.get(room, headers=bearer(**ADMIN))
    await hub.get("/api/v1/media/rooms/x", headers=bearer(**ADMIN))
    await hub.get("/api/v1/media/rooms", headers=bearer(**ADMIN))
    await hub.get("/api/v1/webhooks", headers=visitor)
    told = await entries(hub)
    assert [(e["actor"], e["action"], e["result"]) for e in reversed(told)] == [
        ("ann", "POST /api/v1/rooms", "201"),
        ("vic", "DELETE /api/v1/rooms/{room}", "403 forbidden"),
        ("ann", "PATCH /api/v1/rooms/{room}", "400 bad-request"),
        ("ann", "GET /api/v1/media/rooms", "200"),
        ("vic", "GET /api/v1/webhooks", "403 forbidden"),
    ]
    assert told[-1]["request_id"] == "case-1"
    assert told[-1]["address"] == "127.0.0.1"
    assert json.loads(told[-2]["object"]) == {"room": "가/1"}
    [reading, looked] = await entries(hub, personal="true")
    assert (looked["action"], looked["personal"]) == (
        "GET /api/v1/media/rooms",
        "network addresses",
    )
    assert (reading["actor"], reading["action"]) == ("aud", "GET /api/v1/audit")
    assert abs(looked["at"] - told[1]["at"]) < 1


async def test_what_is_written_down_holds_no_token_and_no_body(hub):
    token = bearer(user="vic")["Authorization"].removeprefix("Bearer ")
    body = {"token": token}
    await hub.post("/api/v1/auth/revoke", json=body, headers=bearer(**ADMIN))
    assert token not in json.dumps(await entries(hub))


async def test_the_command_tells_whether_the_log_is_whole(config, capfd):
    async with serving(config) as session:
        await session.post("/api/v1/rooms", json={"room": "a"}, headers=bearer(**ADMIN))
        await until((config.data.dir / "audit.anchor").exists, 60, "an anchor")
    file = config.data.dir / "metaport.toml"
    file.write_text(f'[data]\ndir = "{config.data.dir}"\n')

    def ask(*words):
        code = main(["audit", *words, "--config", str(file), "--lang", "en"])
        return code, capfd.readouterr().out

    code, said = await asyncio.to_thread(ask, "verify")
    assert (code, "The audit log is whole." in said) == (0, True)
    code, said = await asyncio.to_thread(ask, "list", "--format", "csv")
    assert "ann,127.0.0.1,api,POST /api/v1/rooms" in said
    store = SqlAudit(connect(config.database_url))
    await change(store, "UPDATE audit_entry SET actor = 'eve'")
    await store._engine.dispose()
    code, said = await asyncio.to_thread(ask, "verify")
    assert (code, "row 1 was changed" in said) == (1, True)


async def test_commands_at_the_terminal_are_written_down_too(config):
    file = config.data.dir / "metaport.toml"
    file.write_text(f'[data]\ndir = "{config.data.dir}"\n[token]\nsecret = "{"s" * 32}"\n')
    words = ["token", "--user", "kim", "--role", "operator", "--config", str(file)]
    assert await asyncio.to_thread(main, words) == 0
    async with serving(config) as session:
        spool = config.data.dir / SPOOL
        carried = spool.with_name(CARRIED)
        await until(lambda: not spool.exists() and not carried.exists(), 60, "carried over")
        told = [e for e in await entries(session) if e["via"] == "cli"]
    assert (told[0]["action"], told[0]["result"]) == ("metaport token", "0")
    assert json.loads(told[0]["object"]) == {"user": "kim", "role": ["operator"]}


async def test_more_than_is_sealed_at_once_is_all_sealed_in_one_turn(store, tmp_path):
    await store.add([entry(number) for number in range(2 * MOST_ROWS + 1)])
    keeper = AuditKeeper(
        store, AuditSpool(tmp_path), SEALER, data_dir=tmp_path, days=0, clock=lambda: NOW
    )
    await keeper.turn()
    checked = await store.verify(SEALER, NOW, read_anchor((tmp_path / ANCHOR).read_text("utf-8")))
    assert (checked.rows, checked.unsealed, checked.faults) == (2 * MOST_ROWS + 1, 0, [])
    assert checked.last is not None
    assert (checked.last.number, checked.last.rows) == (3, 1)
