"""`metaport room|space|user|app` against a running hub: text, JSON, languages, clear errors."""

import asyncio
import json

import pytest

from metaport.cli import main
from metaport.resource_commands import own_url, shown, table
from metaport.resource_verbs import Misused, settings_of
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer

config = test_compose.config
hub = test_compose.hub


@pytest.fixture
def run(config, capsys, monkeypatch):
    """Run a command beside the hub; returns its exit code and what it said."""
    token = bearer(user="admin", roles=["admin"])["Authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("METAPORT_URL", f"http://127.0.0.1:{config.http.port}")
    monkeypatch.setenv("METAPORT_TOKEN", token)
    monkeypatch.setenv("METAPORT_DATA_DIR", str(config.data.dir))

    async def run(*words):
        code = await asyncio.to_thread(main, list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


async def test_a_room_is_made_listed_changed_and_removed(hub, run):
    words = ("room", "create", "상담", "kind=private", "capacity=5", 'users=["ann"]')
    code, out, err = await run(*words, "--lang", "ko")
    assert (code, err) == (0, "")
    assert "상담" in out
    code, out, _ = await run("room", "list")
    assert out.splitlines()[0].split() == ["room", "kind", "capacity", "guests", "present"]
    assert out.splitlines()[1].split() == ["상담", "private", "5", "true", "0"]
    await run("room", "change", "상담", "guests=false")
    _, out, _ = await run("room", "show", "상담", "--json")
    assert json.loads(out)["guests"] is False
    assert await run("room", "remove", "상담", "--lang", "ko") == (0, "했습니다\n", "")
    assert (await run("room", "list", "--lang", "en"))[1] == "none\n"


async def test_people_are_invited_into_a_room(hub, run):
    await run("room", "create", "상담", "kind=private")
    _, out, _ = await run("room", "invite", "상담", "uses=3", "--json")
    made = json.loads(out)
    assert len(made["code"]) == 22
    code, out, _ = await run("room", "invitations", "상담")
    heads, row = (line.split() for line in out.splitlines())
    assert (code, heads[:3], row[:3]) == (0, ["id", "uses", "max_uses"], [made["id"], "0", "3"])
    assert made["code"] not in out
    assert await run("room", "uninvite", "상담", made["id"], "--lang", "ko") == (
        0,
        "했습니다\n",
        "",
    )
    code, _, err = await run("room", "uninvite", "상담", "none", "--lang", "ko")
    assert (code, "쓸 수 없는 초대" in err) == (1, True)


async def test_what_is_wrong_is_said_in_the_persons_language(hub, run):
    code, _, err = await run("room", "show", "없는방", "--lang", "ko")
    assert code == 1
    assert "설정된 방이 없습니다" in err
    assert "no-such-room" in err
    code, _, err = await run("room", "create", "a", "capacity=none", "--lang", "en")
    assert code == 1
    assert "capacity" in err
    code, _, err = await run("room", "create", "a", "capacity", "--lang", "en")
    assert (code, "KEY=VALUE" in err) == (2, True)
    code, _, err = await run("room", "list", "--url", "http://127.0.0.1:1", "--lang", "ko")
    assert code == 1
    assert "서버가 실행 중인지" in err


async def test_people_are_moderated_and_spoken_to(hub, run):
    _, out, _ = await run("room", "say", "hall", "점검 안내", "name=운영자", "--json")
    said = json.loads(out)
    assert said["offset"] == 1
    code, out, _ = await run("room", "kick", "hall", "eve", "for_s=60", "note=잠시 쉬세요")
    assert code == 0
    assert "kick" in out
    assert (await run("room", "erase", "hall", said["message_id"]))[0] == 0
    assert (await run("room", "people", "hall", "--lang", "en"))[1] == "none\n"
    code, _, err = await run("room", "move", "hall", "eve", "yard", "--lang", "en")
    assert (code, "not there" in err) == (1, True)


async def test_a_space_is_opened_and_shows_its_state(hub, run):
    await run("space", "create", "park", "title_ko=공원")
    _, out, _ = await run("space", "state", "park", "weather=비", "people=3")
    assert '"people":3' in out
    _, out, _ = await run("space", "list", "--json")
    assert json.loads(out)[0]["title_ko"] == "공원"
    assert (await run("app", "list"))[0] == 0
    assert (await run("user", "list"))[0] == 0


def test_another_server_is_not_asked_with_a_token_of_this_machine(capsys, monkeypatch):
    monkeypatch.delenv("METAPORT_TOKEN", raising=False)
    assert main(["room", "list", "--url", "http://127.0.0.1:1", "--lang", "en"]) == 2
    assert "--token" in capsys.readouterr().err


def test_without_a_servers_key_it_says_where_one_was_looked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("METAPORT_TOKEN", raising=False)
    monkeypatch.delenv("METAPORT_URL", raising=False)
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "none"))
    assert main(["room", "list", "--lang", "ko"]) == 2
    assert "서명 키가 없습니다" in capsys.readouterr().err
    assert not (tmp_path / "none").exists(), "nothing was made"


def test_values_are_json_or_text():
    assert settings_of(["a=1", "b=x", "c=[1]", "d=", "e=k=v", "f=null"]) == {
        "a": 1, "b": "x", "c": [1], "d": "", "e": "k=v", "f": None,
    }  # fmt: skip
    with pytest.raises(Misused):
        settings_of(["=1"])


def test_columns_are_as_wide_as_what_is_in_them_and_nothing_steers_a_terminal():
    laid = table(["room", "kind"], [{"room": "방\x1b[2J", "kind": None}], "en", "Asia/Seoul")
    assert laid.splitlines()[1].split() == ["방\ufffd[2J", "-"]


def test_a_moment_is_told_in_local_time():
    assert shown("opens_at", 1_790_000_000_000, "Asia/Seoul") == "2026-09-21 23:13:20 KST"
    assert shown("capacity", 1_790, "Asia/Seoul") == "1790"
    assert shown("at", None, "Asia/Seoul") == "-"
    assert shown("created_at", 0, "Asia/Seoul") == "-"


def test_the_own_server_is_found_by_the_configuration(config):
    assert own_url(config) == f"http://127.0.0.1:{config.http.port}"
