import json
import stat
from pathlib import Path

import pytest

from metaport import admin


def test_the_password_is_told_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    password = admin.create(tmp_path)
    assert password is not None
    assert admin.create(tmp_path) is None
    file = tmp_path / "admin.json"
    assert password not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_user_and_password_must_both_be_right(tmp_path: Path) -> None:
    password = admin.create(tmp_path)
    assert password is not None
    assert admin.check(tmp_path, "admin", password)
    assert not admin.check(tmp_path, "admin", password + "x")
    assert not admin.check(tmp_path, "관리자", password)
    assert not admin.check(tmp_path, "admin", "")
    assert not admin.check(tmp_path, "admin", "\ud800")
    assert not admin.check(tmp_path, "\ud800", password)


def test_nobody_signs_in_before_there_is_an_account(tmp_path: Path) -> None:
    assert not admin.check(tmp_path, "admin", "")


def test_a_reset_ends_the_old_password(tmp_path: Path) -> None:
    old = admin.create(tmp_path)
    assert old is not None
    new = admin.reset(tmp_path)
    assert admin.check(tmp_path, "admin", new)
    assert not admin.check(tmp_path, "admin", old)


def test_passwords_are_readable_aloud_and_differ(tmp_path: Path) -> None:
    first, second = admin.reset(tmp_path), admin.reset(tmp_path)
    assert first != second
    assert [len(group) for group in first.split("-")] == [4, 4, 4, 4]
    assert not set(first) & set("lo01")


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"hash": 1, "salt": 2})])
def test_a_damaged_account_is_an_error_and_no_way_in(tmp_path: Path, content: str) -> None:
    (tmp_path / "admin.json").write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
        admin.check(tmp_path, "admin", "")


def test_a_hash_of_before_still_opens_and_is_made_anew_at_sign_in(tmp_path: Path) -> None:
    import hashlib

    digest = hashlib.scrypt(b"old-password", salt=b"s" * 16, n=2**12, r=8, p=1)
    old = {"user": "admin", "n": 2**12, "r": 8, "p": 1, "salt": (b"s" * 16).hex()}
    file = tmp_path / "admin.json"
    file.write_text(json.dumps(old | {"hash": digest.hex()}))
    assert not admin.check(tmp_path, "admin", "wrong-password")
    assert json.loads(file.read_text())["n"] == 2**12
    assert admin.check(tmp_path, "admin", "old-password")
    assert json.loads(file.read_text())["hash"].startswith("$argon2id$")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert admin.check(tmp_path, "admin", "old-password")
    assert not admin.check(tmp_path, "admin", "wrong-password")
