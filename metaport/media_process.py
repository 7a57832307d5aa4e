"""The SFU process: voice and video over one local log."""

import asyncio
import gc
import logging
import time

from metaport.background import HEARTBEAT_S, background, every, keep_synced
from metaport.config import Config
from metaport.log import Log
from metaport.media_journal import MediaJournal
from metaport.usage_log import UsageLog
from sfu import fanout, rewrite
from sfu.server import SfuServer

logger = logging.getLogger(__name__)

SFU = "sfu"


async def run_sfu(config: Config, stop: asyncio.Event) -> None:
    """Serve voice and video until `stop` is set, then drain.

    Raises:
        OSError: the media port or the control socket cannot be bound.
        LogError: the local log cannot be opened.
    """
    log = Log(config.sfu_log, segment_bytes=config.log.segment_bytes, fsync=config.log.fsync)
    usage = UsageLog(log, SFU, time.time)
    server = SfuServer(
        config.media.host,
        config.media.port,
        [str(endpoint) for endpoint in config.media.advertise],
        str(config.control_path),
        MediaJournal(usage),
        # The hub has the port then.
        media_tcp=config.media.port != config.http.port,
    )
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
        async with background(sync=keep_synced(log), checkpoint=every(HEARTBEAT_S, usage.write)):
            logger.info("media on UDP port %d", config.media.port)
            await stop.wait()
            await server.drain(config.drain_s)
        usage.write()
    finally:
        log.close()
