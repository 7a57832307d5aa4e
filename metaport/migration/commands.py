"""`metaport db copy|verify|backup|restore`: what is asked at the terminal, and what is answered."""

# ruff: noqa: PLC0415, ASYNC240 - a command imports what it needs, and is alone in its loop

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
LEAST_PASSPHRASE = 12

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

_PASSPHRASE: Option = (
    "--passphrase-file",
    {"type": Path, "metavar": "FILE", "required": True},
    Say("암호가 든 파일 (백업과 다른 곳에 두십시오)", "file with the passphrase, kept elsewhere"),
)
_BACKUP: tuple[Option, ...] = (
    (
        "file",
        {"type": Path, "metavar": "FILE|DIR"},
        Say("쓸 파일, 또는 시각을 이름으로 쓸 디렉터리", "file, or directory to name it by time"),
    ),
    (
        "--keep",
        {"type": int, "default": 14, "metavar": "N"},
        Say("디렉터리에 남겨 둘 백업 수 (기본 14)", "backups to keep in a directory (14)"),
    ),
)
_RESTORE: tuple[Option, ...] = (
    ("file", {"type": Path, "metavar": "FILE"}, Say("백업 파일", "backup")),
    ("--to", {"dest": "target", "default": "own", "metavar": "DB"}, _URL),
    (
        "--rehearse",
        {"action": "store_true"},
        Say(
            "--to의 시험용 데이터베이스에만 되살려 보고 비교합니다 (own이면 임시 파일)",
            "only restore into the scratch database of --to (a temporary file for own) and compare",
        ),
    ),
    (
        "--overwrite",
        {"default": "", "metavar": "NAME"},
        Say("이 이름의 대상에 있는 것을 지웁니다", "delete what the target of this name holds"),
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
    make = add(
        "backup",
        _backup,
        Say("암호화된 백업을 만들고 확인합니다", "make an encrypted backup, and check it"),
    )
    _options(make, lang, (*_BACKUP, _PASSPHRASE))
    again = add("restore", _restore, Say("백업을 되살립니다", "restore a backup"))
    _options(again, lang, (*_RESTORE, _PASSPHRASE))


def _options(parser: argparse.ArgumentParser, lang: Lang, options: Iterable[Option]) -> None:
    for flag, settings, text in options:
        parser.add_argument(flag, help=text.to(lang), **settings)


def _order(config: Config, arguments: argparse.Namespace) -> Order:
    from metaport.migration.endpoint import read_endpoint
    from metaport.migration.plan import Order
    from metaport.migration.rules import load_rules
    from metaport.secret_files import kept_bytes

    rules = load_rules(arguments.rules)
    path = arguments.mask_key or config.secrets_dir / "mask.key"
    key = kept_bytes(path) if rules.mask or path.exists() else b""
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
    from metaport.migration.errors import Interrupted, Unreachable
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
    except Unreachable:
        raise
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


def _backup(config: Config, arguments: argparse.Namespace) -> int:
    return _answered(arguments.lang, lambda: asyncio.run(_backing_up(config, arguments)))


async def _backing_up(config: Config, arguments: argparse.Namespace) -> int:
    from metaport.migration.backup import back_up, named_by_time
    from metaport.migration.endpoint import OWN, read_endpoint
    from metaport.migration.progress import Progress

    lang: Lang = arguments.lang
    path: Path = arguments.file
    older: list[Path] = []
    if path.is_dir():
        path, older = named_by_time(path, max(1, arguments.keep))
    source = read_endpoint(OWN, config.database_url)
    made = await back_up(source, config.data.dir, path, _passphrase(arguments), Progress(lang))
    for old in older:
        old.unlink()
    print(
        Say(
            f"{made.path}: {made.rows:,}행, 파일 {made.files:,}개, {made.size_bytes:,}바이트. "
            f"시험 삼아 되살려 비교했습니다: PASS (오래된 백업 {len(older)}개 삭제)",
            f"{made.path}: {made.rows:,} rows, {made.files:,} files, {made.size_bytes:,} bytes. "
            f"Restored into a scratch database and compared: PASS ({len(older)} old ones deleted)",
        ).to(lang)
    )
    return DONE


def _passphrase(arguments: argparse.Namespace) -> bytes:
    from metaport.migration.errors import Misused

    path: Path = arguments.passphrase_file
    try:
        passphrase = path.read_bytes().strip()
    except OSError as error:
        raise Misused(f"{path}: {error.strerror}", f"{path}: {error.strerror}") from error
    if len(passphrase) < LEAST_PASSPHRASE:
        raise Misused(
            f"{path}: 암호가 {LEAST_PASSPHRASE}바이트보다 짧습니다",
            f"{path}: the passphrase has fewer than {LEAST_PASSPHRASE} bytes",
        )
    return passphrase


def _restore(config: Config, arguments: argparse.Namespace) -> int:
    return _answered(arguments.lang, lambda: asyncio.run(_restoring(config, arguments)))


async def _restoring(config: Config, arguments: argparse.Namespace) -> int:
    import tempfile

    from metaport.migration.backup import rehearse, restore
    from metaport.migration.endpoint import OWN, read_endpoint
    from metaport.migration.progress import Progress

    lang: Lang = arguments.lang
    target = read_endpoint(arguments.target, config.database_url)
    passphrase = _passphrase(arguments)
    if arguments.rehearse:
        onto = None if arguments.target == OWN else target
        with tempfile.TemporaryDirectory(prefix="metaport-") as scratch:
            found = await rehearse(arguments.file, passphrase, Path(scratch), Progress(lang), onto)
    else:
        found = await restore(
            arguments.file, passphrase, target, config.data.dir, Progress(lang),
            overwrite=arguments.overwrite,
        )  # fmt: skip
    verdict = "PASS" if found.passed else "FAIL"
    rows = sum(one.target.rows for one in found.tables)
    print(
        Say(
            f"{found.target}: {rows:,}행을 되살려 백업과 비교했습니다: {verdict}",
            f"{found.target}: {rows:,} rows restored and compared with the backup: {verdict}",
        ).to(lang)
    )
    return DONE if found.passed else WRONG
