"""Signals: short news from one process to all others, told at once and kept nowhere.

For what every process must learn within moments, such as a token that was revoked, and what is
worth nothing a minute later, such as who is writing. What must not be lost is kept elsewhere first.
"""

from collections.abc import Callable
from typing import Protocol

# A topic or a piece of news is no place for documents.
NEWS_BYTES = 64 * 1024

Heard = Callable[[bytes], None]


class Signals(Protocol):
    """News between processes, by topic; one per process.

    Guarantee asked of an implementation: a process that hears a topic gets what any *other*
    process tells on it, from one teller in the order told, each at most once, as a rule within
    milliseconds. News told while the connection is down are dropped. `regained` is called when the
    topic is heard for the first time and whenever news may have been missed: read then what is
    kept elsewhere. Neither call blocks or raises.
    """

    def hear(self, topic: str, heard: Heard, regained: Callable[[], None] = lambda: None) -> None:
        """Want the news of `topic`; again replaces who is called."""

    def unhear(self, topic: str) -> None:
        """Stop wanting them."""

    def tell(self, topic: str, news: bytes) -> None:
        """Tell every other process; at most `NEWS_BYTES`."""


class LocalSignals:
    """The signals of a single process: nobody else is there, unless `beside` was called.

    `beside` gives the end of another process, for tests.
    """

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}
        self._all: list[LocalSignals] = [self]

    def beside(self) -> "LocalSignals":
        """Return the signals of one more process."""
        other = LocalSignals()
        other._all = self._all
        self._all.append(other)
        return other

    def hear(self, topic: str, heard: Heard, regained: Callable[[], None] = lambda: None) -> None:
        self._heard[topic] = heard
        regained()

    def unhear(self, topic: str) -> None:
        self._heard.pop(topic, None)

    def tell(self, topic: str, news: bytes) -> None:
        for other in self._all:
            heard = other._heard.get(topic)
            if other is not self and heard is not None:
                heard(news)
