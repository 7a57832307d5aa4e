"""Facts into the local log and back."""

import msgspec
import pytest

from chatd.errors import FactsRefused
from chatd.facts import (
    ConnectionTime,
    MessageAccepted,
    MessagesDelivered,
    MessagesRecovered,
    MonotonicTime,
    RoomOpened,
)
from metaport.chat_journal import ChatJournal, replay, replay_from
from metaport.log import Log, LogFull, read
from metaport.media_journal import MediaJournal
from metaport.usage_log import Count, UsageLog, usage_of
from metering.events import Subject
from sfu.errors import FactsRefused as MediaFactsRefused
from sfu.facts import MediaBytes, ParticipantInterval

AT_MS = 1_790_000_000_000


def message(offset, **changed):
    values = {
        "room": "lobby", "epoch": "e1", "offset": offset, "id": f"m{offset}", "user": "visitor",
        "name": "방문자", "at_ms": AT_MS, "body": {"text": "안녕"}, "key": "k", "delivered": 3,
    }  # fmt: skip
    return MessageAccepted(**values | changed)


def totals(directory):
    """Read what a shipper would store: the greatest total of each counter."""
    found = {}
    for _, record in read(directory):
        if (usage := usage_of(record)) is not None:
            for row in usage[1]:
                found[row[:-1]] = max(found.get(row[:-1], 0), row.quantity)
    summed = {}
    for (_, _, meter, subject, _), quantity in found.items():
        summed[meter, *subject] = summed.get((meter, *subject), 0) + quantity
    return summed


class FullLog(Log):
    """A log on a disk that is full while `full` is set."""

    full = False

    def append(self, records):
        if self.full:
            raise LogFull(self.directory, "no space")
        super().append(records)


@pytest.fixture
def log(tmp_path):
    log = FullLog(tmp_path / "log")
    yield log
    log.close()


@pytest.fixture
def usage(log):
    return UsageLog(log, "hub", lambda: AT_MS / 1000)


def test_messages_come_back_as_they_were_and_are_counted_in_the_same_write(log, usage):
    facts = [RoomOpened("lobby", "e1"), message(1), message(2, key=None, body="hi")]
    ChatJournal(usage).commit(facts)
    moment, *kept = replay(log.directory)
    assert type(moment) is MonotonicTime
    assert kept == facts
    assert totals(log.directory) == {
        ("chat.messages_sent", "lobby", "visitor"): 2,
        ("chat.messages_delivered", "lobby", "visitor"): 6,
        ("chat.text_bytes_in", "lobby", "visitor"): len(b"\x81\xa4text\xa6") + 6 + 2,
        ("chat.text_bytes_out", "lobby", "visitor"): 3 * (len(b"\x81\xa4text\xa6") + 6 + 2),
    }


def test_the_monotonic_clock_is_told_once_a_second_with_what_is_said(log, usage):
    now = [10.0]
    chat = ChatJournal(usage, monotonic=lambda: now[0])
    chat.commit([message(1)])
    now[0] = 10.9
    chat.commit([message(2)])
    now[0] = 20.0
    chat.commit([ConnectionTime("visitor", AT_MS, AT_MS + 5_000, 2)])
    log.full = True
    with pytest.raises(FactsRefused):
        chat.commit([message(3)])
    log.full = False
    chat.commit([message(3)])
    told = [
        fact.at_ms if type(fact) is MonotonicTime else fact.offset for fact in replay(log.directory)
    ]
    assert told == [10_000, 1, 2, 20_000, 3]


def test_a_refused_write_counts_no_message_and_the_next_one_counts_right(log, usage):
    chat = ChatJournal(usage)
    chat.commit([message(1)])
    log.full = True
    with pytest.raises(FactsRefused):
        chat.commit([message(2), message(3)])
    log.full = False
    chat.commit([message(2)])
    assert totals(log.directory)["chat.messages_sent", "lobby", "visitor"] == 2
    assert [fact.offset for fact in list(replay(log.directory))[1:]] == [1, 2]


def test_facts_that_were_refused_may_be_offered_again_and_count_once(log, usage):
    connection = ConnectionTime("visitor", AT_MS, AT_MS + 5_000, 2)
    in_media = [
        ParticipantInterval("lobby", "visitor", "p1", 0, AT_MS, AT_MS + 3_000),
        ParticipantInterval("lobby", "visitor", "p1", 640 * 480, AT_MS + 3_000, AT_MS + 4_999),
        MediaBytes("lobby", "visitor", "p1", AT_MS, 100, 0),
    ]
    log.full = True
    with pytest.raises(FactsRefused):
        ChatJournal(usage).commit([connection])
    with pytest.raises(MediaFactsRefused):
        MediaJournal(usage).commit(in_media)
    assert usage.failing
    log.full = False
    ChatJournal(usage).commit([connection])
    MediaJournal(usage).commit(in_media)
    assert usage.failing is None
    assert totals(log.directory) == {
        ("chat.connection_seconds", "", "visitor"): 10,
        ("voice.participant_seconds", "lobby", "visitor"): 3,
        ("video.participant_seconds.sd", "lobby", "visitor"): 1,
        ("media.ingress_bytes", "lobby", "visitor"): 100,
    }


