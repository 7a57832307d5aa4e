"""Pages of a room's past: hot from the bus where that is enough, else from the archive."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from chatd.archive import Archive, ArchiveAway, Stretch
from chatd.bus import Bus, Page
from chatd.errors import HISTORY_AWAY, INTERNAL, RATE_LIMITED, Refused
from chatd.history import Entry
from chatd.wire import MSGPACK, History, Since

_log = logging.getLogger("chatd.paging")

# `limit` beyond this is cut to it: a screen shows about 20, an export takes page after page.
PAGE_MESSAGES = 200
# A database answers within milliseconds; a person waits this long before trying again.
ARCHIVE_TIMEOUT_S = 5.0
# Of one connection: the rest of a hall that scrolls up together waits its turn in the database.
AT_ONCE = 4
RETRY_MS = 1000


class Excerpt(msgspec.Struct, gc=False):
    """What a page holds: entries of one epoch, oldest first, and whether to ask on.

    `more` may turn out to be nothing; when it is False there is nothing.
    """

    epoch: str
    entries: Sequence[Entry]
    more: bool


Answer = Excerpt | Refused


class Pager:
    """Answers `history` frames. Without an archive the past ends where the hot end begins."""

    def __init__(self, bus: Bus, archive: Archive | None, hot_messages: int) -> None:
        self._bus = bus
        self._archive = archive
        self._hot_messages = hot_messages
        # Each asks the archive for one session and ends within `ARCHIVE_TIMEOUT_S`.
        self._tasks: dict[asyncio.Task[None], str] = {}

    def page(self, session: str, wish: History, answer: Callable[[Answer], None]) -> None:
        """Answer `wish`, at once or later; the room must be open.

        Raises:
            Refused: RATE_LIMITED, too many of this session are under way.
        """
        if sum(owner == session for owner in self._tasks.values()) >= AT_ONCE:
            raise Refused(RATE_LIMITED, id=wish.id, retry_after_ms=RETRY_MS)
        limit = min(wish.limit, PAGE_MESSAGES)

        def settle(hot: Excerpt | None) -> None:
            self._settle(session, wish, hot, answer)

        def look(head: Page | Refused) -> None:
            place = wish.before or wish.after
            if isinstance(head, Refused) or (place is not None and place.epoch != head.epoch):
                settle(None)
            elif wish.after is not None:
                after = wish.after
                self._bus.read(wish.room, after, 0, lambda page: settle(_on(page, after, limit)))
            else:
                self._look_back(wish, head, limit, settle)

        self._bus.read(wish.room, None, 0, look)

    def _look_back(
        self, wish: History, head: Page, limit: int, settle: Callable[[Excerpt | None], None]
    ) -> None:
        """Look for what is right before a place in the hot end, when it may be there."""
        top = head.offset if wish.before is None else min(wish.before.offset - 1, head.offset)
        newer = head.offset - top
        if top < 1 or newer >= self._hot_messages:
            settle(None)
            return
        count = min(newer + limit, self._hot_messages)
        self._bus.read(
            wish.room, None, count, lambda page: settle(_back(page, head.epoch, top, limit))
        )

    def _settle(
        self, session: str, wish: History, hot: Excerpt | None, answer: Callable[[Answer], None]
    ) -> None:
        limit = min(wish.limit, PAGE_MESSAGES)
        enough = hot is not None and (
            wish.after is not None or len(hot.entries) == limit or hot.entries[0].offset == 1
        )
        if hot is not None and (enough or self._archive is None):
            # Before the first message of an epoch stands the one before.
            older = self._archive is not None and wish.after is None
            answer(Excerpt(hot.epoch, hot.entries, hot.more or older))
        elif self._archive is None:
            answer(Excerpt("", (), False))
        else:
            task = asyncio.get_running_loop().create_task(
                self._ask(self._archive, wish, hot, answer), name="chatd-archive"
            )
            self._tasks[task] = session
            task.add_done_callback(self._tasks.pop)

    async def _ask(
        self,
        archive: Archive,
        wish: History,
        hot: Excerpt | None,
        answer: Callable[[Answer], None],
    ) -> None:
        # Cancelled only when the loop ends: then nobody waits for an answer.
        limit = min(wish.limit, PAGE_MESSAGES)
        try:
            async with asyncio.timeout(ARCHIVE_TIMEOUT_S):
                if wish.after is not None:
                    stretch = await archive.after(wish.room, wish.after, limit)
                else:
                    stretch = await archive.before(wish.room, wish.before, limit)
        except (ArchiveAway, TimeoutError) as away:
            # Not a line for every page asked for: who keeps the archive tells that it is away.
            _log.debug("the archive does not answer: %s", away or "no answer in time")
            # A short page is better than none.
            answer(hot or Refused(HISTORY_AWAY, retry_after_ms=RETRY_MS))
        except Exception:
            _log.exception("the archive failed")
            answer(Refused(INTERNAL))
        else:
            answer(_excerpt(stretch))


def _on(page: Page | Refused, after: Since, limit: int) -> Excerpt | None:
    """Return the hot entries after a place; None when not all of them are hot."""
    if isinstance(page, Refused) or not page.recovered:
        return None
    return Excerpt(page.epoch, page.entries[:limit], len(page.entries) > limit)


def _back(page: Page | Refused, epoch: str, top: int, limit: int) -> Excerpt | None:
    """Return the hot entries up to `top`; None when there are none that end there."""
    if isinstance(page, Refused) or page.epoch != epoch:
        return None
    entries = [entry for entry in page.entries if entry.offset <= top][-limit:]
    if not entries or entries[-1].offset != top:
        return None
    return Excerpt(epoch, entries, entries[0].offset > 1)


def _excerpt(stretch: Stretch) -> Excerpt:
    entries = [Entry(each.offset, MSGPACK.encode(each)) for each in stretch.messages]
    return Excerpt(stretch.epoch, entries, stretch.more)
