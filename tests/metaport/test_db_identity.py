"""Apps, accounts and sessions on both databases."""

import asyncio
import unicodedata

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from metaport.accounts import Account, App, Device, Grant, login_of, user_id
from metaport.app_keys import AppKey
from metaport.db.accounts import SqlAccounts
from metaport.db.apps import SqlApps
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.sessions import SqlSessions
from metaport.db.tables.account import account, role_grant
from metaport.duties import DutyRefused
from metaport.session_turns import Session, Verdict

NOW = 1_790_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield engine
    await engine.dispose()


def person(name, **fields):
    values = {"id": name, "app": "default", "login": name, "name": name, "state": "pending",
              "created_by": name, "created_at_s": NOW} | fields  # fmt: skip
    return Account(**values)


def grant(name, role, by):
    return Grant(f"g-{name}-{role}", name, role, by, NOW)


@pytest.mark.parametrize(
    ("raw", "login"),
    [("Ann", "ann"), ("ＡＮＮ", "ann"), (unicodedata.normalize("NFD", "홍길동"), "홍길동"),
     ("a", None), ("a b", None), ("a\u200bb", None), ("x" * 65, None), ("a@b.kr", "a@b.kr")],
)  # fmt: skip
def test_a_login_is_compared_without_case_width_and_typing(raw, login):
    assert login_of(raw) == login
    assert user_id("gumi", "1f") == "gumi:u_1f"


async def test_an_account_is_kept_changed_from_what_was_read_and_one_login_is_one(engine):
    accounts = SqlAccounts(engine)
    assert await accounts.add(person("ann"))
    assert not await accounts.add(person("other", login="ann"))
    assert await accounts.add(person("ben"))
    ann = await accounts.by_login("default", "ann")
    assert ann == person("ann") == await accounts.get("ann")
    changed = await accounts.change(ann, ann._replace(name="Ann", about="hi"))
    assert changed == ann._replace(name="Ann", about="hi", version=2)
    assert await accounts.change(ann, ann._replace(name="lost")) is None
    assert [each.id for each in await accounts.page("", 10)] == ["ann", "ben"]
    assert [each.id for each in await accounts.page("ann", 10, state="pending")] == ["ben"]
    assert await accounts.page("", 10, app="gumi") == []


async def test_a_subject_of_openid_has_one_account(engine):
    accounts = SqlAccounts(engine)
    made = [person(f"u{n}", login=None) for n in range(4)]
    kept = await asyncio.gather(
        *(accounts.add_of_subject(new, "https://id.example.kr", "s1") for new in made)
    )
    assert sum(kept) == 1
    (one,) = await accounts.page("", 10)
    assert await accounts.by_subject("https://id.example.kr", "s1") == one
    assert await accounts.by_subject("https://other.example.kr", "s1") is None


async def test_an_account_is_approved_by_somebody_else(engine):
    accounts = SqlAccounts(engine)
    await accounts.add(person("ann", created_by="ben"))
    for by in ("ann", "ben"):
        with pytest.raises(DutyRefused):
            await accounts.approve("ann", by, NOW)
    assert (await accounts.get("ann")).state == "pending"
    approved = await accounts.approve("ann", "cho", NOW)
    assert (approved.state, approved.approved_by, approved.version) == ("active", "cho", 2)
    assert await accounts.approve("nobody", "cho", NOW) is None


async def test_a_role_of_staff_holds_when_another_confirmed_it(engine):
    accounts = SqlAccounts(engine)
    await accounts.add(person("ann"))
    asked = await accounts.ask_role(grant("ann", "operator", "ben"))
    assert (await accounts.with_roles("ann"))[1] == frozenset()
    assert await accounts.ask_role(grant("ann", "operator", "cho")) == asked
    for by in ("ann", "ben"):
        with pytest.raises(DutyRefused):
            await accounts.confirm_role("ann", "operator", by, NOW)
    assert (await accounts.confirm_role("ann", "operator", "cho", NOW)).confirmed_by == "cho"
    await accounts.ask_role(grant("ann", "host", "ben"))
    assert (await accounts.with_roles("ann"))[1] == {"operator", "host"}
    assert await accounts.confirm_role("ann", "auditor", "cho", NOW) is None
    assert (await accounts.end_role("ann", "operator", "dan", NOW)).ended_by == "dan"
    assert await accounts.end_role("ann", "operator", "dan", NOW) is None
    assert (await accounts.with_roles("ann"))[1] == {"host"}
    assert await accounts.ask_role(grant("ann", "operator", "x")._replace(id="g2"))