def test_a_write_that_fails_in_an_unforeseen_way_counts_nothing(log, usage):
    """Only refusals of the log were taken back: what was offered again was counted twice."""
    log.on_rotate = lambda: [b""]  # no record is empty
    with pytest.raises(ValueError, match="record"):
        ChatJournal(usage).commit([message(1)])
    assert usage.failing
    log.on_rotate = None
    ChatJournal(usage).commit([message(1)])
    assert totals(log.directory)["chat.messages_sent", "lobby", "visitor"] == 1


def test_a_record_claims_to_know_only_what_has_been_told(log):
    """A stretch of 4 s is told when it ends; until then nobody knows its first second."""
    usage = UsageLog(log, "hub", lambda: AT_MS / 1000, late_s=8)
    usage.write()
    [(_, record)] = read(log.directory)
    assert usage_of(record) == (AT_MS // 1000 - 8, [])


def test_a_record_claims_what_those_who_tell_say_is_settled(log, usage):
    usage.settled_ms = lambda utc_ms: utc_ms - 2_500
    usage.write()
    [(_, record)] = read(log.directory)
    assert usage_of(record) == ((AT_MS - 2_500) // 1000, [])


def test_totals_are_forgotten_also_after_the_clock_was_set_back(log):
    """Nothing was forgotten until the clock came back to where it had been."""
    now_s = AT_MS // 1000 + 86_400
    usage = UsageLog(log, "hub", lambda: now_s)
    usage.write()
    sent = 0
    for now_s in range(AT_MS // 1000, AT_MS // 1000 + 4 * 3_600, 600):
        usage.write((), [Count("chat.messages_sent", Subject("lobby", "visitor"), now_s, 1)])
        sent += 1
    assert len(usage._counters) <= 7
    assert totals(log.directory)["chat.messages_sent", "lobby", "visitor"] == sent


def test_recovered_messages_have_their_own_meter(log, usage):
    ChatJournal(usage).commit([MessagesRecovered("lobby", "visitor", 7, AT_MS)])
    assert totals(log.directory) == {("chat.messages_recovered", "lobby", "visitor"): 7}


def test_replay_begins_late_enough_and_every_segment_tells_the_heads(tmp_path, monkeypatch):
    monkeypatch.setattr("metaport.chat_journal.REPLAY_BYTES", 3_000)
    heads = []
    log = Log(tmp_path / "log", segment_bytes=1_000, on_rotate=lambda: list(heads))
    chat = ChatJournal(UsageLog(log, "hub", lambda: AT_MS / 1000))
    for offset in range(1, 101):
        chat.commit([message(offset)])
    assert replay_from(log.directory) > 0
    offsets = [fact.offset for fact in replay(log.directory)]
    assert offsets[-1] == 100
    assert 1 < offsets[0] < 100
    log.close()


def test_an_empty_directory_replays_nothing(tmp_path):
    assert list(replay(tmp_path / "none")) == []


def test_where_redis_orders_it_counts_what_was_sent_and_frames_count_when_written(log, usage):
    later_s = AT_MS / 1000 + 1000
    journal = ChatJournal(usage, orders=False, clock=lambda: later_s)
    journal.commit([message(1), MessagesDelivered("lobby", "far", 4, AT_MS, 7), message(2)])
    assert totals(log.directory) == {
        ("chat.messages_delivered", "lobby", "visitor"): 6,
        ("chat.messages_delivered", "lobby", "far"): 4,
        ("chat.text_bytes_out", "lobby", "visitor"): 78,
        ("chat.text_bytes_out", "lobby", "far"): 28,
    }
    rows = [row for _, record in read(log.directory) for row in (usage_of(record) or (0, []))[1]]
    assert {row.window_start_s for row in rows} == {int(later_s) // 900 * 900}
    assert [fact.offset for fact in replay(log.directory)] == [1, 2]


def test_messages_of_one_commit_are_one_record_and_rooms_stand_before_theirs(log, usage):
    facts = [
        RoomOpened("lobby", "e1"), message(1), message(2),
        RoomOpened("hall", "e2"), message(1, room="hall", epoch="e2"),
    ]  # fmt: skip
    ChatJournal(usage).commit(facts)
    assert [record[:1] for _, record in read(log.directory)] == [b"t", b"r", b"b", b"r", b"m", b"u"]
    assert list(replay(log.directory))[1:] == facts


def test_a_log_of_the_previous_version_is_replayed(log):
    """Until November 2026 every message was a record of its own."""
    encode = msgspec.msgpack.Encoder().encode
    log.append([b"m" + encode(message(1)), b"m" + encode(message(2))])
    assert [fact.offset for fact in replay(log.directory)] == [1, 2]
