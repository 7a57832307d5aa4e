"""`metaport db`: what an operator asks of the schema, at the terminal."""

import sys
from collections.abc import Callable

from sqlalchemy import Connection

from metaport.config import Config
from metaport.db.engine import connect, reaching
from metaport.db.errors import DatabaseError, SchemaMismatch
from metaport.db.migrate import downgrade as take_back
from metaport.db.migrate import upgrade as bring_forward
from metaport.db.revisions import found, known
from metaport.language import Lang, Say

DONE, WRONG, MISUSED = 0, 1, 2
_NOTHING = Say("없음", "none")


async def print_status(config: Config, lang: Lang) -> int:
    """Print the revision of the database and the steps it lacks; 1 where it lacks some."""
    return await _run(config, lang, lambda connection: _status(connection, lang))


async def upgrade(config: Config, revision: str | None, lang: Lang) -> int:
    """Bring the schema forward, and say from where to where; return the exit code."""
    return await _run(config, lang, lambda c: _moved(bring_forward(c, revision), c, lang))


async def downgrade(config: Config, revision: str, lang: Lang) -> int:
    """Take the schema back, and say from where to where; return the exit code."""
    return await _run(config, lang, lambda c: _moved(take_back(c, revision), c, lang))


async def _run(config: Config, lang: Lang, work: Callable[[Connection], int]) -> int:
    try:
        engine = connect(config.database_url)
        try:
            async with reaching(engine), engine.connect() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()
    except SchemaMismatch as error:
        print(f"metaport: {error.say.to(lang)}", file=sys.stderr)
    except DatabaseError as error:
        print(f"metaport: {error}", file=sys.stderr)
    return MISUSED


def _status(connection: Connection, lang: Lang) -> int:
    was = found(connection)
    print(Say("스키마", "schema").to(lang), was or _NOTHING.to(lang))
    lacking = known()[known().index(was) + 1 :] if was else known()
    if not lacking:
        print(Say("최신입니다.", "It is up to date.").to(lang))
        return DONE
    print(Say("남은 단계 (metaport db upgrade):", "Steps to come (metaport db upgrade):").to(lang))
    for revision in lacking:
        print(f"  {revision}")
    return WRONG


def _moved(was: str | None, connection: Connection, lang: Lang) -> int:
    now = found(connection)
    nothing = _NOTHING.to(lang)
    if was == now:
        print(Say("스키마가 이미 그 개정입니다:", "The schema is there already:").to(lang), now)
    else:
        print(Say("스키마", "schema").to(lang), was or nothing, "→", now or nothing)
    return DONE
