"""Fewer hubs than before: what those left is shipped to the end, and holds no month open."""

import asyncio
from pathlib import Path

import pytest

from chatd.facts import MessageAccepted
from metaport.chat_journal import ChatJournal
from metaport.config import Config, load_config
from metaport.db.engine import connect, sqlite_url
from metaport.db.ledger import SqlLedger
from metaport.db.messages import SqlMessages
from metaport.log import Log, LogLocked
from metaport.node import hub_node
from metaport.retired_logs import RetiredLogs, retired_hubs
from metaport.usage import Shipper
from metaport.usage_log import UsageLog

AT_MS = 1_790_000_000_000


def config_of(folder: Path, processes: int) -> Config:
    environment = {
        "METAPORT_DATA_DIR": str(folder),
        "METAPORT_HUB_PROCESSES": str(processes),
        "METAPORT_REDIS_URL": "redis://127.0.0.1:1",
    }
    return load_config(None, environment)


class Machine:
    def __init__(self, folder, ledger):
        self.folder, self.ledger = folder, ledger
        self.messages = SqlMessages(ledger.engine)

    def log(self, number, count):
        """Have hub `number` accept messages, and die."""
        node = hub_node(config_of(self.folder, 8), number)
        log = Log(node.log, segment_bytes=65_536)
        journal = ChatJournal(UsageLog(log, node.name, lambda: AT_MS / 1000))
        for n in range(1, count + 1):
            room = f"room of {node.name}"
            fact = MessageAccepted(room, "e", n, f"e-{n}", "u", "U", AT_MS, "hi", None, 1)
            journal.commit([fact])
        return log

    def retired(self, processes):
        return RetiredLogs(config_of(self.folder, processes), self.ledger, self.messages)

    async def sent(self):
        return (await self.ledger.totals(0, 2**40)).get("chat.messages_sent", 0)

    async def kept(self, name):
        return len((await self.messages.before(f"room of {name}", None, 1000)).messages)


@pytest.fixture
async def machine(tmp_path):
    ledger = SqlLedger(connect(sqlite_url(tmp_path / "m.db")), "Asia/Seoul")
    await ledger.prepare()
    yield Machine(tmp_path / "data", ledger)
    await ledger.close()


async def test_what_retired_hubs_left_is_in_the_database_and_their_logs_are_gone(machine):
    for number, count in ((0, 2), (1, 3), (2, 400)):
        machine.log(number, count).close()
    # The second had shipped a part of it when it was stopped, and would hold the month open.
    node = hub_node(config_of(machine.folder, 3), 2)
    await Shipper(machine.ledger, {"hub-2": node.log}).ship()
    assert await machine.ledger.as_of() == AT_MS // 1000

    config = config_of(machine.folder, 1)
    assert [each.name for each in retired_hubs(config)] == ["hub-1", "hub-2"]
    await machine.retired(1).run()
    assert list(retired_hubs(config)) == []
    assert [path.name for path in config.hub_log.parent.iterdir()] == ["hub"]
    assert await machine.sent() == 403
    assert (await machine.kept("hub-1"), await machine.kept("hub-2")) == (3, 400)
    assert await machine.ledger.readers() == {}
    assert await machine.messages.checkpoint("hub-2") is None


async def test_a_hub_that_still_runs_is_waited_for(machine):
    log = machine.log(1, 3)
    retired = machine.retired(1)
    [left] = retired_hubs(config_of(machine.folder, 1))
    with pytest.raises(LogLocked):
        await retired.retire(left)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(retired.run(), 0.3)
    assert "hub-1" in retired.failing
    log.close()
    await retired.run()
    assert await machine.sent() == 3


async def test_a_crash_before_the_directory_is_gone_ships_it_again_and_counts_nothing_twice(
    machine, monkeypatch
):
    machine.log(1, 3).close()
    retired = machine.retired(1)
    [left] = retired_hubs(config_of(machine.folder, 1))

    def crash(path):
        raise OSError("killed")

    monkeypatch.setattr("metaport.retired_logs.shutil.rmtree", crash)
    with pytest.raises(OSError, match="killed"):
        await retired.retire(left)
    monkeypatch.undo()
    await retired.retire(left)
    assert await machine.sent() == 3
    assert await machine.kept("hub-1") == 3
    assert await machine.ledger.readers() == {}


async def test_a_hub_that_comes_back_begins_a_new_log_and_is_counted_on(machine):
    machine.log(1, 3).close()
    await machine.retired(1).run()
    log = machine.log(1, 2)
    node = hub_node(config_of(machine.folder, 2), 1)
    await Shipper(machine.ledger, {"hub-1": node.log}).ship()
    log.close()
    assert await machine.sent() == 5


def test_other_directories_are_no_hubs(tmp_path):
    config = config_of(tmp_path, 1)
    for name in ("hub", "hub-x", "hub-1.old", "sfu", "sfu-1"):
        (config.hub_log.parent / name).mkdir(parents=True)
    assert list(retired_hubs(config)) == []
