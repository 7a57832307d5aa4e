import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metaport.log import (
    BOOT_STRIDE,
    READ_BYTES,
    Follower,
    Log,
    LogCorrupt,
    LogError,
    LogFull,
    LogLocked,
    LogTrimmed,
    read,
)
from metaport.log_records import RECORD_BYTES, encode, segments

# Appends {first}, {first + 1}, … as three records each, and tells each number once it is stored.
WRITER = """
import sys
from pathlib import Path
from metaport.log import Log
log = Log(Path(sys.argv[1]), segment_bytes=int(sys.argv[2]))
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    log.append([b"%d begin" % number, b"x" * (number % 700 + 1), b"%d end" % number])
    print(number, flush=True)
"""


def writer(directory: Path, segment_bytes: int, first: int, last: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, directory, str(segment_bytes), str(first), str(last)],
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def payloads(directory: Path, position: int | None = None) -> list[bytes]:
    return [payload for _, payload in read(directory, position)]


def only_segment(directory: Path) -> Path:
    """Return the one segment that holds anything."""
    [path] = [segment.path for segment in segments(directory) if segment.path.stat().st_size]
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(directory: Path) -> Iterator[Log]:
    opened = Log(directory)
    yield opened
    opened.close()


def test_what_is_appended_is_read_in_order(log: Log, directory: Path) -> None:
    log.append([b"a", b"bb"])
    log.append([b"c"])
    assert list(read(directory)) == [(9, b"a"), (19, b"bb"), (28, b"c")]
    assert log.position == 28


def test_reading_goes_on_from_any_position_that_was_told(log: Log, directory: Path) -> None:
    log.append([b"a", b"bb"])
    log.append([b"c"])
    for index, (position, _) in enumerate(read(directory)):
        assert payloads(directory, position) == [b"a", b"bb", b"c"][index + 1 :]


def test_nothing_to_append_writes_nothing(log: Log, directory: Path) -> None:
    log.append([])
    assert log.position == 0
    assert payloads(directory) == []


