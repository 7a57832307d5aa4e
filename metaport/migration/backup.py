"""Back an installation up into one sealed file, and restore it, on either database.

1. The database is copied, in one snapshot, into a SQLite file: the same copy that a move makes.
2. That file, and everything in the data directory that is not written anew by a running server
   (signing keys, certificates, media), go as a tar stream into a `sealed_file`.
3. The backup is opened again and rehearsed: restored into a scratch database, and verified.
4. It takes its name only then: a file of that name is whole.

Restoring goes the same way back: opened and read to its end before anything is written, copied,
verified, and only then the files put in place. **A target with anything in it is refused.**
"""

# ruff: noqa: ASYNC240 - a command at the terminal, alone in its loop

import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from metaport import __version__
from metaport.db.engine import sqlite_url
from metaport.migration.copying import copy
from metaport.migration.differences import Verification
from metaport.migration.endpoint import Endpoint, read_endpoint
from metaport.migration.errors import BackupRefused, MigrationError, Misused
from metaport.migration.plan import Order
from metaport.migration.progress import Progress
from metaport.migration.rejects import RejectFile
from metaport.migration.sealed_file import Opener, Sealer
from metaport.migration.verification import verify

SUFFIX = ".backup"
STALE_S = 86_400
DATABASE, MANIFEST, FILES = "database.sqlite", "manifest.json", "files"
# Of a running server: its logs are followed into the database, its sockets and locks are its own.
VOLATILE = ("log", "run", "attendance", "metaport.db", "metaport.db-wal", "metaport.db-shm")


@dataclass(frozen=True)
class Made:
    """A backup that has been rehearsed."""

    path: Path
    size_bytes: int
    rows: int
    files: int
    rehearsed: Verification


