"""The command line: `metaport run`, what it starts, and the operator's tools.

Everything but the standard library's parser is imported by the command that needs it, so that
`metaport --help` answers at once. Exit codes: 0 done, 1 something is wrong, 2 wrong command line
or configuration.
"""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from metaport.language import Lang, Say, preferred
from metaport.migration.commands import add_commands as add_migration
from metaport.resource_commands import add_commands as add_resources

if TYPE_CHECKING:
    from metaport.config import Config
    from metaport.log_repair import Damage

Serve = Callable[["Config", asyncio.Event], Awaitable[None]]

DONE, WRONG, MISUSED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from metaport.config import ConfigError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no Hangul
    argv = sys.argv[1:] if argv is None else argv
    lang = _language(argv)
    parser = _parser(lang)
    if not argv:
        parser.print_help(sys.stderr)
        return MISUSED
    arguments = parser.parse_args(argv)
    try:
        code = int(arguments.command(arguments))
        _note(arguments, code)
        return code
    except ConfigError as error:
        for problem in error.problems:
            _complain(problem.to(arguments.lang))
        return MISUSED
    except BrokenPipeError:  # the reader of `metaport … | head` has left
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stands until the process ends
        return DONE
    except KeyboardInterrupt:
        return 130


def _language(argv: Sequence[str]) -> Lang:
    """Look for `--lang` before the parser exists, because its help is in that language."""
    for word, following in pairwise([*argv, ""]):
        chosen = word.removeprefix("--lang=") if word.startswith("--lang=") else following
        if word.startswith("--lang") and chosen in ("ko", "en"):
            return "ko" if chosen == "ko" else "en"
    return preferred(os.environ)


