"""The first admin's account: one user, one password, kept as an scrypt hash (RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from metaport.secret_files import write_secret

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

    Without an account nobody is. Raises `OSError` when its file cannot be read, `ValueError` when
    it is damaged.
    """
    try:
        account = json.loads((secrets_dir / ACCOUNT_FILE).read_text("utf-8"))
        expected, salt = bytes.fromhex(account["hash"]), bytes.fromhex(account["salt"])
        given = _hash(password, salt, account["n"], account["r"], account["p"])
        known = hmac.compare_digest(_bytes(user), _bytes(account["user"]))
    except FileNotFoundError:
        return False
    except (KeyError, TypeError) as error:
        raise ValueError(f"{ACCOUNT_FILE} is damaged") from error
    return hmac.compare_digest(given, expected) and known


def _account(password: str) -> str:
    salt = secrets.token_bytes(16)
    digest = _hash(password, salt, _N, _R, _P)
    account = {"user": USER, "n": _N, "r": _R, "p": _P, "salt": salt.hex(), "hash": digest.hex()}
    return json.dumps(account) + "\n"


def _hash(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_bytes(password), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _password() -> str:
    """Return 80 random bits in four groups without look-alike characters, to be read aloud."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    letters = "".join(secrets.choice(alphabet) for _ in range(16))
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))
