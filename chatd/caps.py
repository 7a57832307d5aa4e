"""Caps on spending: rooms where nothing new may be begun for the time being."""

from typing import Protocol


class Caps(Protocol):
    """Asked for every message, so it answers from memory. What is under way is not its business:
    nobody is sent away, and media that runs goes on.
    """

    def refuses_messages(self, room: str) -> bool:
        """Say whether no new message may be sent in `room`."""