async def back_up(
    source: Endpoint, data_dir: Path, path: Path, passphrase: bytes, progress: Progress
) -> Made:
    """Write a backup to a file that is not there yet. Raises MigrationError, OSError."""
    if path.exists():
        raise Misused(f"{path}이(가) 이미 있습니다", f"{path} exists")
    part = path.with_name(path.name + ".part")
    with _scratch(path.absolute().parent) as scratch:
        snapshot = scratch / DATABASE
        order = Order(source, _sqlite(snapshot))
        outcome = await copy(order, progress, RejectFile(scratch / "rejects"), max_rejects=0)
        rows = sum(outcome.rows.values())
        manifest: dict[str, object] = {
            "program": f"metaport {__version__}",
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": source.shown,
            "revision": outcome.plan.ours,
            "rows": outcome.rows,
        }
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                sealer = Sealer(file, passphrase)
                count = _pack(sealer, manifest, snapshot, data_dir)
                sealer.close()
            snapshot.unlink()
            rehearsed = await rehearse(part, passphrase, scratch, progress)
            if not rehearsed.passed:
                raise BackupRefused(
                    "백업을 되살려 보니 원래와 다릅니다", "restored, the backup is not the same"
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return Made(path, path.stat().st_size, rows, count, rehearsed)


def _pack(sealer: Sealer, manifest: dict[str, object], snapshot: Path, data_dir: Path) -> int:
    """Write the tar stream; return how many files of the data directory went in."""
    count = 0
    with tarfile.open(fileobj=sealer, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        told = snapshot.with_name(MANIFEST)
        told.write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
        tar.add(told, MANIFEST)
        tar.add(snapshot, DATABASE)
        for found in sorted(data_dir.rglob("*")):
            inside = found.relative_to(data_dir)
            if _goes_in(inside) and found.is_file() and not found.is_symlink():
                tar.add(found, f"{FILES}/{inside.as_posix()}")
                count += 1
    return count


def _goes_in(inside: Path) -> bool:
    """Leave out what a running server writes anew, other backups, and what is being made."""
    hidden = any(part.startswith(".metaport-") for part in inside.parts)
    return inside.parts[0] not in VOLATILE and inside.suffix not in (SUFFIX, ".part") and not hidden


def unpack(path: Path, passphrase: bytes, into: Path) -> dict[str, object]:
    """Open a backup to its end into a directory; return its manifest.

    Raises BackupRefused, whatever is wrong with it.
    """
    try:
        with path.open("rb") as file:
            opener = Opener(file, passphrase, str(path))
            with tarfile.open(fileobj=opener, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    if member.isreg():
                        tar.extract(member, into, filter="data")
            opener.read()
        manifest: dict[str, object] = json.loads((into / MANIFEST).read_text("utf-8"))
        if not (into / DATABASE).is_file():
            raise ValueError(DATABASE)
    except (tarfile.TarError, ValueError, KeyError, FileNotFoundError) as error:
        if not path.exists():
            raise BackupRefused(f"{path}이(가) 없습니다", f"there is no {path}") from error
        raise BackupRefused(
            f"{path}: 파일이 손상되었습니다: {error}", f"{path} is damaged: {error}"
        ) from error
    return manifest


async def rehearse(
    path: Path, passphrase: bytes, scratch: Path, progress: Progress, onto: Endpoint | None = None
) -> Verification:
    """Restore a backup into a scratch database, empty or none, and compare it with the backup."""
    opened = scratch / "opened"
    opened.mkdir()
    try:
        unpack(path, passphrase, opened)
        source = _sqlite(opened / DATABASE)
        order = Order(source, onto or _sqlite(scratch / "rehearsed.sqlite"))
        await copy(order, progress, RejectFile(scratch / "rejects"), max_rejects=0)
        return await verify(order, progress)
    finally:
        shutil.rmtree(opened)


async def restore(
    path: Path, passphrase: bytes, target: Endpoint, data_dir: Path, progress: Progress,
    *, overwrite: str = "",
) -> Verification:  # fmt: skip
    """Restore a backup into an empty database and data directory; return the comparison.

    Raises MigrationError; nothing is written before the whole backup has been read.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _scratch(data_dir) as scratch:
        unpack(path, passphrase, scratch)
        files = sorted(found for found in (scratch / FILES).rglob("*") if found.is_file())
        in_the_way = [
            place
            for file in files
            if (place := data_dir / file.relative_to(scratch / FILES)).exists()
            and place.read_bytes() != file.read_bytes()
        ]
        if in_the_way and not overwrite:
            names = ", ".join(str(place) for place in in_the_way[:5])
            raise Misused(
                f"다른 내용의 파일이 이미 있습니다: {names}; 바꾸려면 --overwrite {target.name}",
                f"files with other content exist: {names}; --overwrite {target.name} replaces them",
            )
        order = Order(_sqlite(scratch / DATABASE), target, overwrite=overwrite)
        await copy(order, progress, RejectFile(data_dir / "rejects.jsonl"), max_rejects=0)
        found = await verify(order, progress)
        if not found.passed:
            raise MigrationError(
                "되살린 데이터베이스가 백업과 다릅니다", "the database restored is not the backup's"
            )
        for file in files:
            place = data_dir / file.relative_to(scratch / FILES)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.chmod(0o600)
            file.replace(place)
    return found


def named_by_time(directory: Path, keep: int) -> tuple[Path, list[Path]]:
    """Return the name of a backup made now, and which older ones go once it is there."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    older = sorted(directory.glob(f"metaport-*{SUFFIX}"))
    return directory / f"metaport-{stamp}{SUFFIX}", older[: max(0, len(older) - keep + 1)]


def _sqlite(path: Path) -> Endpoint:
    return read_endpoint(sqlite_url(path), "")


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """Make a directory for its owner alone, on the same disk, and take it away.

    One that a kill left behind, with a database in it, goes a day later.
    """
    for left in beside.glob(".metaport-*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".metaport-", dir=beside) as directory:
        yield Path(directory)
