"""The words RedisBus speaks to `ordering.lua`: keys, arguments, answers."""

import binascii
import hashlib
import zlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from chatd.body import body_bytes
from chatd.bus import Draft
from chatd.redis_options import RedisOptions
from chatd.wire import MSGPACK, Message, Since

SOURCE = resources.files("chatd").joinpath("ordering.lua").read_bytes()
# Redis names a script by the SHA-1 of its source.
SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest()

# `chat.messages_sent` and `chat.text_bytes_in` are counted in these; a multiple of them is a
# ledger's window.
WINDOW_S = 900

# Hash slots (Redis Cluster specification).
_SLOTS = 16384
# Each stands for 128 slots, so that nodes with equal shares of slots get shares of rooms that
# differ by at most one in 128 per border. Processes must agree on it, so it is no option.
CLUSTER_PARTITIONS = 128

# Entries one read returns at most: what a stream may keep over `room_messages`, and some.
MAX_READ = 1200

# A process keeps its place in a lane for as long as it may try a batch again.
_LANE_S = 86400

_encode = MSGPACK.encode

Command = tuple[bytes | str | int, ...]


class Partition(msgspec.Struct, frozen=True):
    """Rooms that share a hash tag, and so a node. `stem` begins every key and channel of them."""

    index: int
    slot: int
    stem: bytes

    def key(self, name: bytes) -> bytes:
        """Return the key or channel `name` of this partition."""
        return self.stem + name


