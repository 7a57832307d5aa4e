"""What the database layer raises.

DatabaseError
├── DatabaseUnavailable   cannot be reached or opened
└── SchemaTooNew          written by a later version of this program
"""


class DatabaseError(Exception):
    """Base of everything the database layer raises on purpose."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached or opened."""


class SchemaTooNew(DatabaseError):
    """The database was written by a later version of this program."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the database has schema version {found}, this program knows up to {known}"
        )
        self.found = found
        self.known = known
