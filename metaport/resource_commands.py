"""`metaport room|space|user|app …`: what the REST API does, at the terminal.

On the server's machine a token for the admin is minted from its own secret; from elsewhere
`--url` and `--token` (or METAPORT_URL and METAPORT_TOKEN) say whom to ask as whom.
"""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaport.account_commands import APP, USER
from metaport.language import Lang, Say
from metaport.resource_verbs import SHOWN, Misused, Run, Verb, listed, on, plain, settings_of

if TYPE_CHECKING:
    from metaport.client.server import Server
    from metaport.config import Config

DONE, WRONG, MISUSED = 0, 1, 2
# Of the token that a command on the server's machine mints for itself.
TTL_S = 300
WHO = "command-line"
# Milliseconds since the Unix epoch, in answers of the API.
MOMENTS = frozenset(
    {"at", "until", "opens_at", "created_at", "approved_at",
     "ends_at", "asked_at", "confirmed_at", "ended_at", "began_at", "renewed_at", "expires_at"}
)  # fmt: skip

Load = Callable[[argparse.Namespace], "Config"]


def _act(name: str) -> Run:
    async def run(server: Server, given: argparse.Namespace) -> Any:
        fields = settings_of(given.settings)
        if name == "move":
            fields["to"] = given.to
        return await on("room")(server).moderate(name, given.room, given.user, **fields)

    return run


async def _invitations(server: Server, given: argparse.Namespace) -> Any:
    found: AsyncIterator[Any] = on("room")(server).invitations(given.room)
    columns = ["id", "uses", "max_uses", "made_by", "expires_at", "revoked_by"]
    return columns, [each async for each in found]


async def _people(server: Server, given: argparse.Namespace) -> Any:
    found: AsyncIterator[Any] = on("room")(server).people(given.room)
    return ["user", "name", "connections", "muted", "media"], [each async for each in found]


async def _state(server: Server, given: argparse.Namespace) -> Any:
    spaces, patch = on("space")(server), settings_of(given.settings)
    if patch:
        return await spaces.change_state(given.space, patch)
    return await spaces.state(given.space)


