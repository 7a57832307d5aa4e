"""The SFU process: voice and video over one local log."""

import asyncio
import gc
import logging
import time
from pathlib import Path

from metaport.attendance import Book, book_path, keep_trimmed
from metaport.background import HEARTBEAT_S, background, every, keep_synced
from metaport.config import Config
from metaport.log import Log, LogError
from metaport.media_journal import MediaJournal
from metaport.node import node_name
from metaport.sfu_directory import keep_registered
from metaport.sfu_process import SfuProcess, sfu_process
from metaport.usage_log import UsageLog
from metaport.usage_privacy import user_names
from sfu import fanout, rewrite
from sfu.control import ControlAddress
from sfu.server import SfuServer
from sfu.turn import Turn

logger = logging.getLogger(__name__)


async def run_sfu(config: Config, stop: asyncio.Event, number: int = 0) -> None:
    """Serve voice and video as SFU process `number` until `stop` is set, then drain.

    Raises:
        OSError: the media port or the control socket cannot be bound.
        LogError: the local log cannot be opened.
    """
    own = sfu_process(config, number)
    # Before the log: its new segment lets the hub trim the one that tells of before the start, and
    # a start that is killed between the two would have copied nothing.
    book = _opened_book(config, own.log)
    try:
        log = Log(own.log, segment_bytes=config.log.segment_bytes, fsync=config.log.fsync)
    except BaseException:
        if book is not None:
            book.close()
        raise
    usage = UsageLog(log, node_name(config, own.name), time.time, name_of=user_names(config))
    server = SfuServer(
        config.media.host,
        own.port,
        [str(endpoint) for endpoint in own.advertise],
        str(own.control_path),
        MediaJournal(usage, book),
        # The hub has the port then.
        media_tcp=own.port != config.http.port,
        control_tcp=_control_tcp(config, own),
        turn=Turn(config.turn.urls, config.turn.secret or "", config.turn.ttl_s),
    )
    server.on_stop(stop.set)
    usage.settled_ms = server.conference.settled_ms
    if "python" in {fanout.TWIN, rewrite.TWIN}:
        logger.warning(
            "packets are forwarded by the pure-Python twin, more slowly: install a C compiler and "
            "install again (metaport doctor)"
        )
    try:
        await server.start()
        # What the start has made stays: no collection looks at it again (34-67 ms a full one).
        gc.freeze()
        async with background(
            sync=keep_synced(log),
            checkpoint=every(HEARTBEAT_S, usage.write),
            register=keep_registered(config, own),
            trim=keep_trimmed(book, config.usage.detail_days, time.time),
        ):
            logger.info("media on UDP port %d", server.media_port)
            await stop.wait()
            await server.drain(config.drain_s)
        usage.write()
    finally:
        log.close()
        if book is not None:
            book.close()


def _control_tcp(config: Config, own: SfuProcess) -> ControlAddress | None:
    if own.control is None or own.control.port is None or config.media.control_token is None:
        return None
    return ControlAddress(own.control.host, own.control.port, config.media.control_token)


def _opened_book(config: Config, log: Path) -> Book | None:
    """Open the book of attendance; media does not wait for one that is damaged."""
    try:
        book = Book(book_path(config, log))
    except (LogError, OSError) as error:
        logger.error("no book of attendance: %s", error)
        return None
    try:
        book.copy(log)
    except (LogError, OSError) as error:
        logger.error("attendance before the start is not in its book yet: %s", error)
    return book