async def test_nobody_asks_for_themself_and_the_sides_exclude_one_another(engine):
    accounts = SqlAccounts(engine)
    await accounts.add(person("ann"))
    with pytest.raises(DutyRefused):
        await accounts.ask_role(grant("ann", "operator", "ann"))
    await accounts.ask_role(grant("ann", "operator", "ben"))
    with pytest.raises(DutyRefused):  # though it is only asked for
        await accounts.ask_role(grant("ann", "supervisor", "ben"))
    asked = await asyncio.gather(
        accounts.add(person("dan")),
        return_exceptions=True,
    )
    assert asked == [True]
    both = await asyncio.gather(
        accounts.ask_role(grant("dan", "supervisor", "ben")),
        accounts.ask_role(grant("dan", "site_representative", "ben")),
        return_exceptions=True,
    )
    assert sum(isinstance(each, DutyRefused) for each in both) == 1


async def test_the_database_refuses_what_a_program_forgets_to_ask(engine):
    accounts = SqlAccounts(engine)
    await accounts.add(person("ann"))
    await accounts.ask_role(grant("ann", "operator", "ben"))
    for statement in (
        update(account).values(state="active"),
        update(account).values(state="active", approved_by="ann", approved_at_s=1),
        update(role_grant).values(confirmed_by="ben", confirmed_at_s=1),
        update(role_grant).values(confirmed_by="ann", confirmed_at_s=1),
    ):
        with pytest.raises(IntegrityError):
            async with engine.begin() as connection:
                await connection.execute(statement)


async def test_devices_are_an_accounts_own_and_the_oldest_are_forgotten(engine):
    accounts = SqlAccounts(engine)
    await accounts.add(person("ann"))
    await accounts.add(person("ben"))
    for n in range(5):
        await accounts.see_device(Device(f"d{n}", "ann", "x", "y", NOW, NOW + n, "a"), 3)
    assert [each.id for each in await accounts.devices("ann")] == ["d4", "d3", "d2"]
    # Somebody else's id changes nothing.
    await accounts.see_device(Device("d4", "ben", "stolen", "y", NOW, NOW + 9, "b"), 3)
    assert await accounts.devices("ben") == []
    assert (await accounts.devices("ann"))[0].name == "x"
    assert not await accounts.forget_device("ben", "d4")
    assert await accounts.forget_device("ann", "d4")


async def test_a_picture_is_shown_while_somebody_has_it(engine):
    accounts = SqlAccounts(engine)
    await accounts.add(person("ann"))
    digest = "0" * 64
    for _ in range(2):
        await accounts.put_avatar(digest, "image/webp", b"\x00picture", NOW)
    assert await accounts.avatar(digest) is None
    ann = await accounts.get("ann")
    ann = await accounts.change(ann, ann._replace(avatar=digest))
    assert await accounts.avatar(digest) == ("image/webp", b"\x00picture")
    assert await accounts.forget_avatars(NOW + 1) == 0
    await accounts.change(ann, ann._replace(avatar=None))
    assert await accounts.forget_avatars(NOW + 1) == 1