_PERSON = ("room", "user")
VERBS: Mapping[str, tuple[Verb, ...]] = {
    "room": (
        Verb("list", (), False, Say("설정된 방 목록", "list rooms"),
             listed("room kind capacity guests present", on("room"))),
        Verb("show", ("room",), False, Say("방 하나", "show a room"),
             plain("room", "show", "room")),
        Verb("create", ("room",), True, Say("방 만들기", "make a room"),
             plain("room", "create", "room")),
        Verb("change", ("room",), True, Say("방 설정 변경", "change a room"),
             plain("room", "change", "room")),
        Verb("remove", ("room",), False, Say("방 설정 삭제", "remove a room's settings"),
             plain("room", "remove", "room")),
        Verb("invite", ("room",), True, Say("비공개 방의 초대 만들기", "make an invitation"),
             plain("room", "invite", "room")),
        Verb("invitations", ("room",), False, Say("방의 초대 목록", "invitations into a room"),
             _invitations),
        Verb("uninvite", ("room", "invitation"), False, Say("초대 거두기", "take one back"),
             plain("room", "uninvite", "room", "invitation")),
        Verb("people", ("room",), False, Say("방에 있는 사람", "who is in a room"), _people),
        Verb("figures", ("room",), False, Say("현재 수치", "live figures"),
             plain("room", "figures", "room")),
        Verb("say", ("room", "body"), True, Say("서버로서 말하기", "say something as the server"),
             plain("room", "say", "room", "body")),
        Verb("erase", ("room", "message"), True, Say("메시지 지우기", "remove a message"),
             plain("room", "remove_message", "room", "message")),
        Verb("mute", _PERSON, True, Say("음소거", "mute somebody"), _act("mute")),
        Verb("unmute", _PERSON, True, Say("음소거 해제", "lift a mute"), _act("unmute")),
        Verb("kick", _PERSON, True, Say("잠시 내보내기", "send out for a while"), _act("kick")),
        Verb("ban", _PERSON, True, Say("출입 금지", "keep somebody out"), _act("ban")),
        Verb("unban", _PERSON, True, Say("출입 금지 해제", "let somebody in"), _act("unban")),
        Verb("move", (*_PERSON, "to"), True, Say("다른 방으로", "move to another room"),
             _act("move")),
        Verb("end-media", _PERSON, False, Say("음성·영상 끝내기", "end voice and video"),
             plain("room", "end_media", "room", "user")),
    ),
    "space": (
        Verb("list", (), False, Say("공간 목록", "list spaces"),
             listed("space title_ko capacity zone open opens_at", on("space"))),
        Verb("show", ("space",), False, Say("공간 하나", "show a space"),
             plain("space", "show", "space")),
        Verb("create", ("space",), True, Say("공간 만들기", "make a space"),
             plain("space", "create", "space")),
        Verb("change", ("space",), True, Say("공간 설정 변경", "change a space"),
             plain("space", "change", "space")),
        Verb("remove", ("space",), False, Say("공간 설정 삭제", "remove a space's settings"),
             plain("space", "remove", "space")),
        Verb("state", ("space",), True,
             Say("공간 상태 보기, KEY=VALUE로 변경", "show a space's state, or change it"),
             _state),
    ),
    "user": USER,
    "app": APP,
}  # fmt: skip
KINDS = {
    "room": Say("방: 설정, 참가자, 조치", "rooms: settings, people, moderation"),
    "space": Say("공간: 설정, 운영 시간, 상태", "spaces: settings, hours, state"),
    "user": Say("계정", "accounts"),
    "app": Say("앱", "apps"),
}
GROUPS = {
    ("app", "key"): Say("앱의 키", "keys of an app"),
    ("user", "role"): Say("계정의 역할", "roles of an account"),
}


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    lang: Lang,
    load: Load,
) -> None:
    """Add `metaport room|space|user|app`."""
    asking = argparse.ArgumentParser(add_help=False, parents=[common])
    for option, say in (
        ("--url", Say("서버 주소 (없으면 이 기계의 서버)", "server (this machine's without it)")),
        ("--token", Say("토큰 (없으면 METAPORT_TOKEN)", "token (METAPORT_TOKEN without it)")),
    ):
        asking.add_argument(option, help=say.to(lang))
    asking.add_argument("--json", action="store_true", help=Say("JSON으로", "as JSON").to(lang))
    for kind, verbs in VERBS.items():
        text = KINDS[kind].to(lang)
        parser = commands.add_parser(kind, help=text, description=text)
        within = parser.add_subparsers(required=True, metavar=Say("명령", "command").to(lang))
        groups = {}
        for verb in verbs:
            *of, name = verb.name.split()
            if of and of[0] not in groups:
                titled = GROUPS[kind, of[0]].to(lang)
                group = within.add_parser(of[0], help=titled, description=titled)
                groups[of[0]] = group.add_subparsers(
                    required=True, metavar=Say("명령", "command").to(lang)
                )
            said, place = verb.say.to(lang), groups[of[0]] if of else within
            one = place.add_parser(name, parents=[asking], help=said, description=said)
            _take_words(one, verb, lang)
            one.set_defaults(command=lambda given, run=verb.run: command(load, run, given))


def _take_words(one: argparse.ArgumentParser, verb: Verb, lang: Lang) -> None:
    for word in verb.words:
        one.add_argument(word)
    for option in verb.options:
        if option.file:
            one.add_argument(option.name, type=Path, metavar="FILE", help=option.say.to(lang))
        else:
            one.add_argument(option.name, action="store_true", help=option.say.to(lang))
    if verb.takes:
        one.add_argument(
            "settings", nargs="*", metavar="KEY=VALUE",
            help=Say(
                "설정: 값은 JSON 또는 글자 그대로 (예: capacity=20 note='조용히')",
                "fields: values as JSON or plain text (capacity=20 note='be quiet')",
            ).to(lang),
        )  # fmt: skip


def command(load: Load, run: Run, given: argparse.Namespace) -> int:
    """Run one command against a server; return the exit code."""
    from metaport.client.problem import ServerProblem, Unreachable

    lang: Lang = given.lang
    try:
        config = load(given)
        answer = asyncio.run(_ask(config, run, given))
    except Misused as misused:
        return _complain(misused.say.to(lang), MISUSED)
    except ServerProblem as problem:
        return _complain(f"{problem} ({problem.reason})", WRONG)
    except Unreachable as error:
        hint = Say("서버가 실행 중인지, --url이 맞는지 확인하세요", "is it running, is --url right")
        return _complain(f"{error} – {hint.to(lang)}", WRONG)
    _print(answer, lang, config.usage.zone, as_json=given.json)
    return DONE


