"""The first admin's account: one user, one password, kept as a hash (`metaport.passwords`)."""

from __future__ import annotations

import hmac
import json
import secrets
from pathlib import Path
from typing import Any

from metaport.passwords import hash_now, is_outdated, scrypt_hash, verify_now
from metaport.secret_files import write_secret

USER = "admin"
ACCOUNT_FILE = "admin.json"


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

    A hash of an earlier version is made anew. Without an account nobody is. Raises `OSError` when
    its file cannot be read, `ValueError` when it is damaged.
    """
    path = secrets_dir / ACCOUNT_FILE
    try:
        account = json.loads(path.read_text("utf-8"))
        known, name = _known(account), account["user"]
        same = hmac.compare_digest(_bytes(user), _bytes(name))
    except FileNotFoundError:
        return False
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{ACCOUNT_FILE} is damaged") from error
    right = verify_now(password, known) and same
    if right and is_outdated(known):
        write_secret(path, _account(password), replace=True)
    return right


def _known(account: dict[str, Any]) -> str:
    """Return the hash of an account; until 0.1 it was scrypt, in parts."""
    if "salt" not in account:
        return str(account["hash"])
    salt, digest = bytes.fromhex(account["salt"]), bytes.fromhex(account["hash"])
    return scrypt_hash(account["n"], account["r"], account["p"], salt, digest)


def _account(password: str) -> str:
    return json.dumps({"user": USER, "hash": hash_now(password)}) + "\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _password() -> str:
    """Return 80 random bits in four groups without look-alike characters, to be read aloud."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    letters = "".join(secrets.choice(alphabet) for _ in range(16))
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))
