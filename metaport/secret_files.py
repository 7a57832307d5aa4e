"""Secrets on disk: made at first use, whole or not at all, readable by their owner only."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

TOKEN_KEY = "token.key"
WEBHOOK_KEY = "webhook.key"
API_KEY = "api.key"
APP_KEY = "app.key"
# A refresh token lives 30 days by default: with a rotation a month all hold to their end.
FORMER_KEPT = 3
SECRET_BYTES = 32  # RFC 7518 section 3.2: as many as the hash has


def signing_secret(configured: str | None, secrets_dir: Path) -> str:
    """Return the configured secret, or the one kept in `secrets_dir`, made at first use.

    The file is readable by its owner only. Raises `OSError`, `ValueError` when what it holds is no
    secret.
    """
    return signing_secrets(configured, (), secrets_dir)[0]


def signing_secrets(
    configured: str | None, former: Sequence[str], secrets_dir: Path
) -> tuple[str, ...]:
    """Return the secret that signs, then those that only verify: the file's other lines.

    Raises `OSError`, `ValueError`, as `signing_secret` does.
    """
    if configured is not None:
        return configured, *former
    path = secrets_dir / TOKEN_KEY
    if not path.exists():
        write_secret(path, _new_secret() + "\n")
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    if not lines or any(len(line.encode()) < SECRET_BYTES for line in lines):
        raise ValueError(
            f"{path} holds fewer than {SECRET_BYTES} bytes; remove it to get a new key"
        )
    return *lines, *former


def webhook_key(secrets_dir: Path) -> str:
    """Return the key that the secrets of webhooks derive from, made at first use.

    Raises `OSError`, `ValueError`.
    """
    return _kept_key(secrets_dir / WEBHOOK_KEY)


def api_key(secrets_dir: Path) -> str:
    """Return the key that cursors and kept answers of the API are sealed with, made at first use.

    Raises `OSError`, `ValueError`.
    """
    return _kept_key(secrets_dir / API_KEY)


def app_key(secrets_dir: Path) -> str:
    """Return the key that the secrets of apps derive from, made at first use.

    Machines on one database need the same file. Raises `OSError`, `ValueError`.
    """
    return _kept_key(secrets_dir / APP_KEY)


def _kept_key(path: Path) -> str:
    if not path.exists():
        write_secret(path, _new_secret() + "\n")
    key = path.read_text("utf-8").strip()
    if len(key.encode()) < SECRET_BYTES:
        raise ValueError(f"{path} holds fewer than {SECRET_BYTES} bytes")
    return key


def kept_bytes(path: Path) -> bytes:
    """Return the random key in a file of its own, made at first use.

    Raises `OSError`, `ValueError`.
    """
    if not path.exists():
        write_secret(path, secrets.token_hex(SECRET_BYTES) + "\n")
    key = bytes.fromhex(path.read_text("ascii").strip())
    if len(key) < SECRET_BYTES:
        raise ValueError(f"{path} holds fewer than {SECRET_BYTES} bytes")
    return key


def rotate_secret(secrets_dir: Path, *, keep: int) -> None:
    """Sign with a new secret from now on; the last `keep` still verify.

    Raises `OSError`, `ValueError`.
    """
    known = signing_secrets(None, (), secrets_dir)
    lines = [_new_secret(), *known[:keep]]
    write_secret(secrets_dir / TOKEN_KEY, "".join(f"{line}\n" for line in lines), replace=True)


def _new_secret() -> str:
    return secrets.token_urlsafe(48)


def write_secret(path: Path, content: str, *, replace: bool = False) -> bool:
    """Write a file of mode 0600 whole or not at all; return whether it is ours that stands.

    Without `replace` the first of several writers wins.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            part.replace(path)
            return True
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    return True
