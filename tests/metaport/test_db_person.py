"""What is held of one person, on both databases: all of it is told, and none of it is left."""

import re

import pytest
from sqlalchemy import insert, select

from metaport.accounts import Account, Device, Grant
from metaport.db.accounts import SqlAccounts
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.person import ERASED_NAME, SETTLED_S, Erasure, Persons
from metaport.db.personal import Personal
from metaport.db.schema import metadata
from metaport.db.sessions import SqlSessions
from metaport.db.tables.history import message, room_epoch
from metaport.db.tables.usage import active_user, usage_window
from metaport.session_turns import Session

NOW = 1_790_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    await fill(engine)
    yield engine
    await engine.dispose()


def person(name):
    return Account(name, "default", f"login-{name}", f"name-{name}", "pending", name, NOW,
                   about=f"about-{name}", email=f"{name}@example.kr",
                   password_hash=f"hash-{name}")  # fmt: skip


async def fill(engine):
    """Let two people do the same things."""
    accounts, sessions = SqlAccounts(engine), SqlSessions(engine)
    for name in ("ann", "ben"):
        await accounts.add(person(name))
        await accounts.approve(name, {"ann": "admin", "ben": "ann"}[name], NOW)
        digest = name[0] * 64
        await accounts.put_avatar(digest, "image/webp", name.encode(), NOW)
        found = await accounts.get(name)
        await accounts.change(found, found._replace(avatar=digest))
        await accounts.see_device(Device(f"d-{name}", name, f"phone-{name}", "x", NOW, NOW, "a"), 9)
        await sessions.begin(
            Session(f"s-{name}", name, "default", f"d-{name}", 1, NOW, NOW, NOW + 9, f"ip-{name}")
        )
    await accounts.ask_role(Grant("g-ann", "ann", "operator", "ben", NOW))
    await accounts.ask_role(Grant("g-ben", "ben", "operator", "ann", NOW))
    messages = [
        {"room": "hall", "epoch": "e", "message_offset": number, "message_id": f"m{number}",
         "user_id": name, "name": f"name-{name}", "at_ms": number, "body": f'"by {name}"'}
        for number, name in enumerate(["ann", "ben"] * 600, 1)
    ]  # fmt: skip
    windows = [
        {"window_start_s": start_s, "node": "n", "boot": "b", "meter": "chat.messages_sent",
         "room": "hall", "user_id": name, "quantity": 7}
        for start_s in (NOW - SETTLED_S - 900, NOW)
        for name in ("ann", "ben")
    ]  # fmt: skip
    async with engine.begin() as connection:
        await connection.execute(insert(room_epoch).values(room="hall", epoch="e", ordinal=1))
        await connection.execute(insert(message), messages)
        if engine.dialect.name == "postgresql":
            await connection.exec_driver_sql(
                "CREATE TABLE usage_window_all PARTITION OF usage_window DEFAULT"
            )
        await connection.execute(insert(usage_window), windows)
        await connection.execute(
            insert(active_user), [{"month_start_s": 0, "user_id": n} for n in ("ann", "ben")]
        )


