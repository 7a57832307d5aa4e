"""What the database layer raises.

DatabaseError
├── DatabaseUnavailable   cannot be reached or opened
├── NoSuchRevision        asked for by name, and there is none or more than one
└── SchemaMismatch        start-up is refused; `say` names the command that helps
    ├── SchemaUnknown     of a revision this program does not know: a later program wrote it
    ├── SchemaBehind      of an earlier revision, and nobody has asked to upgrade it
    └── CopyUnfinished    a copy into it was interrupted: half of it is there
"""

from metaport.language import Say


class DatabaseError(Exception):
    """Base of everything the database layer raises on purpose."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached or opened."""


class NoSuchRevision(DatabaseError):
    """The revision asked for is none of this program's, or not one."""


class SchemaMismatch(DatabaseError):
    """The schema is not of the revision that this program needs."""

    def __init__(self, found: str, head: str, say: Say) -> None:
        super().__init__(say.en)
        self.found = found
        self.head = head
        self.say = say


class SchemaUnknown(SchemaMismatch):
    """The schema is of a revision that this program does not know."""

    def __init__(self, found: str, head: str) -> None:
        say = Say(
            f"데이터베이스의 스키마는 {found}인데 이 프로그램은 {head}까지만 압니다: 더 새로운 "
            f"프로그램을 쓰거나, 그것으로 `metaport db downgrade {head}`를 실행하세요",
            f"the database has schema {found}, this program knows up to {head}: start the later "
            f"program, or run its `metaport db downgrade {head}`",
        )
        super().__init__(found, head, say)


class SchemaBehind(SchemaMismatch):
    """The schema is of an earlier revision than this program needs."""

    def __init__(self, found: str, head: str) -> None:
        say = Say(
            f"데이터베이스의 스키마는 {found}인데 이 프로그램에는 {head}가 필요합니다: "
            "`metaport db upgrade`를 실행하세요",
            f"the database has schema {found}, this program needs {head}: "
            "run `metaport db upgrade`",
        )
        super().__init__(found, head, say)


class CopyUnfinished(SchemaMismatch):
    """A copy into this database was begun and not finished."""

    def __init__(self, head: str) -> None:
        say = Say(
            "이 데이터베이스로의 복사가 끝나지 않았습니다: `metaport db copy --resume`으로 "
            "이어서 하세요",
            "a copy into this database is unfinished: go on with `metaport db copy --resume`",
        )
        super().__init__("", head, say)