def _parser(lang: Lang) -> argparse.ArgumentParser:
    def say(ko: str, en: str) -> str:
        return Say(ko, en).to(lang)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help=say("설정 파일", "configuration file")
    )
    common.add_argument("--lang", choices=("ko", "en"), default=lang, help=say("언어", "language"))

    top = argparse.ArgumentParser(
        prog="metaport",
        description=say(
            "텍스트·음성·영상 채팅 서버와 사용량 계량",
            "Text, voice and video chat server with usage metering",
        ),
    )
    top.add_argument("--lang", choices=("ko", "en"), dest="_", help=say("언어", "language"))
    commands = top.add_subparsers(required=True, metavar=say("명령", "command"))

    def add(
        within: argparse._SubParsersAction[argparse.ArgumentParser],
        name: str,
        command: Callable[[argparse.Namespace], int],
        ko: str,
        en: str,
    ) -> argparse.ArgumentParser:
        text = say(ko, en)
        parser = within.add_parser(name, parents=[common], help=text, description=text)
        parser.set_defaults(command=command)
        return parser

    def group(name: str, ko: str, en: str) -> argparse._SubParsersAction[argparse.ArgumentParser]:
        text = say(ko, en)
        parser = commands.add_parser(name, help=text, description=text)
        return parser.add_subparsers(required=True, metavar=say("명령", "command"))

    run = add(commands, "run", _run, "서버 전체를 시작합니다", "start the whole server")
    run.add_argument(
        "--tls",
        choices=("auto", "off"),
        help=say("로컬 인증서로 HTTPS", "HTTPS by a local authority"),
    )
    for name, command, ko, en in (
        ("hub", _hub, "허브 프로세스만 시작합니다", "start a hub process only"),
        ("sfu", _sfu, "미디어 프로세스만 시작합니다", "start a media process only"),
    ):
        child = add(commands, name, command, ko, en)
        child.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
        child.add_argument(
            "--process", type=int, default=0, metavar="N",
            help=say("몇 번째 프로세스인지 (0부터)", "which of the processes, from 0"),
        )  # fmt: skip
        if name == "sfu":
            verbs = child.add_subparsers(metavar=say("명령", "command"))

    for verb, ko, en in (
        ("drain", "미디어 프로세스를 비웁니다 (사람들을 다른 프로세스로 옮김)",
         "empty a media process: its people are moved to the others"),
        ("admit", "비운 미디어 프로세스가 다시 방을 받게 합니다",
         "let a drained media process take rooms again"),
        ("restart", "미디어 프로세스를 하나씩 비우고 다시 시작합니다 (번호가 없으면 모두)",
         "empty and restart media processes one after the other (all without numbers)"),
    ):  # fmt: skip
        verb_parser = add(verbs, verb, partial(_sfu_command, verb), ko, en)
        verb_parser.add_argument(
            "number", type=int, metavar="N", nargs="*" if verb == "restart" else "+",
            help=say("프로세스 번호 (0부터)", "number of the process, from 0"),
        )  # fmt: skip
        verb_parser.add_argument(
            "--timeout", type=float, default=30.0, metavar="S",
            help=say("다 옮기기를 기다리는 시간(초)", "seconds to wait until everybody has moved"),
        )  # fmt: skip

    top_parser = add(verbs, "top", _sfu_top, "음성·영상 상태를 실시간으로 보여 줍니다",
                     "watch how everybody's media is doing")  # fmt: skip
    top_parser.add_argument("--room", help=say("이 방만", "only this room"))
    top_parser.add_argument(
        "--once",
        action="store_true",
        help=say("한 번만 출력 (스크립트용)", "print once, for scripts"),
    )
    top_parser.add_argument(
        "--json", action="store_true", help=say("한 번, JSON으로", "once, as JSON")
    )

    token = add(commands, "token", _token, "접속 토큰을 발급합니다", "mint an access token")
    token.add_argument("--user", help=say("사용자 id", "user id"))
    token.add_argument("--name", help=say("표시 이름", "name to show"))
    token.add_argument(
        "--role", action="append", default=[], help=say("역할 (여러 번 가능)", "role (repeatable)")
    )
    token.add_argument(
        "--room", action="append", metavar="PATTERN",
        help=say("들어갈 수 있는 방 무늬 (여러 번 가능, 없으면 모두)",
                 "room pattern the user may enter (repeatable; any room without it)"),
    )  # fmt: skip
    token.add_argument("--ttl", metavar="S", help=say("유효 시간(초)", "seconds it holds"))
    others = token.add_subparsers(metavar=say("다른 명령", "other command"))
    rotate = add(
        others,
        "rotate",
        _token_rotate,
        "서명 비밀을 바꿉니다",
        "sign with a new secret from now on",
    )
    rotate.add_argument(
        "--drop-former",
        action="store_true",
        help=say("이전 비밀로 서명한 토큰을 모두 무효로", "void all tokens of former secrets"),
    )

    revoke = add(
        others, "revoke", _token_revoke,
        "토큰을 취소합니다: 하나 또는 사용자의 모든 토큰",
        "take tokens back: one, or all of a user's",
    )  # fmt: skip
    meant = revoke.add_mutually_exclusive_group(required=True)
    # Not `--user` of the command above, which would be taken for it.
    meant.add_argument(
        "--user", dest="revoked_user", metavar="ID",
        help=say("모든 곳에서 로그아웃할 사용자", "user to sign out everywhere"),
    )  # fmt: skip
    meant.add_argument("--id", metavar="JTI", help=say("토큰 id (jti)", "id of the token (jti)"))
    meant.add_argument(
        "--token", metavar="JWT",
        help=say("토큰 자체, -는 표준 입력에서", "the token itself; - reads it from input"),
    )  # fmt: skip
    revoke.add_argument(
        "--before", metavar="TIME",
        help=say("이 시각(ISO 8601) 전에 발급된 토큰만, 없으면 지금",
                 "only tokens issued before this time (ISO 8601); now without it"),
    )  # fmt: skip

    add_resources(commands, common, lang, _load)

    usage = group("usage", "사용량", "usage")
    report = add(usage, "report", _report, "월 사용량과 금액", "usage and cost of a month")
    report.add_argument("--month", required=True, metavar="YYYY-MM", help=say("월", "month"))
    report.add_argument(
        "--format",
        choices=("text", "json", "csv", "focus", "html", "xlsx", "pdf"),
        default="text",
        help=say("형식 (focus: FinOps FOCUS 열의 CSV)", "form (focus: CSV in FinOps columns)"),
    )
    report.add_argument("--output", type=Path, metavar="FILE", help=say("쓸 파일", "file to write"))
    report.add_argument(
        "--by", choices=("app", "space", "room", "node", "user"),
        help=say("사용량을 나누어 볼 기준", "what to tell usage apart by"),
    )  # fmt: skip
    close = add(usage, "close", _usage_close, "끝난 달을 마감합니다", "close a month that is over")
    close.add_argument("month", metavar="YYYY-MM", help=say("월", "month"))
    close.add_argument(
        "--as-is", metavar="WHY", default="",
        help=say("집계가 덜 되었어도 마감하는 까닭", "why, where it is not fully counted"),
    )  # fmt: skip
    correct = add(
        usage, "correct", _usage_correct, "마감한 달을 정정합니다", "correct a closed month"
    )
    correct.add_argument("month", metavar="YYYY-MM", help=say("월", "month"))
    correct.add_argument("--meter", required=True, help=say("계량 항목", "meter"))
    correct.add_argument(
        "--quantity", required=True, type=int, help=say("더하거나(+) 빼는(-) 수량", "more or less")
    )
    correct.add_argument("--reason", required=True, help=say("까닭", "reason"))
    correct.add_argument("--room", default="", help=say("방", "room"))
    correct.add_argument(
        "--day", metavar="YYYY-MM-DD", help=say("날 (없으면 끝 날)", "default: last")
    )
    for made in (close, correct):
        made.add_argument("--by", required=True, help=say("하는 사람의 이름", "name of the person"))
    compare = add(
        usage, "reconcile", _usage_reconcile, "센 것을 대조합니다", "compare what was counted"
    )
    compare.add_argument(
        "--day", metavar="YYYY-MM-DD", help=say("날 (없으면 어제)", "default: yesterday")
    )
    compare.add_argument("--format", choices=("text", "json"), default="text")
    for name, command, ko, en in (
        ("export", _usage_export, "장부를 파일로 내보냅니다", "write the ledger to a file"),
        ("import", _usage_import, "내보낸 장부를 들여옵니다", "take over an exported ledger"),
    ):
        transfer = add(usage, name, command, ko, en)
        transfer.add_argument("file", type=Path, metavar="FILE", help=say("파일", "file"))
    closed = add(usage, "closed", _usage_closed, "마감한 달을 확인합니다", "verify closed months")
    closed.add_argument("--format", choices=("text", "json"), default="text")

    forms = ("text", "html", "xlsx", "pdf")

    def printed(command: argparse.ArgumentParser, *more: str) -> None:
        command.add_argument("--format", choices=(*forms, *more), default="text")
        output = say("쓸 파일", "file to write")
        command.add_argument("--output", type=Path, metavar="FILE", help=output)

    budget = add(usage, "budget", _budget, "예산 대비 현황", "usage held against the contract")
    printed(budget, "json")
    budget.add_argument(
        "--example", action="store_true", help=say("계약 파일 본보기", "print an example contract")
    )
    proposal = add(
        usage, "proposal", _proposal, "단가 산출서", "unit prices derived from costs and capacity"
    )
    printed(proposal, "book")
    proposal.add_argument(
        "--inputs", type=Path, metavar="FILE", help=say("원가와 용량", "costs and capacities")
    )
    proposal.add_argument(
        "--example", action="store_true", help=say("근거 파일 본보기", "print example inputs")
    )
    comparison = add(
        usage, "compare", _compare, "다른 서비스의 금액과 비교", "the same month elsewhere"
    )
    printed(comparison)
    comparison.add_argument("--month", required=True, metavar="YYYY-MM", help=say("월", "month"))
    comparison.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="USD=1400@2026-11-01",
        help=say("환율과 그 날짜", "exchange rate and its day"),
    )
    comparison.add_argument(
        "--market", type=Path, metavar="FILE", help=say("단가 파일", "prices of others")
    )

    config = group("config", "설정", "configuration")
    add(config, "check", _config_check, "설정을 검사합니다", "check the configuration")
    add(
        config, "show", _config_show, "적용된 설정을 보여 줍니다", "show the configuration in force"
    )

    add(commands, "doctor", _doctor, "환경을 점검합니다", "check this machine and installation")
    add(commands, "version", _version, "버전", "version")

    tls = group("tls", "로컬 인증서", "local certificates")
    add(tls, "trust", _tls_trust, "인증 기관을 신뢰하는 방법", "how to trust the local authority")

    db = group("db", "데이터베이스", "database")
    add(db, "status", _db_status, "스키마 개정을 보여 줍니다", "show the revision of the schema")
    forward = add(db, "upgrade", _db_upgrade, "스키마를 올립니다", "bring the schema forward")
    forward.add_argument("revision", nargs="?", help=say("개정 (없으면 마지막)", "default: last"))
    back = add(
        db,
        "downgrade",
        _db_downgrade,
        "스키마를 되돌립니다; 그 뒤에 더해진 것은 지워집니다",
        "take the schema back; what was added since is deleted",
    )
    back.add_argument("revision", help=say("개정, 또는 base", 'revision, or "base"'))
    table_document = add(db, "describe", _db_describe, "테이블 정의서", "table definition document")
    table_document.add_argument("--format", choices=("html", "markdown", "svg"), default="markdown")
    add_migration(db, common, lang, _load)

    audit = group("audit", "감사 기록", "audit log")
    whole = add(
        audit, "verify", _audit_verify,
        "감사 기록이 온전한지 확인합니다", "check that nobody tampered with the log",
    )  # fmt: skip
    whole.add_argument(
        "--expect", metavar="NUMBER:SEAL",
        help=say("적어 둔 마지막 봉인", "a last seal that was noted before"),
    )  # fmt: skip
    listed = add(audit, "list", _audit_list, "감사 기록을 봅니다", "show the log")
    listed.add_argument("--actor", help=say("한 사람", "of one person"))
    listed.add_argument(
        "--personal", action="store_true",
        help=say("개인정보 접속기록만", "only where personal data were told"),
    )  # fmt: skip
    listed.add_argument("--limit", type=int, default=100, help=say("건수", "how many"))
    listed.add_argument("--format", choices=("text", "json", "csv"), default="text")

    log = group("log", "로컬 로그", "local log")
    add(log, "check", _log_check, "로컬 로그를 끝까지 읽어 봅니다", "read the local log through")
    add(
        log,
        "repair",
        _log_repair,
        "손상된 부분을 따로 옮겨 두고 나머지를 살립니다 (서버를 멈춘 뒤)",
        "set damaged bytes aside and keep the rest (with the server stopped)",
    )

    admin = group("admin", "첫 관리자", "first admin")
    add(admin, "password", _admin_password, "새 비밀번호를 만듭니다", "give a new password")
    return top