def test_an_append_is_one_write(log: Log) -> None:
    """A datagram socket in place of the file keeps writes apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    os.dup2(ours.fileno(), log._descriptor)
    log.append([b"x" * 10] * 50)
    theirs.setblocking(False)
    assert len(theirs.recv(10_000)) == log.position == 50 * 18
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    ours.close()
    theirs.close()
    log._unsynced = False  # a socket cannot be flushed


def test_a_log_that_does_not_exist_has_no_records(directory: Path) -> None:
    assert payloads(directory) == []
    follower = Follower(directory)
    assert follower.poll() == []
    assert follower.lag_bytes() == 0
    log = Log(directory)
    log.append([b"late"])
    assert follower.poll() == [(12, b"late")]
    follower.close()
    log.close()


def test_files_are_readable_by_their_owner_only(log: Log, directory: Path) -> None:
    log.append([b"private"])
    assert directory.stat().st_mode & 0o777 == 0o700
    assert only_segment(directory).stat().st_mode & 0o777 == 0o600


def test_a_log_goes_on_after_it_is_opened_again(directory: Path) -> None:
    for payload in (b"one", b"two", b"three"):
        log = Log(directory)
        log.append([payload])
        log.close()
    assert payloads(directory) == [b"one", b"two", b"three"]


def test_closing_twice_is_closing_once(log: Log) -> None:
    log.append([b"a"])
    log.close()
    log.close()


# Crashes


def test_a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(directory)
    log.append([b"kept", b"too"])
    kept = log.position
    log.append([b"torn", b"x" * 30, b"torn too"])
    log.close()
    path = only_segment(directory)
    whole = path.read_bytes()
    for cut in range(kept, len(whole)):
        caplog.clear()
        for segment in segments(directory):
            segment.path.unlink()
        path.write_bytes(whole[:cut])
        log = Log(directory)
        assert path.read_bytes() == whole[:kept]
        assert bool(caplog.records) == (cut > kept)
        log.append([b"next"])
        log.close()
        assert payloads(directory) == [b"kept", b"too", b"next"]


def test_a_damaged_last_append_is_a_torn_tail_whichever_byte_it_is(directory: Path) -> None:
    log = Log(directory)
    log.append([b"kept"])
    kept = log.position
    log.append([b"damaged"])
    log.close()
    path = only_segment(directory)
    whole = path.read_bytes()
    for at in range(kept, len(whole)):
        for segment in segments(directory):
            segment.path.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        Log(directory).close()
        assert payloads(directory) == [b"kept"]


@pytest.mark.parametrize("size", [1, 8, 9, 4096])
def test_zeros_after_a_power_failure_are_a_torn_tail(directory: Path, size: int) -> None:
    log = Log(directory)
    log.append([b"kept"])
    log.close()
    with only_segment(directory).open("ab") as file:
        file.write(bytes(size))
    Log(directory).close()
    assert payloads(directory) == [b"kept"]


def test_a_record_inside_a_torn_payload_is_not_taken_for_damage(directory: Path) -> None:
    """A visitor could send what looks like a record; a crash must not make it one."""
    log = Log(directory)
    log.append([b"kept"])
    log.append([encode([b"fake"], log.position) * 3, b"rest"])
    log.close()
    os.truncate(only_segment(directory), log.position - 5)
    Log(directory).close()
    assert payloads(directory) == [b"kept"]


def test_damage_in_the_middle_is_refused_at_open_with_its_place(directory: Path) -> None:
    log = Log(directory)
    log.append([b"first", b"second"])
    log.append([b"third"])
    log.close()
    path = only_segment(directory)
    whole = path.read_bytes()
    for at in range(13, 27):  # the second record
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises(LogCorrupt) as raised:
            Log(directory)
        assert (raised.value.path, raised.value.position) == (path, 13)
        assert raised.value.resumes_at == 27
        assert "metaport log repair" in str(raised.value)
    path.write_bytes(whole)
    Log(directory).close()  # the lock was let go each time
    assert payloads(directory) == [b"first", b"second", b"third"]


def test_damage_met_while_reading_is_told_after_what_stands_before_it(log: Log) -> None:
    log.append([b"first"])
    log.append([b"second"])
    log.append([b"third"])
    path = only_segment(log.directory)
    data = bytearray(path.read_bytes())
    data[13 + 8] ^= 1
    path.write_bytes(data)
    follower = Follower(log.directory)
    assert follower.poll() == [(13, b"first")]
    for _ in range(2):  # it does not go on by itself
        with pytest.raises(LogCorrupt, match="damaged at position 13"):
            follower.poll()
    follower.close()


def test_an_older_segment_that_ends_in_the_middle_of_a_record_is_damage(directory: Path) -> None:
    log = Log(directory, segment_bytes=10)
    log.append([b"first segment"])
    log.append([b"second segment"])
    log.close()
    oldest = segments(directory)[0].path
    os.truncate(oldest, oldest.stat().st_size - 1)
    with pytest.raises(LogCorrupt):
        payloads(directory)


def test_a_writer_killed_at_any_moment_leaves_every_stored_append_whole(directory: Path) -> None:
    acknowledged: list[int] = []
    for stop_after in (1, 40, 90, 160):
        process = writer(directory, 4096, len(numbers(directory)), 10**9)
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(int(line))
            if len(acknowledged) >= stop_after:
                break
        process.kill()
        acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        stored = numbers(directory)
        assert stored == list(range(len(stored)))
        # At most one append was stored whose number was not told any more.
        assert acknowledged == stored or [*acknowledged, stored[-1]] == stored
        acknowledged = stored


def numbers(directory: Path) -> list[int]:
    """Return the numbers of a log of WRITER, checking that each append is whole."""
    found, records = [], payloads(directory)
    assert len(records) % 3 == 0
    for begin, filling, end in zip(records[::3], records[1::3], records[2::3], strict=True):
        number = int(begin.split()[0])
        assert (begin, end) == (b"%d begin" % number, b"%d end" % number)
        assert len(filling) == number % 700 + 1
        found.append(number)
    return found


def test_a_power_failure_that_takes_records_a_reader_has_seen_reuses_no_position(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(directory)
    log.append([b"on disk"])
    on_disk = log.position
    log.append([b"seen, then lost"])
    follower = Follower(directory)
    seen = follower.poll()[-1][0]
    follower.close()
    log.close()
    os.truncate(only_segment(directory), on_disk)

    log = Log(directory)
    log.append([b"after"])
    resumed = Follower(directory, seen)
    assert [payload for _, payload in resumed.poll()] == [b"after"]
    assert resumed.position == log.position > seen
    assert "bytes read earlier are gone" in caplog.text
    resumed.close()
    log.close()


def test_a_power_failure_that_takes_a_whole_start_reuses_no_position(directory: Path) -> None:
    Log(directory).close()
    log = Log(directory)
    log.append([b"seen, then lost"])
    seen = log.position
    log.close()
    os.truncate(only_segment(directory), 0)
    log = Log(directory)
    assert log.position > seen
    log.append([b"after"])
    assert payloads(directory, seen) == [b"after"]
    log.close()


def test_a_position_of_a_newer_log_is_refused(log: Log, directory: Path) -> None:
    """As after an old backup of the log beside a newer ledger."""
    log.append([b"a"])
    with pytest.raises(LogError, match="is after the end, 9"):
        payloads(directory, 3 * BOOT_STRIDE + 77)


# A full or failing disk


FULL = """
import os, resource, signal, sys
from pathlib import Path
from metaport.log import Follower, Log, LogFull

