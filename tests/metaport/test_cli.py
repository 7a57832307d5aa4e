import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from chatd.grants import to
from metaport import admin, cli
from metaport.config import load_config
from metaport.log import Log
from metaport.log_records import segments
from metaport.tokens import Tokens


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, in English, with nothing configured but the data directory."""
    monkeypatch.chdir(tmp_path)
    for name in (*os.environ, "LC_ALL"):
        if name.startswith(("METAPORT_", "LC_")) or name == "LANG":
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "data"))


def metaport(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metaport", *arguments],
        env=dict(os.environ) | environ,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_version_and_help_answer_at_once_without_the_heavy_imports() -> None:
    assert metaport("version").stdout == "metaport 0.1.0\n"
    watched = (
        "import sys; from metaport.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'cryptography', 'jwt', 'sqlalchemy', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize(
    ("environ", "word"),
    [({"LANG": "ko_KR.UTF-8"}, "서버 전체를 시작합니다"), ({}, "start the whole")],
)
def test_help_speaks_the_language_of_the_terminal(environ: dict[str, str], word: str) -> None:
    assert word in metaport("--help", PYTHONUTF8="1", **environ).stdout


@pytest.mark.parametrize(
    ("argv", "lang"),
    [(["doctor", "--lang", "ko"], "ko"), (["doctor", "--lang=en"], "en"), ([], "en")],
)
def test_the_language_may_be_asked_for(argv: list[str], lang: str) -> None:
    assert cli._language(argv) == lang


@pytest.mark.parametrize("argv", [["--lang", "ko", "version"], ["version", "--lang", "ko"]])
def test_the_language_may_stand_before_the_command(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 0
    assert capsys.readouterr().out.startswith("metaport ")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "start the whole server" in capsys.readouterr().err


def test_nonsense_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["dance"], ["usage", "report"], ["run", "--tls", "maybe"]):
        with pytest.raises(SystemExit) as raised:
            cli.main(argv)
        assert raised.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_token_is_minted_for_this_servers_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["token", "--user", "u1", "--name", "방문자", "--role", "operator", "--room", "plaza/*"]
    assert cli.main([*argv, "--ttl", "60"]) == 0
    printed = capsys.readouterr()
    assert "made a new signing key" in printed.err
    secret = (tmp_path / "data" / "secrets" / "token.key").read_text().strip()
    claims = Tokens(secret).verify(printed.out.strip(), time.time())
    assert (claims.user, claims.name) == ("u1", "방문자")
    assert (claims.roles, claims.rooms) == (frozenset({"operator"}), to("plaza/*"))
    assert 50 < claims.expires_at - time.time() <= 60
    assert cli.main(argv) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--user", ""], "metaport: --user: a user or name is not printable text\n"),
        (["--user", "u", "--ttl", "soon"], "metaport: --ttl: 'soon' is not a number of seconds\n"),
        (["--user", "u", "--room", "a b"], "metaport: --room: 'a b' is no pattern of rooms\n"),
        (["--user", "u", "--ttl", "0"], "metaport: --ttl: '0' is not a number of seconds\n"),
    ],
)
def test_a_token_that_cannot_be_minted_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    sentence: str,
) -> None:
    monkeypatch.setenv("METAPORT_TOKEN_SECRET", "x" * 32)
    assert cli.main(["token", *argv]) == 2
    assert capsys.readouterr() == ("", sentence)


def test_a_key_that_cannot_be_kept_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("a file")
    assert cli.main(["token", "--user", "u"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"metaport: data.dir: {tmp_path}/data")


def test_a_configuration_in_order_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "check"]) == 0
    assert "in order (1 keys set" in capsys.readouterr().out
    assert cli.main(["config", "check", "--lang", "ko"]) == 0
    assert "문제가 없습니다" in capsys.readouterr().out


def test_every_problem_of_a_configuration_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.toml").write_text("[http]\nport = 0\n[chat]\nroms = 3\n")
    assert cli.main(["config", "check", "--config", "my.toml"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "metaport: chat.roms: unknown key; did you mean chat.rooms? (my.toml)",
        "metaport: http.port: 0 is not a port (1–65535) (my.toml)",
    ]


def test_the_configuration_is_shown_with_its_sources_and_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAPORT_TOKEN_SECRET", "hunter2" * 6)
    monkeypatch.setenv("METAPORT_HTTP_PORT", "9000")
    assert cli.main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "port = 9000  # METAPORT_HTTP_PORT\n" in shown
    assert "[chat]\nguests = true\n" in shown
    (tmp_path / "shown.toml").write_text(shown.replace('"***"', '"' + "x" * 32 + '"'))
    assert load_config(tmp_path / "shown.toml", {}).http.port == 9000


def test_the_admin_gets_a_new_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["admin", "password"]) == 0
    password = capsys.readouterr().out.split()[-1]
    assert admin.check(tmp_path / "data" / "secrets", "admin", password)


def test_how_to_trust_the_authority_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tls", "trust", "--lang", "ko"]) == 0
    assert str(tmp_path / "data" / "tls" / "ca.crt") in capsys.readouterr().out


def test_a_damaged_log_is_checked_repaired_and_whole_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "data" / "log" / "hub"
    log = Log(directory)
    log.append([b"first"])
    log.append([b"second"])
    assert cli.main(["log", "check"]) == 0
    assert cli.main(["log", "repair"]) == 1
    assert f"process {os.getpid()} is writing this log" in capsys.readouterr().err
    log.close()
    path = segments(directory)[0].path
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    assert cli.main(["log", "check"]) == 1
    assert (
        f"{path}: at 0, 13 bytes: damaged\nDamaged: metaport log repair" in capsys.readouterr().out
    )
    assert cli.main(["log", "repair", "--lang", "ko"]) == 0
    assert f"{path}: 위치 0, 13바이트: 손상" in capsys.readouterr().out
    assert cli.main(["log", "check"]) == 0


SERVING = """
import asyncio, sys
from metaport import cli
from metaport.config import load_config
{body}
sys.exit(cli.serve("hub", load_config(), entry))
"""


def serving(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVING.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_drains_on_a_signal(number: signal.Signals) -> None:
    process = serving(
        "async def entry(config, stop):\n"
        "    print('up', flush=True)\n"
        "    await stop.wait()\n"
        "    print('drained', flush=True)\n"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("drained\n", "", 0)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("OSError(98, 'in use')", 2, "metaport: http.port: tcp port 8080 is already taken"),
        ("LogError('disk')", 1, '"message": "disk"'),
        ("RuntimeError('odd')", 1, '"message": "hub ends", "error": "Traceback'),
    ],
)
def test_a_process_that_fails_says_why_in_one_line(error: str, code: int, words: str) -> None:
    process = serving(
        f"from metaport.log import LogError\nasync def entry(config, stop):\n    raise {error}\n"
    )
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    [line] = err.splitlines()
    assert words in line
    assert out == ""


def test_a_terminal_without_hangul_is_no_error() -> None:
    done = metaport("config", "check", "--lang", "ko", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_is_no_error() -> None:
    command = (
        f"{sys.executable} -m metaport config show | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "november", "２０２６-11", ""])
def test_what_is_no_month_is_one_sentence(month: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["usage", "report", "--month", month]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"metaport: --month: {month!a} is not a month (e.g. 2026-11)"


def test_the_schema_goes_forward_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    assert cli.main(["db", "status"]) == 1
    assert "schema none" in capsys.readouterr().out
    assert cli.main(["db", "upgrade"]) == 0
    assert cli.main(["db", "status"]) == 0
    assert "It is up to date." in capsys.readouterr().out
    assert cli.main(["db", "upgrade", "dance"]) == 2
    assert "'dance' is none of" in capsys.readouterr().err
    assert cli.main(["db", "downgrade", "usage", "--lang", "ko"]) == 0
    assert "→ r20261109_0900_usage" in capsys.readouterr().out


def test_a_hub_refuses_a_schema_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert cli.main(["db", "upgrade"]) == 0
    with closing(sqlite3.connect(tmp_path / "data" / "metaport.db")) as connection:
        connection.execute("UPDATE schema_revision SET version_num = 'r9'")
        connection.commit()
    done = metaport("hub")
    assert done.returncode == 2
    assert "schema r9, this program knows" in done.stderr
    assert "metaport db downgrade" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_signing_secret_is_rotated_and_tokens_of_the_former_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["token", "--user", "u1"]) == 0
    minted = capsys.readouterr().out.strip()
    assert cli.main(["token", "rotate"]) == 0
    new, former = (tmp_path / "data" / "secrets" / "token.key").read_text().split()
    assert Tokens(new, former=[former]).verify(minted, time.time()).user == "u1"
    assert cli.main(["token", "rotate", "--drop-former"]) == 0
    assert len((tmp_path / "data" / "secrets" / "token.key").read_text().split()) == 1
    capsys.readouterr()
    assert cli.main(["token", "--lang", "ko"]) == 2
    assert capsys.readouterr().err == "metaport: --user: 누구의 토큰인지 적어 주세요\n"


def test_a_configured_secret_is_rotated_where_it_is_configured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAPORT_TOKEN_SECRET", "x" * 32)
    assert cli.main(["token", "rotate"]) == 2
    assert "token.former_secrets" in capsys.readouterr().err