def _load(arguments: argparse.Namespace, overrides: dict[str, str] | None = None) -> Config:
    from metaport.config import load_config

    return load_config(arguments.config, overrides=overrides)


def _complain(sentence: str) -> None:
    print(f"metaport: {sentence}", file=sys.stderr)


def _run(arguments: argparse.Namespace) -> int:
    from metaport import supervise

    overrides = {"http.tls": arguments.tls} if arguments.tls else {}
    return supervise.run(_load(arguments, overrides), arguments.config, arguments.lang)


def _hub(arguments: argparse.Namespace) -> int:
    config = _load(arguments)
    from metaport.compose import run_hub
    from metaport.node import hub_node

    own = hub_node(config, arguments.process)
    entry = partial(run_hub, own=own)
    return serve(own.process, config, entry, arguments.supervised, arguments.lang)


def _sfu(arguments: argparse.Namespace) -> int:
    config = _load(arguments)
    from metaport.media_process import run_sfu
    from metaport.sfu_process import sfu_process

    number: int = arguments.process
    name = sfu_process(config, number).name
    entry = partial(run_sfu, number=number)
    return serve(name, config, entry, arguments.supervised, arguments.lang)


def _sfu_command(verb: str, arguments: argparse.Namespace) -> int:
    config = _load(arguments)
    from metaport import sfu_commands

    return sfu_commands.run(config, arguments.lang, verb, arguments.number, arguments.timeout)