async def test_keys_are_rotated_with_an_overlap_and_revoked_at_once(engine):
    apps = SqlApps(engine)
    assert await apps.add(App("gumi", "구미", "active", "admin", NOW))
    assert not await apps.add(App("gumi", "again", "active", "admin", NOW))
    first = AppKey("ak_1", "gumi", "HS256", None, NOW)
    second = AppKey("ak_2", "gumi", "EdDSA", "{}", NOW + 10)
    third = AppKey("ak_3", "gumi", "HS256", None, NOW + 20)
    assert await apps.add_key(first, "admin", ends_others_at_s=None, most=2)
    assert await apps.add_key(second, "admin", ends_others_at_s=NOW + 100, most=2)
    assert not await apps.add_key(third, "admin", ends_others_at_s=None, most=2)
    ended = AppKey("ak_1", "gumi", "HS256", None, NOW, NOW + 100)
    assert await apps.keys("gumi") == [ended, second]
    assert await apps.end_key("gumi", "ak_1", "admin", NOW + 50)
    assert await apps.end_key("gumi", "ak_1", "admin", NOW + 90)  # not later again
    assert not await apps.end_key("default", "ak_1", "admin", NOW)
    assert [key.ends_at_s for key in await apps.all_keys()] == [NOW + 50, None]
    assert (await apps.change("gumi", state="suspended")).state == "suspended"
    assert [key.ends_at_s for key in await apps.all_keys()] == [NOW, NOW + 10]
    assert [each.id for each in await apps.page("", 10)] == ["default", "gumi"]
    assert await apps.change("none", name="x") is None


def session(name="s_1", user="ann", **fields):
    values = {"device": None, "turn": 0, "turned_at_s": NOW, "created_at_s": NOW,
              "expires_at_s": NOW + 1000, "address": ""} | fields  # fmt: skip
    return Session(name, user, "default", **values)


async def test_of_many_uses_of_one_token_at_once_one_turn_comes(engine):
    sessions = [SqlSessions(engine) for _ in range(5)]
    await sessions[0].begin(session())
    found = await asyncio.gather(
        *(each.turn("s_1", 0, NOW, expires_at_s=NOW + 2000, address="a") for each in sessions)
    )
    assert sorted(verdict.value for verdict, _ in found) == ["again"] * 4 + ["turn"]
    assert {each.turn for _, each in found} == {1}


async def test_a_reused_token_ends_its_session_for_good(engine):
    sessions = SqlSessions(engine)
    await sessions.begin(session())

    async def use(turn, at_s):
        found = await sessions.turn("s_1", turn, at_s, expires_at_s=NOW + 5000, address="a")
        return found[0]

    assert await use(0, NOW) is Verdict.TURN
    assert await use(1, NOW + 100) is Verdict.TURN
    assert await use(0, NOW + 101) is Verdict.REUSED
    for turn in (0, 1, 2):
        assert await use(turn, NOW + 102) is Verdict.OVER
    assert await sessions.of_user("ann", NOW) == []


async def test_a_first_renewal_begins_a_session_and_nothing_else_does(engine):
    sessions = SqlSessions(engine)
    options = {"expires_at_s": NOW + 2000, "address": "a"}
    assert await sessions.turn("s_9", 0, NOW, **options) == (Verdict.OVER, None)
    first = session("s_9", "guest-1")
    verdict, found = await sessions.turn("s_9", 0, NOW, **options, first=first)
    assert (verdict, found.turn) == (Verdict.TURN, 1)
    later, _ = await sessions.turn("s_9", 0, NOW + 500, **options, first=first)
    assert later is Verdict.REUSED


async def test_sessions_end_by_one_by_device_or_all_but_one(engine):
    sessions, accounts = SqlSessions(engine), SqlAccounts(engine)
    await accounts.add(person("ann"))
    await accounts.see_device(Device("d1", "ann", "x", "y", NOW, NOW, "a"), 3)
    for number, device in enumerate([None, "d1", "d1", None]):
        await sessions.begin(session(f"s_{number}", device=device))
    await sessions.begin(session("s_ben", "ben"))
    assert await sessions.end("ben", "signed_out", NOW, session="s_0") == []
    assert await sessions.end("ann", "signed_out", NOW, session="s_0") == ["s_0"]
    assert sorted(await sessions.end("ann", "signed_out", NOW, device="d1")) == ["s_1", "s_2"]
    await sessions.begin(session("s_5"))
    assert await sessions.end("ann", "password", NOW, but="s_5") == ["s_3"]
    assert [each.id for each in await sessions.of_user("ann", NOW)] == ["s_5"]
    assert sorted(await sessions.users_of_app("default", NOW)) == ["ann", "ben"]
    assert await sessions.forget(NOW + 1001) == 6
