"""The script by itself: what is done once, what is fenced, what begins a new epoch."""

import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chatd.bus import Draft
from chatd.redis_options import Durability, RedisOptions
from chatd.redis_script import (
    SHA,
    SOURCE,
    Answer,
    Head,
    decode_answer,
    decode_head,
    parcel_of,
    partition_of,
    partitions,
    place_of,
    publish_command,
    read_command,
)
from tests.chatd.redis_server import RedisServer, wait_for

_ALL = partitions("metaport", False)
_PLACE = place_of("lobby", _ALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "first").start()
    yield server
    server.kill()


class Caller:
    """A process that calls the script without a bus."""

    def __init__(self, server: RedisServer, durability: Durability | None = None) -> None:
        self.server = server
        self._options = RedisOptions(durability=durability or Durability())
        self.peers = ""

    def publish(self, sequence: int, *bodies: object, known: str = "", utc_s: Any = None) -> Answer:
        if utc_s is None:
            utc_s = int(self.server.ask("TIME")[0])
        drafts = [Draft("lobby", "visitor", "Visitor", body, None, None, 1) for body in bodies]
        command = publish_command(
            options=self._options,
            partition=_PLACE.partition,
            sharded=False,
            process="p",
            lane=0,
            sequence=sequence,
            known=known,
            fresh=secrets.token_hex(6),
            peers=self.peers,
            utc_s=utc_s,
            parcels=[parcel_of(draft, _PLACE) for draft in drafts],
        )
        return decode_answer(self._call(command))

    def read(self) -> Head:
        command = read_command(
            options=self._options,
            place=_PLACE,
            fresh=secrets.token_hex(6),
            peers=self.peers,
            since=None,
            history=0,
        )
        return decode_head(self._call(command)[0])

    def _call(self, command: Any) -> Any:
        assert self.server.ask("SCRIPT", "LOAD", SOURCE).decode() == SHA
        return self.server.ask(*command)


def _offsets(answer: Answer) -> list[int]:
    assert not isinstance(answer.places, str)
    return [place.offset for place in answer.places]


def test_a_batch_that_comes_again_gets_its_first_answer(server: RedisServer) -> None:
    caller = Caller(server)
    first = caller.publish(1, "a", "b")
    again = caller.publish(1, "a", "b", known=first.generation)
    assert again == first
    assert _offsets(caller.publish(2, "c")) == [3]


def test_a_batch_older_than_the_last_is_not_done(server: RedisServer) -> None:
    caller = Caller(server)
    caller.publish(1, "a")
    caller.publish(3, "b")
    assert caller.publish(2, "late").places == "stale"
    assert caller.read().offset == 2


def test_a_doubtful_batch_of_another_generation_is_lost_for_good(server: RedisServer) -> None:
    caller = Caller(server)
    caller.read()
    assert caller.publish(1, "a", known="another").places == "lost"
    # The first attempt was stuck, and arrives now.
    assert caller.publish(1, "a").places == "lost"
    assert _offsets(caller.publish(2, "b")) == [1]


def test_a_window_that_is_not_now_is_told_and_nothing_is_done(server: RedisServer) -> None:
    caller = Caller(server)
    answer = caller.publish(1, "a", utc_s=1000)
    assert answer.places == "clock"
    assert abs(answer.now_ms / 1000 - int(server.ask("TIME")[0])) < 5
    assert caller.publish(1, "a").places == "clock"
    assert _offsets(caller.publish(2, "a")) == [1]


@pytest.mark.parametrize("durability", [Durability(), Durability(appendfsync="always")])
def test_every_promotion_begins_new_epochs_even_there_and_back(
    server: RedisServer, tmp_path: Path, durability: Durability
) -> None:
    other = RedisServer(tmp_path / "second", "--replicaof", f"127.0.0.1 {server.port}")
    try:
        server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        caller = Caller(server, durability)
        caller.publish(1, "a")
        epochs = [caller.read().epoch]
        other.start()
        wait_for(lambda: other.info("replication")["master_link_status"] == "up", "replication")
        # To the other and back, while nobody says a word on it.
        other.ask("REPLICAOF", "NO", "ONE")
        server.ask("REPLICAOF", "127.0.0.1", other.port)
        wait_for(lambda: server.info("replication")["master_link_status"] == "up", "replication")
        server.ask("REPLICAOF", "NO", "ONE")
        epochs.append(caller.read().epoch)
        caller.server = other
        epochs.append(caller.read().epoch)
        assert len(set(epochs)) == 3
        assert caller.read().offset == 0
    finally:
        other.kill()


def test_with_every_write_synced_a_restart_is_no_promotion(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always").start()
    try:
        promised, weak = Caller(server, Durability(appendfsync="always")), Caller(server)
        promised.publish(1, "a")
        before = promised.read()
        server.kill()
        server.start()
        after = promised.read()
        assert (after.epoch, after.offset) == (before.epoch, 1)
        server.kill()
        server.start()
        assert weak.read().epoch != before.epoch
    finally:
        server.kill()


@pytest.mark.parametrize("nodes", [3, 4, 6, 9, 12])
def test_tags_share_the_slots_evenly(nodes: int) -> None:
    every = partitions("metaport", True)
    assert len({partition.slot for partition in every}) == 128
    bounds = [round(16384 * index / nodes) for index in range(nodes + 1)]
    counts = [
        sum(low <= partition.slot < high for partition in every) for low, high in pairwise(bounds)
    ]
    assert max(counts) - min(counts) <= 2


def test_a_slot_that_moves_keeps_its_epochs_only_to_who_was_a_primary_before(
    server: RedisServer, tmp_path: Path
) -> None:
    other = RedisServer(tmp_path / "second").start()
    try:
        caller = Caller(server)
        caller.peers = ",".join(s.info("replication")["master_replid"] for s in (server, other))
        caller.publish(1, "a")
        before = caller.read()
        caller.peers = ""
        _move_keys(server, other)
        caller.server = other
        after = caller.read()
        assert (after.epoch, after.offset) == (before.epoch, 1)
        # The same server after a restart is a stranger.
        _move_keys(other, server)
        other.kill()
        other.start()
        _move_keys(server, other)
        assert caller.read().epoch != before.epoch
    finally:
        other.kill()


def _move_keys(source: RedisServer, target: RedisServer) -> None:
    source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *source.ask("KEYS", "*"))


def test_rooms_spread_over_partitions() -> None:
    every = partitions("metaport", True)
    used = {partition_of(f"world/{n}/lobby", every).index for n in range(2000)}
    assert len(used) == 128