def fill(directory, make_room):
    log = Log(directory)
    follower = Follower(directory)
    stored = refused = 0
    while not refused:
        try:
            log.append([b"%06d" % stored, b"x" * 1013])
            stored += 1
        except LogFull as error:
            assert "nothing stored" in str(error), error
            refused += 1
    position = log.position
    for _ in range(3):
        try:
            log.append([b"again", b"x" * 100_000])
        except LogFull:
            refused += 1
    assert (refused, log.position) == (4, position)
    make_room()
    log.append([b"%06d" % stored, b"y"])
    log.close()
    records = [payload for _, payload in follower.poll(10**6)]
    assert records[::2] == [b"%06d" % number for number in range(stored + 1)]
    assert stored > 20
    print("stored", stored)
"""

FULL_BY_LIMIT = """
resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, resource.RLIM_INFINITY))
fill(Path(sys.argv[1]) / "log", lambda: resource.setrlimit(
    resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)))
"""

FULL_BY_TMPFS = """
import subprocess
disk = Path(sys.argv[1]) / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
try:
    (disk / "ballast").write_bytes(bytes(60_000))
    fill(disk / "log", (disk / "ballast").unlink)
finally:
    subprocess.run(["umount", "-l", disk], check=True)
"""

# Only root may mount; the limit on the size of a file works everywhere.
MOUNTABLE = [FULL_BY_TMPFS] if sys.platform == "linux" and os.geteuid() == 0 else []


@pytest.mark.parametrize(
    "disk", [FULL_BY_LIMIT, *MOUNTABLE], ids=["limit", "tmpfs"][: 1 + len(MOUNTABLE)]
)
def test_a_full_disk_refuses_the_append_whole_and_goes_on_when_there_is_room(
    tmp_path: Path, disk: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL + disk, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stored ")


def test_no_room_for_the_next_segment_keeps_the_present_one(directory: Path) -> None:
    log = Log(directory, segment_bytes=10)
    log.append([b"first segment"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(LogError, match=os.strerror(errno.EMFILE)):
            log.append([b"refused"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log.append([b"second segment"])
    assert payloads(directory) == [b"first segment", b"second segment"]
    log.close()


def test_after_a_failed_fsync_nothing_is_acknowledged_any_more(log: Log) -> None:
    log.append([b"a"])
    reading, writing = os.pipe()  # a pipe cannot be flushed to a disk
    os.dup2(writing, log._descriptor)
    with pytest.raises(LogError):
        log.sync()
    with pytest.raises(LogError, match="since an earlier sync"):
        log.append([b"b"])
    os.close(reading)
    os.close(writing)


def test_a_disk_that_fails_is_not_a_full_one(log: Log) -> None:
    log.append([b"a"])
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, log._descriptor)
    os.close(writing)
    with pytest.raises(LogError) as raised:
        log.append([b"b"])
    assert not isinstance(raised.value, LogFull)


def test_syncing_from_a_thread_and_rotating_do_not_meet(directory: Path) -> None:
    log = Log(directory, segment_bytes=100)
    done = threading.Event()
    failures: list[BaseException] = []

    def sync() -> None:
        try:
            while not done.is_set():
                log.sync()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=sync)
    thread.start()
    for number in range(300):
        log.append([b"%d" % number, b"x" * 60])
    done.set()
    thread.join()
    log.close()
    assert failures == []
    assert payloads(directory)[::2] == [b"%d" % number for number in range(300)]


def test_always_flushing_stores_the_same(directory: Path) -> None:
    log = Log(directory, fsync="always")
    log.append([b"a"])
    assert payloads(directory) == [b"a"]
    log.close()


# One writer


def test_a_second_writer_is_refused_with_the_pid_of_the_first(log: Log, directory: Path) -> None:
    with pytest.raises(LogLocked, match=f"process {os.getpid()} is writing this log"):
        Log(directory)
    log.append([b"still writing"])
    assert payloads(directory) == [b"still writing"]


def test_a_writer_in_another_process_holds_the_lock_until_it_is_killed(directory: Path) -> None:
    process = writer(directory, 1 << 20, 0, 10**9)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(LogLocked) as raised:
        Log(directory)
    assert raised.value.pid == str(process.pid)
    process.kill()
    process.wait()
    process.stdout.close()
    Log(directory).close()


# Segments


def test_a_segment_is_begun_with_what_on_rotate_returns(directory: Path) -> None:
    calls: list[int] = []

    def heads() -> list[bytes]:
        calls.append(log.position)
        return [b"heads %d" % len(calls)]

    log = Log(directory, segment_bytes=60, on_rotate=heads)
    for number in range(5):
        log.append([b"message %d" % number, b"x" * 10])
    log.close()
    found = [payload for payload in payloads(directory) if not payload.startswith(b"x")]
    assert found == [
        b"heads 1", b"message 0", b"message 1",
        b"heads 2", b"message 2", b"message 3",
        b"heads 3", b"message 4",
    ]  # fmt: skip
    assert [segment.start for segment in segments(directory)] == calls


def test_heads_that_were_refused_with_their_append_are_written_with_the_next(
    directory: Path,
) -> None:
    log = Log(directory, on_rotate=lambda: [b"heads"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(LogFull):
            log.append([b"refused"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append([b"stored"])
    assert payloads(directory) == [b"heads", b"stored"]
    log.close()


def test_trimming_drops_only_what_every_reader_has_passed(directory: Path) -> None:
    log = Log(directory, segment_bytes=10)
    ends = []
    for number in range(4):
        log.append([b"segment %d" % number])
        ends.append(log.position)
    log.trim(ends[0] - 1)
    assert len(payloads(directory)) == 4
    log.trim(ends[1])
    assert payloads(directory) == [b"segment 2", b"segment 3"]
    assert payloads(directory, ends[2]) == [b"segment 3"]
    log.trim(log.position)
    assert payloads(directory) == [b"segment 3"]
    log.close()


def test_a_reader_behind_the_trimming_is_told(directory: Path) -> None:
    log = Log(directory, segment_bytes=10)
    for number in range(3):
        log.append([b"segment %d" % number])
    behind = Follower(directory, 0)
    log.trim(log.position)
    with pytest.raises(LogTrimmed) as raised:
        behind.poll()
    assert raised.value.oldest == segments(directory)[0].start
    behind.close()
    log.close()


def test_a_reader_that_has_read_everything_finds_its_place_after_trimming_and_opening(
    directory: Path,
) -> None:
    log = Log(directory)
    log.append([b"read"])
    position = log.position
    log.close()
    for _ in range(3):
        log = Log(directory)
        log.trim(position)
        log.close()
    log = Log(directory)
    log.append([b"new"])
    log.trim(position)
    assert payloads(directory, position) == [b"new"]
    log.close()


def test_openings_without_appends_leave_no_files_behind(directory: Path) -> None:
    for _ in range(5):
        Log(directory).close()
    assert len(segments(directory)) <= 2


def test_foreign_files_in_the_directory_are_left_alone(directory: Path) -> None:
    directory.mkdir()
    for name in ("notes.log", "x.txt", "00000000000000000000.damaged"):
        (directory / name).write_text("foreign")
    log = Log(directory)
    log.append([b"a"])
    log.trim(log.position)
    log.close()
    assert payloads(directory) == [b"a"]
    assert (directory / "notes.log").read_text() == "foreign"


# Followers


def test_a_follower_sees_an_append_only_when_all_of_it_is_there(directory: Path) -> None:
    directory.mkdir()
    data = encode([b"one", b"two", b"three"], 0)
    path = directory / f"{0:020d}.log"
    follower = Follower(directory)
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        assert follower.poll() == []
    path.write_bytes(data)
    assert [payload for _, payload in follower.poll()] == [b"one", b"two", b"three"]
    follower.close()


def test_a_follower_takes_as_many_as_it_asks_for_and_goes_on_there(log: Log) -> None:
    log.append([b"%d" % number for number in range(10)])
    follower = Follower(log.directory)
    taken: list[bytes] = []
    while records := follower.poll(3):
        assert len(records) <= 3
        taken += [payload for _, payload in records]
        assert follower.position == records[-1][0]
        again = Follower(log.directory, follower.position)
        assert len(again.poll(100)) == 10 - len(taken)
        again.close()
    assert taken == [b"%d" % number for number in range(10)]
    follower.close()


def test_an_append_larger_than_a_read_is_read(log: Log) -> None:
    records = [b"x" * READ_BYTES, b"y" * (2 * READ_BYTES), b"z"]
    log.append([b"before"])
    log.append(records)
    log.append([b"after"])
    assert payloads(log.directory) == [b"before", *records, b"after"]


def test_lag_is_what_was_not_returned_yet(directory: Path) -> None:
    log = Log(directory, segment_bytes=50)
    follower = Follower(directory)
    for _ in range(10):
        log.append([b"x" * 42])
    assert follower.lag_bytes() == 500
    follower.poll(4)
    assert follower.lag_bytes() == 300
    log.close()
    log = Log(directory)
    log.append([b"y"])
    assert follower.lag_bytes() == 300 + RECORD_BYTES
    follower.poll()
    assert follower.lag_bytes() == 0
    follower.close()
    log.close()


def test_a_follower_in_this_process_follows_a_writer_in_another_across_segments(
    directory: Path,
) -> None:
    process = writer(directory, 2000, 0, 500)
    follower = Follower(directory)
    records: list[bytes] = []
    assert process.stdout is not None
    for line in process.stdout:
        records += [payload for _, payload in follower.poll(7)]
        assert len(records) <= 3 * (int(line) + 500)
    process.stdout.close()
    assert process.wait() == 0
    while more := follower.poll():
        records += [payload for _, payload in more]
    assert records == payloads(directory)
    assert numbers(directory) == list(range(500))
    assert len(segments(directory)) > 10
    follower.close()


class LogMachine(RuleBasedStateMachine):
    """Any order of appends, openings, crashes, trimmings and readings against a plain list."""

    @initialize(segment_bytes=st.sampled_from([1, 40, 1000]))
    def begin(self, segment_bytes: int) -> None:
        import tempfile

        self.temporary = tempfile.TemporaryDirectory()
        self.directory = Path(self.temporary.name)
        self.segment_bytes = segment_bytes
        self.stored: list[bytes] = []
        self.returned: list[bytes] = []
        self.checkpoint: int | None = None
        self.log = Log(self.directory, segment_bytes=segment_bytes)
        self.follower = Follower(self.directory)

    @rule(records=st.lists(st.binary(min_size=1, max_size=60), max_size=4))
    def append(self, records: list[bytes]) -> None:
        self.log.append(records)
        self.stored += records

    @rule(limit=st.integers(1, 5))
    def poll(self, limit: int) -> None:
        for position, payload in self.follower.poll(limit):
            self.returned.append(payload)
            self.checkpoint = position

    @rule(torn=st.binary(max_size=30))
    def crash(self, torn: bytes) -> None:
        self.log.close()
        with segments(self.directory)[-1].path.open("ab") as file:
            file.write(torn)
        self.log = Log(self.directory, segment_bytes=self.segment_bytes)

    @rule()
    def resume(self) -> None:
        self.follower.close()
        self.follower = Follower(self.directory, self.checkpoint)

    @precondition(lambda self: self.checkpoint is not None)
    @rule()
    def trim(self) -> None:
        self.log.trim(self.checkpoint)

    @invariant()
    def returned_in_order(self) -> None:
        assert self.returned == self.stored[: len(self.returned)]
        assert self.follower.poll(0) == []

    def teardown(self) -> None:
        for _, payload in self.follower.poll(10**6):
            self.returned.append(payload)
        assert self.returned == self.stored
        assert self.follower.lag_bytes() == 0
        self.follower.close()
        self.log.close()
        self.temporary.cleanup()


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLogMachine = LogMachine.TestCase
