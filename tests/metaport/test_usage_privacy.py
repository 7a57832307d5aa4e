"""Hashed users: the same one each time, nothing of them in log or ledger, and the sums agree."""

import pytest

from chatd.facts import ConnectionTime, MessageAccepted
from metaport.chat_journal import ChatJournal
from metaport.config import load_config
from metaport.log import Log, read
from metaport.usage import Shipper
from metaport.usage_log import USAGE, UsageLog
from metaport.usage_privacy import Pseudonyms, user_names
from metering.ledger import MemoryLedger

AT_MS = 1_790_000_000_000


def test_a_user_has_one_name_and_another_key_gives_another():
    names = Pseudonyms(b"k" * 32)
    assert names.of("방문자") == names.of("방문자") == Pseudonyms(b"k" * 32).of("방문자")
    assert names.of("방문자") != names.of("visitor")
    assert names.of("방문자") != Pseudonyms(b"l" * 32).of("방문자")
    assert names.of("") == ""


def test_the_key_is_made_once_and_kept_private(tmp_path):
    config = load_config(
        None, {"METAPORT_DATA_DIR": str(tmp_path), "METAPORT_USAGE_USERS": "hashed"}
    )
    assert user_names(config)("u") == user_names(config)("u") != "u"
    assert (config.secrets_dir / "usage.key").stat().st_mode & 0o777 == 0o600
    (config.secrets_dir / "usage.key").write_text("abcd\n")
    with pytest.raises(ValueError, match="fewer than 32 bytes"):
        user_names(config)


async def test_neither_log_nor_ledger_name_the_user(tmp_path):
    name_of = Pseudonyms(b"k" * 32).of
    log = Log(tmp_path / "hub")
    journal = ChatJournal(UsageLog(log, "hub", lambda: AT_MS / 1000, name_of=name_of))
    for offset in range(1, 4):
        accepted = MessageAccepted("lobby", "e", offset, f"m{offset}", "visitor", "n", AT_MS, "hi")
        journal.commit([accepted, ConnectionTime("visitor", AT_MS, AT_MS + 2000)])
    records = [record for _, record in read(log.directory) if record[:1] == USAGE]
    assert not any(b"visitor" in record for record in records)
    ledger = MemoryLedger()
    shipper = Shipper(ledger, {"hub": log.directory})
    await shipper.ship()
    assert await ledger.active_users(0, 2**40) == 1
    usage = await ledger.by_subject(0, 2**40, user=name_of("visitor"))
    assert sum(usage.values()) == 3 + 3 * 2 + 3 * 2
    shipper.close()
    log.close()
