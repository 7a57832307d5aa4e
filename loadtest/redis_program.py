"""Which server program stands for Redis: `REDIS_SERVER` names one, else whichever is installed."""

import os
import shutil


def redis_program() -> str | None:
    """Return the path of redis-server or valkey-server, None where there is neither.

    `REDIS_SERVER` is a path or a name on PATH: so what is tested on Redis is tested on Valkey.
    """
    named = os.environ.get("REDIS_SERVER")
    if named:
        return shutil.which(named)
    return shutil.which("redis-server") or shutil.which("valkey-server")