async def _ask(config: Config, run: Run, given: argparse.Namespace) -> Any:
    from metaport.client.server import Server

    url = given.url or os.environ.get("METAPORT_URL") or own_url(config)
    token = given.token or os.environ.get("METAPORT_TOKEN")
    if token is None:
        if given.url or "METAPORT_URL" in os.environ:
            raise Misused(
                Say("다른 서버에는 --token이 필요합니다", "another server needs a --token")
            )
        token = own_token(config)
    async with Server(url, token, lang=given.lang, authority=authority_of(config)) as server:
        return await run(server, given)


def own_url(config: Config) -> str:
    """Return the address of the server this configuration starts."""
    host = config.http.host
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if config.http.tls == 'off' else 'https'}://{shown}:{config.http.port}"


def own_token(config: Config) -> str:
    """Mint a short-lived token of the admin from the secret of this machine's server."""
    from metaport import secret_files
    from metaport.tokens import Tokens

    if config.token.secret is None and not (config.secrets_dir / secret_files.TOKEN_KEY).exists():
        raise Misused(
            Say(
                f"{config.secrets_dir}: 서버의 서명 키가 없습니다. 서버의 데이터 디렉터리를 "
                "--config로 알려 주거나 --url과 --token을 쓰세요",
                f"{config.secrets_dir}: no signing key of a server; name its configuration by "
                "--config, or use --url and --token",
            )
        )
    try:
        secret = secret_files.signing_secret(config.token.secret, config.secrets_dir)
    except (OSError, ValueError) as error:
        raise Misused(Say(str(error), str(error))) from None
    return Tokens(secret).mint(WHO, roles=["admin"], ttl_s=TTL_S)


def authority_of(config: Config) -> str | None:
    """Return the file of the local certificate authority, where this server has one."""
    from metaport import tls

    if config.http.tls != "auto":
        return None
    path = tls.Files(config.data.dir / "tls").ca_cert
    return str(path) if path.exists() else None


def _print(answer: Any, lang: Lang, zone: str, *, as_json: bool) -> None:
    import msgspec

    if answer is SHOWN:
        return
    if as_json:
        told = answer[1] if isinstance(answer, tuple) else answer
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
        return
    if answer is None:
        print(Say("했습니다", "done").to(lang))
    elif isinstance(answer, tuple):
        columns, rows = answer
        print(table(columns, [msgspec.to_builtins(row) for row in rows], lang, zone))
    else:
        for name, value in msgspec.to_builtins(answer).items():
            print(f"{name:<14} {shown(name, value, zone)}")


def table(columns: list[str], rows: list[dict[str, Any]], lang: Lang, zone: str) -> str:
    """Lay rows out in columns as wide as what is in them."""
    from metaport.terminal import fitted
    from metering.columns import cells

    if not rows:
        return Say("없습니다", "none").to(lang)
    texts = [columns, *([shown(name, row.get(name), zone) for name in columns] for row in rows)]
    widths = [max(cells(text) for text in column) for column in zip(*texts, strict=True)]
    return "\n".join(
        "  ".join(fitted(text, width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in texts
    )


def shown(name: str, value: Any, zone: str) -> str:
    """Return a value as a person reads it: what is named as a moment, as local time."""
    import msgspec

    from metaport.terminal import printable

    if value is None or value in ([], {}):
        return "-"
    if name in MOMENTS and value == 0:  # what was always there
        return "-"
    if name in MOMENTS and isinstance(value, int):
        from datetime import UTC, datetime
        from zoneinfo import ZoneInfo

        moment = datetime.fromtimestamp(value / 1000, UTC).astimezone(ZoneInfo(zone))
        return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
    if isinstance(value, str):
        return printable(value)
    return printable(msgspec.json.encode(value).decode())


def _complain(sentence: str, code: int) -> int:
    print(f"metaport: {sentence}", file=sys.stderr)
    return code