def _sfu_top(arguments: argparse.Namespace) -> int:
    config = _load(arguments)
    from metaport import sfu_top

    return sfu_top.run(
        config, arguments.lang, room=arguments.room, once=arguments.once, as_json=arguments.json
    )


def serve(
    process: str, config: Config, entry: Serve, supervised: bool = False, lang: Lang = "en"
) -> int:
    """Run one server process until SIGTERM or SIGINT, then let it drain.

    A supervised process ends at once when its supervisor is gone.
    """
    import logging

    import uvloop

    from metaport import logs
    from metaport.db.errors import SchemaMismatch
    from metaport.log import LogError
    from metaport.node import NodeRefused

    logger = logging.getLogger(__name__)
    logs.setup(process, level=config.log.level, style=config.log.format)
    if supervised:
        from metaport.supervise import end_with_supervisor

        end_with_supervisor()
    try:
        uvloop.run(_until_stopped(config, entry))
    except OSError as error:
        from metaport.preflight import blame

        problem = blame(config, process, error)
        if problem is None:
            logger.critical("%s ends", process, exc_info=True)
            return WRONG
        _complain(problem.to(lang))
        return MISUSED
    except (SchemaMismatch, NodeRefused) as error:
        _complain(error.say.to(lang))
        return MISUSED
    except LogError as error:
        logger.critical("%s", error)
        return WRONG
    except Exception:
        logger.critical("%s ends", process, exc_info=True)
        return WRONG
    return DONE


