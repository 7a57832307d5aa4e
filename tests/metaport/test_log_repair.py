import os
from pathlib import Path

import pytest

from metaport.log import Log, LogCorrupt, LogLocked, read
from metaport.log_records import segments
from metaport.log_repair import Damage, find, repair


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Hold a log of two segments: appends of one, three and one record, then another."""
    log = Log(tmp_path, segment_bytes=60)
    log.append([b"one"])
    log.append([b"two a", b"two b", b"two c"])
    log.append([b"three"])
    log.append([b"four"])
    log.close()
    assert len(segments(tmp_path)) == 2
    return tmp_path


def damage(directory: Path, at: int, count: int = 1) -> bytes:
    path = segments(directory)[0].path
    data = bytearray(path.read_bytes())
    damaged = bytes(byte ^ 0xA5 for byte in data[at : at + count])
    data[at : at + count] = damaged
    path.write_bytes(data)
    return bytes(data)


def payloads(directory: Path) -> list[bytes]:
    return [payload for _, payload in read(directory)]


def test_a_whole_log_has_no_damage(directory: Path) -> None:
    assert list(find(directory)) == []
    assert repair(directory) == []
    assert list(find(directory / "no such log")) == []


def test_every_damaged_byte_costs_its_own_record_and_no_other(directory: Path) -> None:
    path = segments(directory)[0].path
    whole, records = path.read_bytes(), payloads(directory)
    begins = [0, 11, 24, 37, 50]
    for at in range(len(whole)):
        path.write_bytes(whole)
        changed = damage(directory, at)
        hit = max(index for index, begin in enumerate(begins) if begin <= at)
        with pytest.raises(LogCorrupt):
            payloads(directory)
        [(found, copy)] = repair(directory)
        assert (found.position, found.torn) == (begins[hit], False)
        assert copy.read_bytes() == changed[begins[hit] : begins[hit] + found.size]
        assert payloads(directory) == records[:hit] + records[hit + 1 :]
        assert list(find(directory)) == []


def test_positions_stay_so_readers_find_their_place(directory: Path) -> None:
    before = list(read(directory))
    damage(directory, 26)
    repair(directory)
    assert list(read(directory)) == before[:2] + before[3:]
    log = Log(directory)
    log.append([b"five"])
    assert payloads(directory)[-1] == b"five"
    log.close()


def test_two_damaged_places_are_two_copies(directory: Path) -> None:
    damage(directory, 3)
    damage(directory, 40, 3)
    assert [(found.position, found.size) for found, _ in repair(directory)] == [(0, 11), (37, 13)]
    assert payloads(directory) == [b"two a", b"two b", b"three", b"four"]


def test_the_cut_end_of_an_older_segment_is_set_aside(directory: Path) -> None:
    path = segments(directory)[0].path
    os.truncate(path, 53)  # three bytes of the record "three": less than a hole takes
    [(found, copy)] = repair(directory)
    assert found == Damage(path, 50, 3, False)
    assert len(copy.read_bytes()) == 3
    assert payloads(directory) == [b"one", b"two a", b"two b", b"two c", b"four"]


def test_a_torn_tail_is_named_and_left_to_the_next_opening(directory: Path) -> None:
    path = segments(directory)[-1].path
    os.truncate(path, path.stat().st_size - 1)
    [found] = find(directory)
    assert found.torn
    assert repair(directory) == []
    Log(directory).close()
    assert list(find(directory)) == []


def test_a_log_in_use_is_not_repaired(directory: Path) -> None:
    log = Log(directory)
    with pytest.raises(LogLocked):
        repair(directory)
    log.close()
