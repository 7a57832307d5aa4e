"""What is counted about whom, and how it is written down."""

from typing import NamedTuple


class Subject(NamedTuple):
    """Whom a count is about: a user in a room. Either is empty where there is none."""

    room: str
    user: str


class UsageRow(NamedTuple):
    """A cumulative count: the total so far of one meter, subject and window in one boot of a node.

    Everything but `quantity` is the row's identity. A later row of the same identity has the same
    or a greater quantity, so the greatest one is the truth and repeating any of them is harmless.
    """

    node: str
    boot: str
    meter: str
    subject: Subject
    window_start_s: int
    quantity: int


class Checkpoint(NamedTuple):
    """How far a reader has come.

    Everything that happened on its node before `at_s` and is to be counted stands in the ledger
    once this checkpoint does. `position` belongs to the reader and is opaque here.
    """

    reader: str
    position: str
    at_s: int
