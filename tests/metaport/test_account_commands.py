"""`metaport user` and `metaport app key` against a running hub: roles, data, erasure, secrets."""

import io
import json
import stat

import pytest

from metaport.cli import main
from metaport.tokens import Tokens
from tests.metaport import test_compose, test_resource_commands
from tests.metaport.test_compose import bearer

config = test_compose.config
hub = test_compose.hub
run = test_resource_commands.run


@pytest.fixture
def typed(monkeypatch):
    """Say what comes by standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
async def hong(hub, run, typed):
    """Return the id of an account that somebody else has approved."""
    typed("a long password of mine\n")
    code, out, err = await run("user", "create", "hong", "홍길동", "--json")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["state"] == "pending"
    code, _, err = await run("user", "approve", made["id"], "--lang", "ko")
    assert code == 1, "who made it does not approve it"
    assert "duty" in err
    boss = bearer(user="boss", roles=["supervisor"])
    path = f"/api/v1/users/{made['id']}/approve"
    assert (await hub.post(path, headers=boss)).status == 200
    return made["id"]


async def sign_in(hub):
    body = {"user": "hong", "password": "a long password of mine"}
    answer = await hub.post("/api/v1/auth/login", json=body)
    assert answer.status == 200
    return await answer.json()


async def test_a_password_is_not_a_word_of_the_command_line(hub, run):
    code, _, err = await run("user", "create", "hong", "홍길동", "password=x", "--lang", "ko")
    assert code == 2
    assert "명령줄" in err
    assert (await run("user", "list", "--lang", "en"))[1] == "none\n"


async def test_a_role_is_given_asked_for_and_taken_back(run, hong):
    code, out, _ = await run("user", "role", "grant", hong, "host", "--json")
    assert (code, json.loads(out)["holds"]) == (0, True)
    _, out, _ = await run("user", "role", "grant", hong, "moderator", "--json")
    assert json.loads(out)["holds"] is False, "one of staff needs another person"
    code, _, err = await run("user", "role", "confirm", hong, "moderator")
    assert (code, "duty" in err) == (1, True)
    code, out, _ = await run("user", "role", "revoke", hong, "host", "--json")
    assert (code, json.loads(out)["ended_by"]) == (0, "admin")
    _, out, _ = await run("user", "role", "list", hong)
    head, *rows = [line.split()[:2] for line in out.splitlines()]
    assert (head, sorted(rows)) == (["role", "holds"], [["host", "false"], ["moderator", "false"]])
    code, _, err = await run("user", "role", "grant", hong, "emperor", "--lang", "en")
    assert (code, "no-such-role" in err) == (1, True)


async def test_sessions_are_seen_and_ended(hub, run, hong):
    assert (await run("user", "sessions", hong, "--lang", "ko"))[1] == "없습니다\n"
    await sign_in(hub)
    _, out, _ = await run("user", "sessions", hong)
    head, line = out.splitlines()
    assert head.split()[:3] == ["id", "device", "began_at"]
    assert "KST" in line
    assert "127.0.0.1" in line
    assert (await run("user", "sign-out", hong))[0] == 0
    assert json.loads((await run("user", "sessions", hong, "--json"))[1]) == []
    log = await (
        await hub.get("/api/v1/audit?personal=true", headers=bearer(roles=["admin"]))
    ).json()
    seen = [each for each in log["entries"] if each["action"].endswith("/sessions")]
    assert {(each["whose"], each["personal"]) for each in seen} == {
        (hong, "sessions, devices, network addresses")
    }


async def test_all_that_is_held_is_exported_to_a_file_of_ones_own(hub, run, hong, tmp_path):
    code, out, err = await run("user", "export", hong)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["user"] == hong
    assert any(row.get("name") == "홍길동" for row in told["rows"])
    file = tmp_path / "hong.json"
    code, out, _ = await run("user", "export", hong, "--output", str(file), "--json")
    assert json.loads(out) == {"file": str(file), "bytes": file.stat().st_size}
    assert json.loads(file.read_bytes())["user"] == hong
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, _, err = await run("user", "export", hong, "--output", str(file))
    assert (code, "exists" in err) == (2, True)
    refused = tmp_path / "refused.json"
    weak = Tokens(test_compose.SECRET).mint("m", roles=["moderator"], ttl_s=600)
    code, _, err = await run("user", "export", hong, "--output", str(refused), "--token", weak)
    assert (code, "forbidden" in err) == (1, True)
    assert not refused.exists()


async def test_who_is_erased_is_named_twice(run, hong, typed):
    typed("another\n")
    code, out, err = await run("user", "erase", hong, "--lang", "ko")
    assert (code, out) == (2, "")
    assert hong in err
    assert "아무것도 지우지 않았습니다" in err
    typed("")
    assert (await run("user", "erase", hong))[0] == 2
    assert (await run("user", "show", hong))[0] == 0, "still there"
    typed(f"{hong}\n")
    code, out, err = await run("user", "erase", hong, "--json", "--lang", "en")
    assert code == 0
    assert json.loads(out)["pseudonym"]
    assert "for good" in err
    assert (await run("user", "show", hong, "--lang", "en"))[0] == 1


async def test_erasing_asks_nothing_where_it_is_told_to(run, hong, typed):
    typed("")
    code, _, err = await run("user", "erase", hong, "--yes")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(("lang", "words"), [("ko", "한 번만"), ("en", "shown once")])
async def test_the_secret_of_a_key_is_shown_once_and_said_so(hub, run, lang, words):
    await run("app", "create", "gumi", "구미")
    code, out, err = await run("app", "key", "create", "gumi", "--json", "--lang", lang)
    first = json.loads(out)
    assert code == 0
    assert words in err
    assert first["secret"] not in err
    assert first["secret"] not in (await run("app", "key", "list", "gumi", "--json"))[1]
    code, out, err = await run("app", "key", "rotate", "gumi", "overlap_s=60", "--lang", lang)
    assert words in err
    assert "secret" in out
    _, out, _ = await run("app", "key", "list", "gumi", "--json")
    # Made in one second, they stand in any order.
    former, new = sorted(json.loads(out), key=lambda key: key["id"] != first["id"])
    assert (former["id"], "ends_at" in former, "ends_at" in new) == (first["id"], True, False)
    assert (await run("app", "key", "revoke", "gumi", new["id"]))[0] == 0
    code, _, err = await run("app", "key", "revoke", "gumi", "k_none", "--lang", lang)
    assert (code, "no-such-key" in err) == (1, True)


async def test_a_public_key_has_no_secret_to_show(hub, run):
    await run("app", "create", "gumi", "구미")
    words = ("algorithm=EdDSA", 'public_key={"kty":"OKP","crv":"Ed25519","x":"AA"}')
    code, _, err = await run("app", "key", "create", "gumi", *words, "--lang", "en")
    assert (code, "public_key" in err) == (1, True)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    words = ("algorithm=EdDSA", f"public_key={json.dumps(jwk)}")
    code, out, err = await run("app", "key", "create", "gumi", *words, "--json")
    assert (code, err, "secret" in json.loads(out)) == (0, "", False)


async def test_accounts_are_listed_past_the_first_page(hub, run):
    for number in range(52):
        body = {"id": f"app-{number:02}", "name": "앱"}
        headers = bearer(user="admin", roles=["admin"])
        assert (await hub.post("/api/v1/apps", json=body, headers=headers)).status == 201
    _, out, _ = await run("app", "list", "--json")
    names = [each["id"] for each in json.loads(out)]
    assert len(names) == len(set(names)) == 53


@pytest.mark.parametrize(("lang", "said"), [("ko", "앱의 키"), ("en", "keys of an app")])
def test_groups_are_told_in_the_persons_language(capsys, lang, said):
    with pytest.raises(SystemExit):
        main(["app", "key", "--help", "--lang", lang])
    assert said in capsys.readouterr().out