async def _until_stopped(config: Config, entry: Serve) -> None:
    import signal

    from metaport import logs

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    logs.watch(loop)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    await entry(config, stop)


def _unkept(config: Config, error: OSError | ValueError, lang: Lang) -> int:
    from metaport.preflight import unkept

    _complain(unkept(config, error).to(lang))
    return MISUSED


def _audit_verify(arguments: argparse.Namespace) -> int:
    from metaport import audit_command

    config = _load(arguments)
    return asyncio.run(audit_command.verify(config, arguments.expect, arguments.lang))


def _audit_list(arguments: argparse.Namespace) -> int:
    from metaport import audit_command
    from metaport.db.audit import Filter

    wanted = Filter(arguments.actor, arguments.personal)
    return asyncio.run(
        audit_command.show(_load(arguments), wanted, arguments.limit, arguments.format)
    )


def _note(arguments: argparse.Namespace, code: int) -> None:
    """Write what a command has done into the audit log; a running hub carries it over."""
    from metaport import audit_command

    action = _AUDITED.get(arguments.command)
    if action is None or code == MISUSED:
        return
    try:
        audit_command.note(_load(arguments).data.dir, action, vars(arguments), code)
    except OSError as error:
        _complain(str(error))


def _token(arguments: argparse.Namespace) -> int:
    from chatd.grants import is_pattern
    from metaport import secret_files, tokens

    if arguments.user is None:
        text = Say("누구의 토큰인지 적어 주세요", "say whose token it is to be")
        _complain(f"--user: {text.to(arguments.lang)}")
        return MISUSED
    config = _load(arguments)
    known = (
        config.token.secret is not None or (config.secrets_dir / secret_files.TOKEN_KEY).exists()
    )
    try:
        secret = secret_files.signing_secret(config.token.secret, config.secrets_dir)
    except (OSError, ValueError) as error:
        return _unkept(config, error, arguments.lang)
    if not known:
        note = Say(
            "새 서명 키를 만들었습니다. 서버도 이 데이터 디렉터리를 써야 토큰이 통합니다",
            "made a new signing key; the token holds only for a server with this data directory",
        )
        _complain(f"{config.secrets_dir}: {note.to(arguments.lang)}")
    ttl_s = arguments.ttl or str(config.token.ttl_s)
    if not ttl_s.isdecimal() or int(ttl_s) == 0:
        text = Say(f"'{ttl_s}' – 초 수가 아닙니다", f"'{ttl_s}' is not a number of seconds")
        _complain(f"--ttl: {text.to(arguments.lang)}")
        return MISUSED
    for room in arguments.room or ():
        if not is_pattern(room):
            text = Say(f"{room!a} – 방 무늬가 아닙니다", f"{room!a} is no pattern of rooms")
            _complain(f"--room: {text.to(arguments.lang)}")
            return MISUSED
    try:
        minted = tokens.Tokens(secret).mint(
            arguments.user,
            arguments.name,
            roles=arguments.role,
            rooms=arguments.room,
            ttl_s=int(ttl_s),
        )
    except ValueError as error:
        _complain(f"--user: {error}")
        return MISUSED
    print(minted)
    return DONE


