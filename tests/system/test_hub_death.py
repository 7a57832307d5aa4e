"""A hub dies in the worst moment: Redis has the message, its own log has not."""

from pathlib import Path

import pytest

from chatd.redis_script import partitions, place_of
from loadtest.invariants.hubs import HubProcess, token
from loadtest.websocket import Client
from metaport.db.engine import connect, sqlite_url
from metaport.db.messages import SqlMessages
from tests.chatd.redis_server import RedisServer
from tests.chatd.tcp_proxy import TcpProxy
from tests.system.deadline import until

pytestmark = pytest.mark.system


@pytest.mark.timeout(180)
async def test_what_redis_has_comes_into_the_database_though_its_hub_is_dead(folder: Path) -> None:
    redis = RedisServer(folder / "redis", "--appendonly", "yes", "--appendfsync", "always").start()
    proxy = await TcpProxy(redis.port).start()
    database = folder / "shared.db"
    shared = {"METAPORT_DATABASE_URL": f"sqlite:///{database}"}
    doomed = HubProcess(
        folder / "a", {"METAPORT_REDIS_URL": proxy.url, "METAPORT_HUB_NAME": "a", **shared}
    )
    other = HubProcess(
        folder / "b", {"METAPORT_REDIS_URL": redis.url, "METAPORT_HUB_NAME": "b", **shared}
    )
    engine = connect(sqlite_url(database))
    messages = SqlMessages(engine)

    async def history() -> list[object]:
        return [message.body for message in (await messages.before("plaza", None, 10)).messages]

    try:
        await doomed.start()
        await other.start()
        client = await Client.enter(f"http://127.0.0.1:{doomed.port}", token("speaker"))
        await client.request("join", room="plaza")
        await client.request("send", room="plaza", body="acknowledged")

        # 1. Redis takes the message; its answer does not come.
        proxy.swallows = True
        client.send({"t": "send", "id": 99, "room": "plaza", "body": "orphaned"})
        stream = place_of("plaza", partitions("metaport", False)).stream
        await until(lambda: redis.ask("XLEN", stream) == 2, 10, "Redis has both messages")
        # 2. The hub dies over it.
        await doomed.kill()
        client.close()
        log = b"".join(path.read_bytes() for path in (folder / "a").rglob("*.log"))
        assert b"acknowledged" in log
        assert b"orphaned" not in log

        # 3. The other hub brings it into the database; nobody repeats it.
        async def whole() -> bool:
            return await history() == ["acknowledged", "orphaned"]

        await until(whole, 60, "the message is in history")
        assert await other.gauge("metaport_history_copied") >= 1
    finally:
        await engine.dispose()
        for hub in (doomed, other):
            await hub.stop()
        await proxy.close()
        redis.kill()
