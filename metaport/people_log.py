"""People of a hub process that died: told to have gone when the next one starts.

A file beside the log stands as long as a process writes it; found at the start, it says that the
last one did not end by itself. Only then is the log looked through for who had come.
"""

import logging
from collections.abc import Callable, Sequence

import msgspec

from chatd.facts import Attended
from metaport.chat_journal import left_behind, people_record
from metaport.log import Log

logger = logging.getLogger(__name__)

MARK = "running"


class PeopleLog:
    """What one hub's log says of who came and went; see `chatd.comings`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._mark = log.directory / MARK

    def begin(self, now_ms: int, present: Callable[[], Sequence[Attended]]) -> int:
        """Tell who has gone with a process that died; return how many they were.

        From now on every segment begins with those who are `present`.

        Raises:
            LogError, OSError
        """
        gone = left_behind(self._log.directory) if self._mark.exists() else []
        if gone:
            # The same id again, should this process die before the next start reads it.
            told = [
                msgspec.structs.replace(fact, at_ms=now_ms, here=False, id=f"{fact.id}-lost")
                for fact in gone
            ]
            self._log.append([people_record(told)])
            logger.info("%d comings of a process that died are over", len(gone))
        self._mark.touch()
        rotated = self._log.on_rotate or tuple

        def rotate() -> list[bytes]:
            people = present()
            return [*rotated(), *([people_record(people)] if people else [])]

        self._log.on_rotate = rotate
        return len(gone)

    def end(self) -> None:
        """Note that this process ends with everybody told to have gone."""
        self._mark.unlink(missing_ok=True)
