import stat
import threading
from pathlib import Path

import pytest

from metaport.secret_files import signing_secret, write_secret


def test_the_secret_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    secret = signing_secret(None, tmp_path / "secrets")
    assert len(secret) >= 32
    assert signing_secret(None, tmp_path / "secrets") == secret
    [file] = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_configured_secret_touches_no_disk(tmp_path: Path) -> None:
    assert signing_secret("x" * 32, tmp_path / "none") == "x" * 32
    assert not (tmp_path / "none").exists()


def test_an_empty_key_file_is_not_a_secret(tmp_path: Path) -> None:
    """Anyone could sign with an empty key."""
    (tmp_path / "token.key").write_text("\n")
    with pytest.raises(ValueError, match=r"token.key holds fewer than 32 bytes"):
        signing_secret(None, tmp_path)


def test_processes_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        found.append(signing_secret(None, tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["token.key"]


def test_a_secret_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    assert write_secret(tmp_path / "s", "first")
    assert not write_secret(tmp_path / "s", "second")
    assert (tmp_path / "s").read_text() == "first"
    assert write_secret(tmp_path / "s", "third", replace=True)
    assert (tmp_path / "s").read_text() == "third"
