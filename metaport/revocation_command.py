"""`metaport token revoke`: into the database, where every hub looks within a second."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metaport.config import Config
from metaport.db.engine import connect
from metaport.db.errors import DatabaseError
from metaport.db.revocations import SqlRevocations
from metaport.language import Lang, Say
from metaport.preflight import unkept
from metaport.revocation import Revocation, of_token, of_token_id, of_user
from metaport.signers import Signers
from metaport.tokens import TokenError

DONE, WRONG, MISUSED = 0, 1, 2


class Named(NamedTuple):
    """What is to be void: exactly one of `user` (from `before` on), `token_id` and `token`."""

    user: str | None
    token_id: str | None
    token: str | None
    before: str | None


async def revoke(config: Config, lang: Lang, named: Named) -> int:
    """Take back what was named; return the exit code."""
    now = time.time()
    try:
        revocation = await _meant(config, named, now)
    except OSError as error:
        return _complain(unkept(config, error).to(lang), MISUSED)
    except (TokenError, ValueError) as error:
        return _complain(str(error), MISUSED)
    engine = connect(config.database_url)
    try:
        await SqlRevocations(engine).add([revocation], now)
    except DatabaseError as error:
        return _complain(str(error), WRONG)
    finally:
        await engine.dispose()
    until = datetime.fromtimestamp(revocation.until_s, ZoneInfo(config.usage.zone))
    print(
        Say(
            f"{revocation.subject}: 취소했습니다. 모든 허브가 1초 안에 적용합니다 "
            f"(기록 보관: {until:%Y-%m-%d})",
            f"{revocation.subject}: revoked; every hub follows within a second "
            f"(kept until {until:%Y-%m-%d})",
        ).to(lang)
    )
    return DONE


async def _meant(config: Config, named: Named, now: float) -> Revocation:
    if named.before is not None and named.user is None:
        raise ValueError("--before goes with --user")
    if named.user is not None:
        before_s = now if named.before is None else _moment(named.before, config.usage.zone)
        if before_s > now:
            raise ValueError("--before is in the future")
        return of_user(named.user, before_s, now)
    if named.token_id is not None:
        return of_token_id(named.token_id, now)
    signers = Signers(config)
    await signers.start()
    return of_token(signers.tokens.inspect(named.token or "", now), now)


def _moment(written: str, zone: str) -> float:
    """Read an ISO 8601 time, of the configured zone where it names none."""
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment.timestamp()


def _complain(sentence: str, code: int) -> int:
    print(f"metaport: {sentence}", file=sys.stderr)
    return code
