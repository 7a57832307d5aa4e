"""The first admin's account: one user, one password, kept as an scrypt hash (RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from metaport.tokens import write_secret

USER = "admin"
ACCOUNT_FILE = "admin.json"
# OWASP's floor for scrypt; 32 MiB and about 0.1 s a try.
_N, _R, _P = 2**15, 8, 3
_MEMORY_BYTES = 128 * _N * _R * 2


def create(secrets_dir: Path) -> str | None:
    """Make the account and return its password; `None` when there is one already.

    Raises `OSError`.
    """
    if (secrets_dir / ACCOUNT_FILE).exists():
        return None
    password = _password()
    made = write_secret(secrets_dir / ACCOUNT_FILE, _account(password))
    return password if made else None


def reset(secrets_dir: Path) -> str:
    """Give the account a new password and return it. Raises `OSError`."""
    password = _password()
    write_secret(secrets_dir / ACCOUNT_FILE, _account(password), replace=True)
    return password


def check(secrets_dir: Path, user: str, password: str) -> bool:
    """Tell whether user and password are the admin's; takes about 0.1 s whatever the answer.

    Raises `OSError` and `ValueError` when the account's file cannot be read.
    """
    account = json.loads((secrets_dir / ACCOUNT_FILE).read_text("utf-8"))
    expected = bytes.fromhex(account["hash"])
    given = _hash(
        password, bytes.fromhex(account["salt"]), account["n"], account["r"], account["p"]
    )
    known = hmac.compare_digest(user.encode(), account["user"].encode())
    return hmac.compare_digest(given, expected) and known


def _account(password: str) -> str:
    salt = secrets.token_bytes(16)
    digest = _hash(password, salt, _N, _R, _P)
    account = {"user": USER, "n": _N, "r": _R, "p": _P, "salt": salt.hex(), "hash": digest.hex()}
    return json.dumps(account) + "\n"


def _hash(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES)


def _password() -> str:
    """Return 80 random bits in four groups without look-alike characters, to be read aloud."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    letters = "".join(secrets.choice(alphabet) for _ in range(16))
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))
