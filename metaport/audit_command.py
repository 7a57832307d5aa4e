"""`metaport audit`: what the log says, and whether it is whole."""

import csv
import getpass
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from metaport.audit import Batch, Entry, Sealer
from metaport.audit_spool import AuditSpool
from metaport.audit_writer import ANCHOR, read_anchor
from metaport.config import Config
from metaport.db.audit import Filter, SqlAudit
from metaport.db.engine import connect
from metaport.db.errors import DatabaseError
from metaport.language import Lang, Say
from metaport.secret_files import api_key

WHOLE, BROKEN, MISUSED = 0, 1, 2


async def verify(config: Config, expected: str | None, lang: Lang) -> int:
    """Recompute the chain and say what is wrong with it; 0 where it is whole."""
    try:
        anchor = _anchor(config, expected)
        sealer = Sealer(api_key(config.secrets_dir))
    except (OSError, ValueError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return MISUSED
    engine = connect(config.database_url)
    try:
        checked = await SqlAudit(engine).verify(sealer, time.time(), anchor)
    except DatabaseError as error:
        print(f"metaport: {error}", file=sys.stderr)
        return MISUSED
    finally:
        await engine.dispose()
    last = checked.last
    head = "-" if last is None else f"{last.number}:{last.seal.hex()}"
    seen = Say("기록 {rows}건, 봉인 전 {unsealed}건", "{rows} rows, {unsealed} not sealed yet")
    print(seen.to(lang).format(rows=checked.rows, unsealed=checked.unsealed))
    print(Say("마지막 봉인", "Last seal").to(lang), head)
    for fault in checked.faults:
        print(Say("손상: ", "BROKEN: ").to(lang) + fault.say.to(lang))
    if checked.faults:
        return BROKEN
    print(Say("감사 기록이 온전합니다.", "The audit log is whole.").to(lang))
    return WHOLE


def _anchor(config: Config, expected: str | None) -> Batch | None:
    """Return the seal a person has noted, else the one kept beside the database, if there is."""
    path = config.data.dir / ANCHOR
    said = expected or (path.read_text("utf-8") if path.exists() else None)
    return None if said is None else read_anchor(said)


async def show(config: Config, wanted: Filter, limit: int, form: str) -> int:
    """Print entries, the newest first, as lines, JSON or CSV; times are UTC."""
    engine = connect(config.database_url)
    try:
        entries = [entry for _, entry in await SqlAudit(engine).page(wanted, limit)]
    except DatabaseError as error:
        print(f"metaport: {error}", file=sys.stderr)
        return MISUSED
    finally:
        await engine.dispose()
    if form == "json":
        print(json.dumps([_told(entry) for entry in entries], ensure_ascii=False, indent=1))
    elif form == "csv":
        rows = csv.writer(sys.stdout)
        rows.writerow(Entry._fields[1:])
        # A sheet would run what begins so.
        rows.writerows(
            ["'" + cell if cell[:1] in "=+-@\t\r" else cell for cell in _told(entry).values()]
            for entry in entries
        )
    else:
        for entry in entries:
            print("  ".join(cell for cell in _told(entry).values() if cell))
    return WHOLE


def _told(entry: Entry) -> dict[str, str]:
    at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    told = {name: str(value) for name, value in entry._asdict().items() if name != "id"}
    return told | {"at_ms": at.replace("+00:00", "Z")}


# What of a command is told; never a token or a secret.
_TOLD = (
    "user", "name", "role", "room", "ttl", "revoked_user", "id", "before", "drop_former", "month",
    "meter", "quantity", "reason", "by", "day", "as_is", "revision", "file",
)  # fmt: skip


def note(data_dir: Path, action: str, given: Mapping[str, object], code: int) -> None:
    """Write down what a command has done, on disk. Raises `OSError`."""
    told = {name: given[name] for name in _TOLD if given.get(name)}
    came_from = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    AuditSpool(data_dir).append(
        [
            Entry(
                id=secrets.token_hex(12),
                at_ms=int(time.time() * 1000),
                actor=getpass.getuser(),
                address=came_from or "local",
                via="cli",
                action=action,
                object=json.dumps(told, ensure_ascii=False, default=str) if told else "",
                whose="",
                personal="",
                result=str(code),
                request_id="",
            )
        ]
    )
