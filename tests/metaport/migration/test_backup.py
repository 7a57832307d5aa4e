"""A backup is whole or has no name, opens only with its passphrase, and says what is wrong."""

# ruff: noqa: ASYNC240 - a test is alone in its loop

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from metaport.db.engine import open_engine, sqlite_url
from metaport.migration.backup import back_up, named_by_time, rehearse, restore
from metaport.migration.endpoint import Endpoint
from metaport.migration.errors import BackupRefused, Interrupted, Misused
from metaport.migration.progress import Progress
from metaport.migration.sealed_file import PIECE_BYTES, Opener, Sealer
from tests.metaport.migration.databases import endpoint, run
from tests.metaport.migration.test_sqlite import filled, rows_of

PASSPHRASE = b"correct horse battery"


def progress() -> Progress:
    return Progress("en", io.StringIO())


async def installed(data: Path) -> Endpoint:
    """Make a data directory with rows, keys and a media file."""
    data.mkdir()
    url = await filled(data / "metaport.db")
    for name, content in {
        "secrets/token.key": b"k" * 64, "media/a b/그림.png": b"\x89PNG" * 50_000,
        "log/hub/1": b"volatile",
    }.items():  # fmt: skip
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    return endpoint(url)


async def test_an_installation_is_restored_on_the_other_database(
    postgres_url: str, tmp_path: Path
) -> None:
    source = await installed(tmp_path / "data")
    path = tmp_path / "one.backup"
    left = tmp_path / ".metaport-killed"  # of a backup that was killed two days ago
    left.mkdir()
    os.utime(left, (time.time() - 172_800,) * 2)
    made = await back_up(source, tmp_path / "data", path, PASSPHRASE, progress())
    assert made.rehearsed.passed
    assert made.files == 2
    assert path.stat().st_mode & 0o077 == 0
    assert b"k" * 16 not in path.read_bytes()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["data", "one.backup"]
    found = await restore(path, PASSPHRASE, endpoint(postgres_url), tmp_path / "new", progress())
    assert found.passed
    assert await rows_of(postgres_url) == await rows_of(sqlite_url(tmp_path / "data/metaport.db"))
    key = tmp_path / "new/secrets/token.key"
    assert key.read_bytes() == b"k" * 64
    assert key.stat().st_mode & 0o077 == 0
    assert (tmp_path / "new/media/a b/그림.png").read_bytes() == b"\x89PNG" * 50_000
    assert not (tmp_path / "new/log").exists()
    await (await open_engine(postgres_url)).dispose()
    # And from PostgreSQL into an embedded installation.
    back = tmp_path / "two.backup"
    await back_up(endpoint(postgres_url), tmp_path / "new", back, PASSPHRASE, progress())
    embedded = endpoint(sqlite_url(tmp_path / "third/metaport.db"))
    await restore(back, PASSPHRASE, embedded, tmp_path / "third", progress())
    assert await rows_of(sqlite_url(tmp_path / "third/metaport.db")) == await rows_of(postgres_url)


