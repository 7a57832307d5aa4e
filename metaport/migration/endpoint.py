"""A database as a person names it: by URL, by a variable or file that holds one, or the own one."""

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from metaport.migration.errors import Misused

OWN = "own"


class Engine(enum.StrEnum):
    """What can be copied from; MySQL is never copied to."""

    POSTGRESQL = "PostgreSQL"
    SQLITE = "SQLite"
    MYSQL = "MySQL"


_ENGINES = {
    "postgresql": Engine.POSTGRESQL,
    "postgres": Engine.POSTGRESQL,
    "sqlite": Engine.SQLITE,
    "mysql": Engine.MYSQL,
    "mariadb": Engine.MYSQL,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A database that is copied from or to."""

    engine: Engine
    url: URL

    @property
    def shown(self) -> str:
        """The URL without its password, for a person to read."""
        return unquote(self.url.render_as_string(hide_password=True))

    @property
    def name(self) -> str:
        """The database's own name; of SQLite the file's."""
        database = self.url.database or ""
        return Path(database).name if self.engine is Engine.SQLITE else database

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self.url.database or "")

    @property
    def dsn(self) -> str:
        """The URL as PostgreSQL's own programs read it, password included."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)


def read_endpoint(stated: str, own_url: str) -> Endpoint:
    """Read what names a database: a URL, `env:NAME`, `file:PATH`, or `own` for the configured one.

    A URL with a password does not belong on a command line, which others can read. Raises Misused.
    """
    text = own_url if stated == OWN else _looked_up(stated)
    try:
        url = make_url(text)
    except ArgumentError:
        raise Misused(
            f"데이터베이스 URL을 읽을 수 없습니다: {stated!r}", f"no URL of a database: {stated!r}"
        ) from None
    engine = _ENGINES.get(url.get_backend_name())
    if engine is None:
        raise Misused(
            f"{url.get_backend_name()}은(는) 다룰 수 없습니다: postgresql, sqlite, mysql만 됩니다",
            f"{url.get_backend_name()} is none of postgresql, sqlite, mysql",
        )
    if not url.database or url.database == ":memory:":
        raise Misused(
            f"데이터베이스의 이름이 빠졌습니다: {stated!r}", f"names no database: {stated!r}"
        )
    return Endpoint(engine, url)


def _looked_up(stated: str) -> str:
    where, _, name = stated.partition(":")
    if where == "env":
        if name not in os.environ:
            raise Misused(f"환경 변수 {name}이(가) 없습니다", f"no environment variable {name}")
        return os.environ[name]
    if where == "file":
        try:
            return Path(name).read_text("utf-8").strip()
        except OSError as error:
            raise Misused(f"{name}: {error.strerror}", f"{name}: {error.strerror}") from error
    return stated
