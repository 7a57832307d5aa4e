"""What copying, verifying, backing up and restoring raise; each carries its sentence twice.

MigrationError          `say` is for the person at the terminal
├── Misused             what was asked cannot be: a URL, a rules file, a target that is not empty
├── Interrupted         a database went away; what is copied stays, and the copy can be resumed
│   └── Unreachable     it was not there in the first place
├── TooManyRejects      more rows than allowed were refused by the target
└── BackupRefused       a file that is no backup, damaged, cut short or under another key
"""

from metaport.language import Say


class MigrationError(Exception):
    """Base of everything raised on purpose here."""

    def __init__(self, ko: str, en: str) -> None:
        super().__init__(en)
        self.say = Say(ko, en)


class Misused(MigrationError):
    """What was asked cannot be done as it was asked."""


class Interrupted(MigrationError):
    """A database went away while it was at work."""


class Unreachable(Interrupted):
    """A database could not be reached at all."""


class TooManyRejects(MigrationError):
    """The target refuses more rows than a person said it may."""


class BackupRefused(MigrationError):
    """A backup cannot be used."""
