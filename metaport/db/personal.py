"""How tables say which of their columns tell something of a person.

A column has `info=personal(kind)`; from that, a person's data is found, exported, masked and
erased (`metaport.db.person`), in every table that there is or will be. A column whose value must
leave the database for nobody has `info=SECRET`.
"""

from enum import StrEnum
from typing import Any


class Personal(StrEnum):
    """What a column tells of a person."""

    PERSON = "person"
    """The id of whom the row is about."""
    ACTOR = "actor"
    """The id of who did something: the row is about that, and stays."""
    NAME = "name"
    LOGIN = "login"
    CONTACT = "contact"
    ADDRESS = "address"
    IMAGE = "image"
    CONTENT = "content"
    """What the person has said or written; stays, without its author."""


SECRET: dict[str, Any] = {"secret": True}
# Of a table: its rows are about one person and go with them. Otherwise they stay, without the name.
GOES: dict[str, Any] = {"goes_with_the_person": True}

# Of a table: a record that the law asks for and that shows when it was changed; kept for its time.
STAYS: dict[str, Any] = {"stays": True}


def personal(kind: Personal) -> dict[str, Any]:
    """Return the `info` of a column of this kind."""
    return {"personal": kind}


def settles(column: str) -> dict[str, Any]:
    """Return the `info` of a table that is written again after the moment `column` (s) for a while.

    Totals are cumulative: a row under another name too early would be counted twice.
    """
    return {"settles": column}