@cache
def partitions(prefix: str, clustered: bool) -> tuple[Partition, ...]:
    """Return all partitions: one on a single server, else 128 spread evenly over the slots."""
    count = CLUSTER_PARTITIONS if clustered else 1
    tags: dict[int, int] = {}
    number = 0
    while len(tags) < count:
        tags.setdefault(_slot(number) * count // _SLOTS, number)
        number += 1
    return tuple(
        Partition(index, _slot(tags[index]), b"%s{%d}" % (prefix.encode(), tags[index]))
        for index in range(count)
    )


def partition_of(room: str, among: Sequence[Partition]) -> Partition:
    """Return the partition of `room`; the same in every process."""
    return among[zlib.crc32(room.encode()) % len(among)]


def _slot(tag: int) -> int:
    # CRC-16/XMODEM, as the Cluster specification says.
    return binascii.crc_hqx(b"%d" % tag, 0) % _SLOTS


class Place(msgspec.Struct, frozen=True):
    """Where a room is in Redis.

    `head` begins every `message` frame of it; `spread` parts the rooms of a partition evenly.
    """

    room: str
    partition: Partition
    spread: int
    meta: bytes
    stream: bytes
    channel: bytes
    head: bytes


def place_of(room: str, among: Sequence[Partition]) -> Place:
    """Return the keys of `room`."""
    partition, name = partition_of(room, among), room.encode()
    return Place(
        room,
        partition,
        zlib.crc32(name) // len(among),
        partition.key(b"room:" + name),
        partition.key(b"log:" + name),
        partition.key(b"say:" + name),
        b"\x88\xa1t\xa7message\xa4room" + _encode(room) + b"\xa6offset",
    )


class Parcel(msgspec.Struct, gc=False):
    """A draft, packed. The script puts offset, id and time between its pieces."""

    draft: Draft
    place: Place
    key: bytes | None
    subject: bytes
    body_bytes: int
    middle: bytes
    tail: bytes

    @property
    def size_bytes(self) -> int:
        """Bytes it holds while it waits."""
        return len(self.middle) + len(self.tail)


def parcel_of(draft: Draft, place: Place) -> Parcel:
    """Pack `draft` for `place`."""
    user = _encode(draft.user)
    key, body = None, draft.body
    # As the hub has it: bodies are nearly all plain text.
    size = len(body) if type(body) is str and body.isascii() else body_bytes(body)
    if draft.key is not None:
        identity = _encode((draft.room, draft.user, draft.key))
        digest = hashlib.blake2b(identity, digest_size=16).hexdigest()
        key = place.partition.key(b"key:" + digest.encode())
    return Parcel(
        draft,
        place,
        key,
        b"\x92" + _encode(draft.room) + user,
        size,
        b"\xa4from" + user + b"\xa4name" + _encode(draft.name) + b"\xa2at",
        b"\xa4body" + _encode(body),
    )


def publish_command(
    *,
    options: RedisOptions,
    partition: Partition,
    sharded: bool,
    process: str,
    lane: int,
    sequence: int,
    known: str,
    fresh: str,
    peers: str,
    utc_s: float,
    parcels: Sequence[Parcel],
) -> Command:
    """Return the call that gives `parcels`, all of `partition`, their places.

    `known` is the generation of the first attempt when this may not be the first, else empty;
    `peers` the replication ids of all primaries, empty when the script knows them.
    """
    kept = options.kept
    first_window_s = (int(utc_s) // WINDOW_S - 1) * WINDOW_S
    windows = [first_window_s + index * WINDOW_S for index in range(3)]
    keys = [
        partition.key(b"seed"),
        partition.key(b"lane:%b:%d" % (process.encode(), lane)),
        *(sent_key(partition, window_s) for window_s in windows),
        *(sent_bytes_key(partition, window_s) for window_s in windows),
    ]
    rooms: dict[str, int] = {}
    heads: list[bytes] = []
    for parcel in parcels:
        place = parcel.place
        if place.room not in rooms:
            rooms[place.room] = len(rooms) + 1
            keys += (place.meta, place.stream)
            heads += (place.channel, place.head)
    drafts: list[bytes | int] = []
    for parcel in parcels:
        if parcel.key is not None:
            keys.append(parcel.key)
        drafts += (
            rooms[parcel.place.room],
            0 if parcel.key is None else len(keys),
            parcel.subject,
            parcel.body_bytes,
            parcel.middle,
            parcel.tail,
        )
    return (
        "EVALSHA",
        SHA,
        len(keys),
        *keys,
        "publish",
        fresh,
        _keeps(options),
        peers,
        sequence,
        known,
        process,
        "SPUBLISH" if sharded else "PUBLISH",
        WINDOW_S,
        first_window_s,
        kept.room_messages,
        kept.room_bytes,
        int(kept.message_s * 1000),
        int(kept.key_s * 1000),
        kept.room_s,
        _LANE_S,
        kept.sent_s,
        len(rooms),
        len(parcels),
        *heads,
        *drafts,
    )


def read_command(
    *,
    options: RedisOptions,
    place: Place,
    fresh: str,
    peers: str,
    since: Since | None,
    history: int,
) -> Command:
    """Return the call that reads what came after `since` and at least the last `history`."""
    return (
        "EVALSHA",
        SHA,
        3,
        place.partition.key(b"seed"),
        place.meta,
        place.stream,
        "read",
        fresh,
        _keeps(options),
        peers,
        options.kept.room_s,
        MAX_READ,
        since.epoch if since is not None else "",
        since.offset if since is not None else 0,
        history,
    )


def sent_key(partition: Partition, window_start_s: int) -> bytes:
    """Return the key of the counts of one window."""
    return partition.key(b"sent:%d" % window_start_s)


def sent_bytes_key(partition: Partition, window_start_s: int) -> bytes:
    """Return the key of the bytes that were counted with `sent_key`.

    A key of its own: processes whose script does not count them read every field of the other.
    """
    return partition.key(b"sent_bytes:%d" % window_start_s)


def _keeps(options: RedisOptions) -> int:
    return int(options.durability.appendfsync == "always")


class Ordered(msgspec.Struct, array_like=True, gc=False):
    """What became of a draft; of a refused one `epoch` is the server's reason."""

    outcome: Literal["accepted", "repeat", "refused"]
    epoch: str
    offset: int
    at_ms: int


class Answer(msgspec.Struct, array_like=True):
    """What became of a batch.

    `stale`: a later batch of this lane was done, so this one's first attempt was too, long ago.
    `lost`: it may have been done before writes were lost. `clock`: nothing done, `now_ms` is the
    server's time.
    """

    generation: str
    now_ms: int
    places: list[Ordered] | Literal["stale", "lost", "clock"]


class Head(msgspec.Struct, array_like=True):
    """A room's place when it was read; `opened` when the read made it new."""

    generation: str
    now_ms: int
    epoch: str
    offset: int
    opened: bool


decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_message = msgspec.msgpack.Decoder(Message).decode


class SentCount(msgspec.Struct, frozen=True):
    """Messages accepted from `user` in `room` in a window, in total since the generation began.

    (generation, room, user, window) never counts down: a ledger keeps the highest seen.
    `body_bytes` are those of the same messages, without what a process of the version before had
    ordered: it counts them itself.
    """

    generation: str
    room: str
    user: str
    window_start_s: int
    count: int
    body_bytes: int


_decode_subject = msgspec.msgpack.Decoder(tuple[str, str]).decode


def sent_counts(
    window_start_s: int, reply: Sequence[bytes], bytes_reply: Sequence[bytes]
) -> list[SentCount]:
    """Return the counts in the replies to HGETALL of `sent_key` and `sent_bytes_key`."""
    sizes = dict(zip(bytes_reply[::2], bytes_reply[1::2], strict=True))
    counts = []
    for name, count in zip(reply[::2], reply[1::2], strict=True):
        room, user = _decode_subject(name[FRESH_CHARS:])
        generation, size = name[:FRESH_CHARS].decode(), int(sizes.get(name, 0))
        counts.append(SentCount(generation, room, user, window_start_s, int(count), size))
    return counts


# Characters of epochs and generations.
FRESH_CHARS = 12
