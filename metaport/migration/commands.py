"""`metaport db copy|verify|backup|restore`: what is asked at the terminal, and what is answered."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaport.language import Lang, Say

if TYPE_CHECKING:
    from metaport.config import Config
    from metaport.migration.plan import Order

DONE, WRONG, MISUSED = 0, 1, 2

Option = tuple[str, dict[str, Any], Say]

_URL = Say(
    "URL, env:변수, file:파일, 또는 own(설정된 것)",
    "URL, env:NAME, file:PATH, or own (the configured one)",
)
_DATABASES: tuple[Option, ...] = (
    ("--from", {"dest": "source", "default": "own", "metavar": "DB"}, _URL),
    ("--to", {"dest": "target", "required": True, "metavar": "DB"}, _URL),
    (
        "--include",
        {"action": "append", "default": [], "metavar": "PATTERN"},
        Say("이 테이블만 (여러 번 가능)", "only these tables (repeatable)"),
    ),
    (
        "--exclude",
        {"action": "append", "default": [], "metavar": "PATTERN"},
        Say("이 테이블 빼고 (여러 번 가능)", "not these tables (repeatable)"),
    ),
    (
        "--rules",
        {"metavar": "NAME|FILE"},
        Say(
            "남겨 두거나 가릴 것: none, promote(개발→운영), anonymize(운영→개발), 또는 파일",
            "what to leave behind or mask: none, promote (to production), anonymize (to "
            "development), or a file",
        ),
    ),
    (
        "--mask-key",
        {"type": Path, "metavar": "FILE"},
        Say(
            "가명을 만드는 키 (기본: 비밀 디렉터리의 mask.key)",
            "key of pseudonyms (mask.key in the secrets directory)",
        ),
    ),
)
_COPY: tuple[Option, ...] = (
    (
        "--dry-run",
        {"action": "store_true"},
        Say("계획만 보여 주고 쓰지 않습니다", "show the plan, write nothing"),
    ),
    (
        "--resume",
        {"action": "store_true"},
        Say("끊긴 복사를 이어서 합니다", "go on with a copy that was interrupted"),
    ),
    (
        "--jobs",
        {"type": int, "default": 2, "metavar": "N"},
        Say("동시에 복사할 조각 수 (기본 2)", "chunks at a time (2)"),
    ),
    (
        "--rejects",
        {"type": Path, "default": Path("rejects.jsonl"), "metavar": "FILE"},
        Say("거부된 행을 적을 파일", "file for rows that are refused"),
    ),
    (
        "--max-rejects",
        {"type": int, "default": 1_000, "metavar": "N"},
        Say("거부를 몇 행까지 견딜지 (기본 1000)", "rows that may be refused (1000)"),
    ),
    (
        "--overwrite",
        {"default": "", "metavar": "NAME"},
        Say("이 이름의 대상에 있는 것을 지웁니다", "delete what the target of this name holds"),
    ),
)
_REPORT: tuple[Option, ...] = (
    ("--output", {"type": Path, "metavar": "FILE"}, Say("보고서를 쓸 파일", "file for the report")),
    (
        "--format",
        {"choices": ("text", "html", "pdf", "xlsx", "json"), "default": "text"},
        Say("보고서의 형식", "form of the report"),
    ),
)

Load = Callable[[argparse.Namespace], "Config"]


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    lang: Lang,
    load: Load,
) -> None:
    """Add the commands to `metaport db`."""

    def add(
        name: str, run: Callable[[Config, argparse.Namespace], int], text: Say
    ) -> argparse.ArgumentParser:
        said = text.to(lang)
        parser = commands.add_parser(name, parents=[common], help=said, description=said)
        parser.set_defaults(command=lambda arguments: run(load(arguments), arguments))
        return parser

    copy = add(
        "copy", _copy, Say("데이터베이스를 다른 곳으로 복사합니다", "copy a database to another")
    )
    _options(copy, lang, (*_DATABASES, *_COPY, *_REPORT))
    compare = add(
        "verify",
        _verify,
        Say("두 데이터베이스가 같은지 확인합니다", "tell whether two are the same"),
    )
    _options(compare, lang, (*_DATABASES, *_REPORT))


def _options(parser: argparse.ArgumentParser, lang: Lang, options: Iterable[Option]) -> None:
    for flag, settings, text in options:
        parser.add_argument(flag, help=text.to(lang), **settings)


def _order(config: Config, arguments: argparse.Namespace) -> Order:
    from metaport.migration.endpoint import read_endpoint
    from metaport.migration.masking import mask_key
    from metaport.migration.plan import Order
    from metaport.migration.rules import load_rules

    rules = load_rules(arguments.rules)
    path = arguments.mask_key or config.secrets_dir / "mask.key"
    key = mask_key(path) if rules.mask or path.exists() else b""
    return Order(
        read_endpoint(arguments.source, config.database_url),
        read_endpoint(arguments.target, config.database_url),
        tuple(arguments.include),
        tuple(arguments.exclude),
        rules,
        key,
        getattr(arguments, "jobs", 2),
        getattr(arguments, "overwrite", ""),
    )


def _answered(lang: Lang, work: Callable[[], int]) -> int:
    """Run a command; say what stood in its way."""
    from metaport.migration.errors import Interrupted, MigrationError, Misused

    try:
        return work()
    except Misused as error:
        _complain(error.say, lang)
        return MISUSED
    except Interrupted as error:
        _complain(error.say, lang)
    except MigrationError as error:
        _complain(error.say, lang)
    except (OSError, ValueError) as error:
        _complain(Say(str(error), str(error)), lang)
    return WRONG


def _complain(say: Say, lang: Lang) -> None:
    for line in say.to(lang).splitlines():
        print(f"metaport: {line}", file=sys.stderr)


def _copy(config: Config, arguments: argparse.Namespace) -> int:
    return _answered(arguments.lang, lambda: asyncio.run(_copying(config, arguments)))


async def _copying(config: Config, arguments: argparse.Namespace) -> int:
    from metaport.migration.copy_document import copy_document, outcome_json, plan_document
    from metaport.migration.copying import copy, plan_only
    from metaport.migration.errors import Interrupted
    from metaport.migration.progress import Progress
    from metaport.migration.rejects import RejectFile

    lang: Lang = arguments.lang
    order = _order(config, arguments)
    if arguments.dry_run:
        plan = await plan_only(order)
        return _deliver(plan_document(order, plan, lang), {}, arguments)
    try:
        outcome = await copy(
            order, Progress(lang), RejectFile(arguments.rejects),
            max_rejects=arguments.max_rejects, resume=arguments.resume,
        )  # fmt: skip
    except Interrupted:
        _complain(
            Say(
                "복사한 것은 남아 있습니다. --resume을 붙여 다시 실행하면 이어서 합니다.",
                "What is copied stays. Run it again with --resume to go on.",
            ),
            lang,
        )
        raise
    code = _deliver(copy_document(order, outcome, lang), outcome_json(order, outcome), arguments)
    return WRONG if code == DONE and outcome.rejected else code


def _verify(config: Config, arguments: argparse.Namespace) -> int:
    return _answered(arguments.lang, lambda: asyncio.run(_verifying(config, arguments)))


async def _verifying(config: Config, arguments: argparse.Namespace) -> int:
    from metaport.migration.progress import Progress
    from metaport.migration.verification import verify
    from metaport.migration.verify_document import verify_document

    lang: Lang = arguments.lang
    found = await verify(_order(config, arguments), Progress(lang))
    code = _deliver(verify_document(found, lang), found.as_json(), arguments)
    return code or (DONE if found.passed else WRONG)


def _deliver(document: object, tree: dict[str, object], arguments: argparse.Namespace) -> int:
    from metaport.usage_commands import as_json, deliver
    from metering.forms import FORMS

    form: str = arguments.format
    body = as_json(tree) if form == "json" else FORMS[form](document)  # type: ignore[arg-type]
    return deliver(body, form, arguments.lang, arguments.output)
