"""Users in the ledger under other names: for those who need not know who it was, only how much.

The name is taken where it is counted, so that neither the log's counters nor the ledger hold it,
and for a whole boot at once: a total under two names would be counted twice.
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache

from metaport.config import Config
from metaport.secret_files import kept_bytes

USAGE_KEY = "usage.key"


def user_names(config: Config) -> Callable[[str], str]:
    """Return how a user is called in the ledger: as they are, or by a keyed hash.

    Raises:
        OSError, ValueError: the key in the secrets directory cannot be read or made.
    """
    if config.usage.users == "plain":
        return str
    return Pseudonyms(usage_key(config)).of


def usage_key(config: Config) -> bytes:
    """Return the key of hashed users and of closed months, made at first use.

    Raises:
        OSError, ValueError: it cannot be read or made.
    """
    return kept_bytes(config.secrets_dir / USAGE_KEY)


class Pseudonyms:
    """Names by HMAC-SHA-256: one for each user, and it tells nothing without the key."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"user", hashlib.sha256)
        self.of = lru_cache(maxsize=65_536)(self._of)

    def _of(self, user: str) -> str:
        """Return the name of a user in the ledger; nobody stays nobody."""
        if not user:
            return ""
        return "~" + hmac.digest(self._key, user.encode(), hashlib.sha256).hex()[:32]