async def test_a_target_with_something_in_it_is_refused(postgres_url: str, tmp_path: Path) -> None:
    source = await installed(tmp_path / "data")
    path = tmp_path / "one.backup"
    await back_up(source, tmp_path / "data", path, PASSPHRASE, progress())
    await run(postgres_url, "CREATE TABLE precious (id int); INSERT INTO precious VALUES (1)")
    with pytest.raises(Misused, match="not empty"):
        await restore(path, PASSPHRASE, endpoint(postgres_url), tmp_path / "new", progress())
    assert not (tmp_path / "new/secrets").exists()
    with pytest.raises(Misused, match="exists"):
        await restore(path, PASSPHRASE, source, tmp_path / "new", progress())
    (tmp_path / "other/secrets").mkdir(parents=True)
    (tmp_path / "other/secrets/token.key").write_bytes(b"another")
    free = endpoint(sqlite_url(tmp_path / "other/metaport.db"))
    with pytest.raises(Misused, match="other content"):
        await restore(path, PASSPHRASE, free, tmp_path / "other", progress())
    assert (tmp_path / "other/secrets/token.key").read_bytes() == b"another"


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda data: data[:-20], "is cut short"),
        (lambda data: data[: 3 * PIECE_BYTES], "is cut short"),
        (lambda data: data[:30], "is damaged"),
        (lambda data: b"", "is no backup"),
        (lambda data: b"METAPORT-BACKUP-9\n" + data[18:], "is no backup"),
        (lambda data: data[:100_000] + bytes([data[100_000] ^ 1]) + data[100_001:], "is damaged"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "cut short, or damaged at its end"),
        (lambda data: data + b"more", "damaged"),
    ],
)
async def test_one_sentence_says_what_is_wrong(tmp_path: Path, harm: object, sentence: str) -> None:
    path = tmp_path / "harmed"
    with (tmp_path / "whole").open("wb") as file:
        sealer = Sealer(file, PASSPHRASE)
        (tmp_path / "content").write_bytes(b"x" * 200_000)
        with tarfile.open(fileobj=sealer, mode="w|") as tar:  # type: ignore[call-overload]
            tar.add(tmp_path / "content", "database.sqlite")
        sealer.close()
    path.write_bytes(harm((tmp_path / "whole").read_bytes()))  # type: ignore[operator]
    target = endpoint(sqlite_url(tmp_path / "new/metaport.db"))
    with pytest.raises(BackupRefused, match=sentence):
        await restore(path, PASSPHRASE, target, tmp_path / "new", progress())
    assert list((tmp_path / "new").iterdir()) == []


def test_pieces_cannot_be_left_out_moved_or_repeated(tmp_path: Path) -> None:
    with (tmp_path / "whole").open("wb") as file:
        sealer = Sealer(file, PASSPHRASE)
        sealer.write(bytes(range(256)) * 1_000)
        sealer.close()
    whole = (tmp_path / "whole").read_bytes()
    opener = Opener(io.BytesIO(whole), PASSPHRASE, "whole")
    assert opener.read(10) + opener.read() == bytes(range(256)) * 1_000
    start = whole.index(b"\n", 18) + 1
    size = PIECE_BYTES + 16
    pieces = [whole[at : at + size] for at in range(start, len(whole), size)]
    for order in ([1, 0, 2, 3], [0, 2, 3], [0, 0, 1, 2, 3], [0, 1, 2]):
        body = b"".join(pieces[n] for n in order)
        with pytest.raises(BackupRefused):
            Opener(io.BytesIO(whole[:start] + body), PASSPHRASE, "cut").read()


async def test_another_passphrase_is_told_as_such(tmp_path: Path) -> None:
    with (tmp_path / "b").open("wb") as file:
        Sealer(file, PASSPHRASE).close()
    with pytest.raises(BackupRefused, match="another passphrase"):
        await rehearse(tmp_path / "b", b"wrong wrong wrong", tmp_path, progress())


async def test_a_database_that_is_away_leaves_no_file(tmp_path: Path) -> None:
    away = endpoint("postgresql://nobody@127.0.0.1:1/none")
    (tmp_path / "data").mkdir()
    with pytest.raises(Interrupted):
        await back_up(away, tmp_path / "data", tmp_path / "x.backup", PASSPHRASE, progress())
    assert [found.name for found in tmp_path.iterdir()] == ["data"]


def test_as_many_backups_stay_as_are_asked_for(tmp_path: Path) -> None:
    for day in range(1, 6):
        (tmp_path / f"metaport-2026110{day}T000000Z.backup").touch()
    path, older = named_by_time(tmp_path, 3)
    assert path.parent == tmp_path
    assert [found.name[9:17] for found in older] == ["20261101", "20261102", "20261103"]