def _token_rotate(arguments: argparse.Namespace) -> int:
    from metaport import secret_files

    config = _load(arguments)
    if config.token.secret is not None:
        text = Say(
            "token.secret으로 준 비밀은 설정에서 바꾸고 이전 것은 token.former_secrets에 적습니다",
            "given as token.secret: change it there, and name the former in token.former_secrets",
        )
        _complain(text.to(arguments.lang))
        return MISUSED
    try:
        secret_files.rotate_secret(
            config.secrets_dir, keep=0 if arguments.drop_former else secret_files.FORMER_KEPT
        )
    except (OSError, ValueError) as error:
        return _unkept(config, error, arguments.lang)
    print(
        Say(
            "새 비밀로 서명합니다. 실행 중인 서버도 몇 초 안에 바꿉니다.",
            "Tokens are signed with a new secret; a running server follows within seconds.",
        ).to(arguments.lang)
    )
    return DONE


def _token_revoke(arguments: argparse.Namespace) -> int:
    from metaport.revocation_command import Named, revoke

    # A token in an argument can be read by everybody on this machine.
    token = sys.stdin.read().strip() if arguments.token == "-" else arguments.token
    named = Named(arguments.revoked_user, arguments.id, token, arguments.before)
    return asyncio.run(revoke(_load(arguments), arguments.lang, named))


def _usage_close(arguments: argparse.Namespace) -> int:
    from metaport.usage_periods import close_month

    config = _load(arguments)
    return asyncio.run(
        close_month(config, arguments.month, arguments.by, arguments.as_is, arguments.lang)
    )


def _usage_correct(arguments: argparse.Namespace) -> int:
    from datetime import date

    from metaport.usage_periods import correct_month

    try:
        day = date.fromisoformat(arguments.day) if arguments.day else None
    except ValueError as error:
        _complain(f"--day: {error}")
        return MISUSED
    return asyncio.run(
        correct_month(
            _load(arguments),
            arguments.month,
            arguments.meter,
            arguments.quantity,
            room=arguments.room,
            day=day,
            reason=arguments.reason,
            by=arguments.by,
            lang=arguments.lang,
        )
    )


def _usage_reconcile(arguments: argparse.Namespace) -> int:
    from metaport.usage_reconcile import print_reconciliation

    return asyncio.run(
        print_reconciliation(_load(arguments), arguments.day, arguments.format, arguments.lang)
    )