async def everything(engine):
    """Return all rows of all tables."""
    async with engine.connect() as connection:
        return {
            table.name: [dict(row._mapping) for row in await connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


async def test_everything_of_a_person_is_told_and_nothing_secret(engine):
    told = [row async for row in Persons(engine).rows(["ann"])]
    tables = [table for table, _ in told]
    assert tables.count("message") == 600
    assert {"account", "device", "login_session", "role_grant", "usage_window", "active_user",
            "avatar"} <= set(tables)  # fmt: skip
    assert tables.count("usage_window") == 2
    (account,) = (row for table, row in told if table == "account")
    assert (account["email"], account["about"]) == ("ann@example.kr", "about-ann")
    assert "hash-ann" not in str(told)
    assert "ben" not in str([row for table, row in told if table != "role_grant"])
    assert [row async for row in Persons(engine).rows(["nobody"])] == []


async def test_nothing_of_a_person_is_left_but_what_was_used_and_said(engine):
    persons = Persons(engine)
    begun = await persons.begin_erasure(Erasure("erased-1", "ann", "self", NOW, None, {}))
    # A crash here is a pause: it is begun, and not begun again.
    again = Erasure("erased-2", "ann", "admin", NOW + 9, None, {})
    assert await persons.begin_erasure(again) == begun
    assert await SqlAccounts(engine).by_login("default", "login-ann") is None
    assert await persons.unfinished() == [begun]
    before = await everything(engine)
    after = await persons.erase(begun, ["ann"], NOW)
    assert after.counts["message"] == 600
    assert after.done_at_s is None
    # Totals that may still be counted keep their name until they are final.
    windows = (await everything(engine))["usage_window"]
    assert {(row["window_start_s"], row["user_id"]) for row in windows} == {
        (NOW - SETTLED_S - 900, "erased-1"), (NOW, "ann"), (NOW - SETTLED_S - 900, "ben"),
        (NOW, "ben"),
    }  # fmt: skip
    # What was still on its way comes late, in a month that stands under the pseudonym already.
    async with engine.begin() as connection:
        await connection.execute(insert(active_user).values(month_start_s=0, user_id="ann"))
    later = NOW + SETTLED_S + 901
    done = await persons.erase(after, ["ann"], later)
    assert (done.user_id, done.done_at_s) == (None, later)
    assert await persons.unfinished() == []
    left = await everything(engine)
    text = str(left)
    for gone in ("login-ann", "name-ann", "about-ann", "ann@", "hash-ann", "phone-ann", "ip-ann"):
        assert gone not in text
    assert "'ann'" not in text.replace("by ann", "")
    assert {row["user_id"] for row in left["message"]} == {"erased-1", "ben"}
    assert {row["name"] for row in left["message"]} == {ERASED_NAME, "name-ben"}
    # Nothing that was used or said is lost, and nobody else has lost anything.
    for table in ("message", "usage_window", "role_grant", "active_user"):
        assert len(left[table]) == len(before[table])
    assert sum(row["quantity"] for row in left["usage_window"]) == 4 * 7
    assert {row["id"] for row in left["device"]} == {"d-ben"}
    assert {row["id"] for row in left["login_session"]} == {"s-ben"}
    assert [row | {"approved_by": "ann"} for row in left["account"] if row["id"] == "ben"] == [
        row for row in before["account"] if row["id"] == "ben"
    ]
    assert [row["content"] for row in left["avatar"]] == [b"ben"]
    assert [(row["asked_by"], row["account"]) for row in left["role_grant"]] in (
        [("ben", "erased-1"), ("erased-1", "ben")],
        [("erased-1", "ben"), ("ben", "erased-1")],
    )


async def test_sealed_records_are_left_as_they_are(engine):
    """One changed letter would show as tampering."""
    from metaport.db.tables.audit import audit_entry

    entry = {"serial": 1, "id": "a", "at_ms": 1, "actor": "ann", "address": "ip", "via": "api",
             "action": "x", "object": "{}", "whose": "ann", "personal": "", "result": "200",
             "request_id": ""}  # fmt: skip
    async with engine.begin() as connection:
        await connection.execute(insert(audit_entry).values(entry))
    persons = Persons(engine)
    begun = await persons.begin_erasure(Erasure("erased-1", "ann", "self", NOW, None, {}))
    await persons.erase(begun, ["ann"], NOW + SETTLED_S)
    (left,) = (await everything(engine))["audit_entry"]
    assert {key: left[key] for key in entry} == entry


def test_every_column_that_names_somebody_says_so():
    """A table added later is exported and erased too, or this fails."""
    # `claimed_by` is a process.
    named = re.compile(r"((?!claimed_).*_)?(by|user|user_id|account|address|friend|friend_id)")
    # Closed months are signed records of who closed them and never change.
    kept = {"closed_month", "correction", "closed_line"}
    silent = [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        if table.name not in kept
        for column in table.c
        if named.fullmatch(column.name) and not isinstance(column.info.get("personal"), Personal)
    ]
    assert silent == []
