"""`metaport user …` and `metaport app …`: accounts, their roles and data, apps and their keys.

A password is never a word of the command line, where every process of the machine reads it: it is
typed, or comes by standard input.
"""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaport.language import Say
from metaport.resource_verbs import (
    SHOWN,
    Misused,
    Option,
    Run,
    Verb,
    listed,
    on,
    plain,
    settings_of,
)

if TYPE_CHECKING:
    from metaport.client.server import Server

SHOWN_ONCE = Say(
    "이 비밀(secret)은 지금 한 번만 보입니다. 안전한 곳에 바로 보관하세요.",
    "This secret is shown once, now, and never again: keep it in a safe place.",
)


async def _create(server: Server, given: argparse.Namespace) -> Any:
    fields = settings_of(given.settings)
    if "password" in fields:
        raise Misused(
            Say(
                "비밀번호는 명령줄에 적지 않습니다. 물으면 입력하거나 표준 입력으로 주세요",
                "no password on the command line: type it when asked, or give it by standard input",
            )
        )
    password = _password(given)
    return await on("user")(server).create(given.login, password, given.name, **fields)


def _password(given: argparse.Namespace) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    from getpass import getpass

    password = getpass(Say("비밀번호: ", "Password: ").to(given.lang))
    if getpass(Say("한 번 더: ", "Once more: ").to(given.lang)) != password:
        raise Misused(Say("두 비밀번호가 다릅니다", "the two passwords differ"))
    return password


async def _roles(server: Server, given: argparse.Namespace) -> Any:
    found = await on("user")(server).roles(given.user)
    return ["role", "holds", "asked_by", "asked_at", "confirmed_by", "ended_by"], found


async def _sessions(server: Server, given: argparse.Namespace) -> Any:
    found = await on("user")(server).sessions(given.user)
    return ["id", "device", "began_at", "renewed_at", "expires_at", "address"], found


async def _export(server: Server, given: argparse.Namespace) -> Any:
    pieces = on("user")(server).export(given.user)
    if given.output is None:
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return SHOWN
    return {"file": str(given.output), "bytes": await _save(given.output, pieces)}


async def _save(path: Path, pieces: AsyncIterator[bytes]) -> int:
    """Write a file that only its owner reads; one that could not be finished is removed."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Misused(Say(str(error), str(error))) from None
    whole = False
    try:
        with os.fdopen(handle, "wb") as file:
            async for piece in pieces:
                file.write(piece)
            size = file.tell()
        whole = True
    except OSError as error:
        raise Misused(Say(str(error), str(error))) from None
    finally:
        if not whole:
            os.unlink(path)
    return size


async def _erase(server: Server, given: argparse.Namespace) -> Any:
    if not given.yes:
        _typed_again(given)
    return await on("user")(server).erase(given.user)


def _typed_again(given: argparse.Namespace) -> None:
    asked = Say(
        f"{given.user}의 개인정보를 모두 지우며 되돌릴 수 없습니다. 사용자 id를 다시 입력하세요: ",
        f"This erases all personal data of {given.user}, for good. Type the user id again: ",
    )
    print(asked.to(given.lang), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != given.user:
        raise Misused(
            Say(
                "id가 다릅니다. 아무것도 지우지 않았습니다",
                "that is another id: nothing was erased",
            )
        )


async def _keys(server: Server, given: argparse.Namespace) -> Any:
    return ["id", "algorithm", "created_at", "ends_at"], await on("app")(server).keys(given.app)


def _new_key(*, rotate: bool) -> Run:
    async def run(server: Server, given: argparse.Namespace) -> Any:
        fields = settings_of(given.settings)
        made = await on("app")(server).create_key(given.app, **{**fields, "rotate": rotate})
        if made.secret is not None:
            print(SHOWN_ONCE.to(given.lang), file=sys.stderr)
        return made

    return run


_ROLE = ("user", "role")
USER = (
    Verb("list", (), False, Say("계정 목록", "list accounts"),
         listed("id login name state app", on("user"))),
    Verb("show", ("user",), False, Say("계정 하나", "show an account"),
         plain("user", "show", "user")),
    Verb("create", ("login", "name"), True,
         Say("계정 만들기 (비밀번호는 묻거나 표준 입력에서, 승인은 다른 사람이)",
             "make an account (its password is asked for; somebody else approves it)"), _create),
    Verb("approve", ("user",), False, Say("계정 승인", "approve an account"),
         plain("user", "approve", "user")),
    Verb("suspend", ("user", "reason"), False, Say("계정 정지", "suspend an account"),
         plain("user", "suspend", "user", "reason")),
    Verb("role list", ("user",), False, Say("역할과 부여 기록", "roles, and who gave them"),
         _roles),
    Verb("role grant", _ROLE, False,
         Say("역할 부여, 직원 역할은 다른 사람의 확인 뒤에",
             "give a role; one of staff holds when somebody else confirms it"),
         plain("user", "grant", *_ROLE)),
    Verb("role confirm", _ROLE, False,
         Say("다른 사람이 신청한 역할 확인", "confirm a role that somebody else asked for"),
         plain("user", "confirm", *_ROLE)),
    Verb("role revoke", _ROLE, False, Say("역할 거두기", "take a role back"),
         plain("user", "revoke", *_ROLE)),
    Verb("sessions", ("user",), False, Say("로그인 세션", "sessions that go on"), _sessions),
    Verb("sign-out", ("user",), False, Say("모든 곳에서 로그아웃", "sign out everywhere"),
         plain("user", "sign_out", "user")),
    Verb("export", ("user",), False,
         Say("개인정보 전부를 JSON으로", "everything held about a person, as JSON"), _export,
         (Option("--output", Say("쓸 파일 (없으면 표준 출력)", "file to write (default: output)"),
                 file=True),)),
    Verb("erase", ("user",), False,
         Say("개인정보 모두 지우기 (되돌릴 수 없음)", "erase all personal data, for good"), _erase,
         (Option("--yes", Say("id를 다시 묻지 않음", "do not ask for the id again")),)),
)  # fmt: skip
APP = (
    Verb("list", (), False, Say("앱 목록", "list apps"),
         listed("id name state created_at", on("app"))),
    Verb("create", ("app", "name"), False, Say("앱 만들기", "make an app"),
         plain("app", "create", "app", "name")),
    Verb("change", ("app",), True, Say("앱 변경, 정지", "change or suspend an app"),
         plain("app", "change", "app")),
    Verb("key list", ("app",), False, Say("키 목록", "list keys"), _keys),
    Verb("key create", ("app",), True, Say("키 만들기", "make a key"), _new_key(rotate=False)),
    Verb("key rotate", ("app",), True,
         Say("새 키로 교체, 이전 키는 overlap_s초 뒤에 끝남",
             "make a new key; the others end after overlap_s seconds"), _new_key(rotate=True)),
    Verb("key revoke", ("app", "key"), False, Say("키 취소", "revoke a key"),
         plain("app", "revoke_key", "app", "key")),
)  # fmt: skip