def _usage_export(arguments: argparse.Namespace) -> int:
    from metaport.usage_transfer import run_transfer

    return asyncio.run(
        run_transfer(_load(arguments), arguments.file, out=True, lang=arguments.lang)
    )


def _usage_import(arguments: argparse.Namespace) -> int:
    from metaport.usage_transfer import run_transfer

    return asyncio.run(
        run_transfer(_load(arguments), arguments.file, out=False, lang=arguments.lang)
    )


def _usage_closed(arguments: argparse.Namespace) -> int:
    from metaport.usage_periods import list_closed

    return asyncio.run(list_closed(_load(arguments), arguments.format, arguments.lang))


def _report(arguments: argparse.Namespace) -> int:
    from metaport.usage_commands import print_report
    from metering.dimensions import Dimension

    if not _is_month(arguments):
        return MISUSED
    config, by = _load(arguments), Dimension(arguments.by) if arguments.by else None
    month, form = arguments.month, arguments.format
    return asyncio.run(print_report(config, month, form, arguments.lang, arguments.output, by=by))


def _is_month(arguments: argparse.Namespace) -> bool:
    if re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", arguments.month):
        return True
    month = ascii(arguments.month)
    text = Say(f"{month} – 달이 아닙니다 (예: 2026-11)", f"{month} is not a month (e.g. 2026-11)")
    _complain(f"--month: {text.to(arguments.lang)}")
    return False


def _budget(arguments: argparse.Namespace) -> int:
    from metaport.usage_commands import example, print_budget

    if arguments.example:
        print(example("contract.example.toml"), end="")
        return DONE
    config = _load(arguments)
    return asyncio.run(print_budget(config, arguments.format, arguments.lang, arguments.output))


def _proposal(arguments: argparse.Namespace) -> int:
    from metaport.usage_commands import example, print_proposal

    if arguments.example:
        print(example("proposal.example.toml"), end="")
        return DONE
    return print_proposal(arguments.inputs, arguments.format, arguments.lang, arguments.output)


def _compare(arguments: argparse.Namespace) -> int:
    from datetime import date
    from decimal import Decimal

    from metaport.usage_commands import print_comparison
    from metering.market import Rate

    if not _is_month(arguments):
        return MISUSED
    rates = []
    for stated in arguments.rate:
        found = re.fullmatch(r"([A-Z]{3})=([0-9]+(?:[.][0-9]+)?)@([0-9-]{10})", stated)
        try:
            rates.append(Rate(found[1], Decimal(found[2]), date.fromisoformat(found[3])))  # type: ignore[index]
        except (TypeError, ValueError):
            text = Say(
                "환율은 USD=1400@2026-11-01처럼 적습니다", "is to be like USD=1400@2026-11-01"
            )
            _complain(f"--rate: {stated!a} {text.to(arguments.lang)}")
            return MISUSED
    return asyncio.run(
        print_comparison(
            _load(arguments),
            arguments.month,
            rates=rates,
            market=arguments.market,
            form=arguments.format,
            lang=arguments.lang,
            output=arguments.output,
        )
    )


def _config_check(arguments: argparse.Namespace) -> int:
    config = _load(arguments)
    set_keys = len(config.sources)
    print(
        Say(
            f"설정에 문제가 없습니다 (지정한 키 {set_keys}개, 나머지는 기본값).",
            f"The configuration is in order ({set_keys} keys set, the rest at their defaults).",
        ).to(arguments.lang)
    )
    return DONE


def _config_show(arguments: argparse.Namespace) -> int:
    from metaport.config import describe

    section = ""
    for path, value, source in sorted(describe(_load(arguments)), key=lambda row: "." in row[0]):
        above, _, name = path.rpartition(".")
        if above != section:
            section = above
            print(f"\n[{section}]")
        print(f"{name} = {value}{f'  # {source}' if source else ''}" if value else f"#{name} =")
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from metaport import doctor

    return asyncio.run(doctor.print_findings(_load(arguments), arguments.lang))


def _version(_: argparse.Namespace) -> int:
    from metaport import __version__

    print(f"metaport {__version__}")
    return DONE


def _tls_trust(arguments: argparse.Namespace) -> int:
    from metaport import tls

    config = _load(arguments)
    try:
        print(tls.how_to_trust(config, arguments.lang))
    except (OSError, ValueError) as error:
        return _unkept(config, error, arguments.lang)
    return DONE


def _db_status(arguments: argparse.Namespace) -> int:
    from metaport.db import console

    return asyncio.run(console.print_status(_load(arguments), arguments.lang))


def _db_upgrade(arguments: argparse.Namespace) -> int:
    from metaport.db import console

    return asyncio.run(console.upgrade(_load(arguments), arguments.revision, arguments.lang))


def _db_downgrade(arguments: argparse.Namespace) -> int:
    from metaport.db import console

    return asyncio.run(console.downgrade(_load(arguments), arguments.revision, arguments.lang))


def _db_describe(arguments: argparse.Namespace) -> int:
    from metaport.db.table_document import DOCUMENTS

    print(DOCUMENTS[arguments.format](arguments.lang), end="")
    return DONE


def _log_check(arguments: argparse.Namespace) -> int:
    from metaport import log_repair

    config = _load(arguments)
    found = [damage for directory in config.logs for damage in log_repair.find(directory)]
    for damage in found:
        print(_told(damage, arguments.lang))
    if any(not damage.torn for damage in found):
        print(
            Say("손상이 있습니다: metaport log repair", "Damaged: metaport log repair").to(
                arguments.lang
            )
        )
        return WRONG
    print(Say("로컬 로그에 손상이 없습니다.", "The local log is whole.").to(arguments.lang))
    return DONE


def _log_repair(arguments: argparse.Namespace) -> int:
    from metaport import log_repair
    from metaport.log_records import LogLocked

    config = _load(arguments)
    for directory in config.logs:
        if not directory.exists():
            continue
        try:
            repaired = log_repair.repair(directory)
        except LogLocked as error:
            _complain(str(error))
            return WRONG
        for damage, copy in repaired:
            print(_told(damage, arguments.lang))
            print(f"  → {copy}")
    print(Say("나머지는 모두 읽을 수 있습니다.", "Everything else can be read.").to(arguments.lang))
    return DONE


def _told(damage: Damage, lang: Lang) -> str:
    if damage.torn:
        kind = Say("쓰다 만 끝부분 (다음 시작 때 잘라 냅니다)", "torn tail (cut at the next start)")
    else:
        kind = Say("손상", "damaged")
    at = Say(f"위치 {damage.position}", f"at {damage.position}")
    size = Say(f"{damage.size}바이트", f"{damage.size} bytes")
    return f"{damage.path}: {at.to(lang)}, {size.to(lang)}: {kind.to(lang)}"


def _admin_password(arguments: argparse.Namespace) -> int:
    from metaport import admin

    config = _load(arguments)
    try:
        password = admin.reset(config.secrets_dir)
    except OSError as error:
        return _unkept(config, error, arguments.lang)
    print(
        Say(
            f"사용자 {admin.USER}, 새 비밀번호 {password}",
            f"user {admin.USER}, new password {password}",
        ).to(arguments.lang)
    )
    return DONE


# Commands that change something, or give somebody a way in.
_AUDITED: dict[object, str] = {
    _token: "metaport token",
    _token_rotate: "metaport token rotate",
    _token_revoke: "metaport token revoke",
    _usage_close: "metaport usage close",
    _usage_correct: "metaport usage correct",
    _usage_import: "metaport usage import",
    _usage_export: "metaport usage export",
    _db_upgrade: "metaport db upgrade",
    _db_downgrade: "metaport db downgrade",
    _log_repair: "metaport log repair",
    _admin_password: "metaport admin password",
}
