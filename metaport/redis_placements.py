"""Which SFU each room is on, and which SFUs there are, in Redis: the same for all hub processes.

A placement is a string with an expiry, changed by compare-and-set in one script. The registry is a
hash of names, addresses and expiries by the server's own clock.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from chatd.redis_link import Link, RedisSilent, RedisUnreachable, link_to
from chatd.redis_options import Times
from chatd.redis_script import Command, Partition, partition_of
from metaport.config import Config
from metaport.placements import LEASE_S, LocalPlacements, Placements, PlacementsAway

# Three refreshes may be lost before an SFU that lives is forgotten.
REGISTERED_S = 10.0
ROOMS_AT_ONCE = 500

# KEYS: the room. ARGV: SFU, the one it must be instead of (empty: none), lease in ms.
_PLACE = """
local placed = redis.call('GET', KEYS[1])
if placed and placed ~= ARGV[2] then return placed end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return ARGV[1]
"""
# KEYS: the registry. ARGV: name, address, lease in ms.
_REGISTER = """
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
return redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', until_ms, ARGV[2]))
"""
# KEYS: the registry. Returns names and addresses of those whose lease holds; forgets the others.
_REGISTERED = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local entries, living = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #entries, 2 do
  local until_ms, address = entries[i + 1]:match('^(%d+) (.+)$')
  if tonumber(until_ms) > now_ms then
    living[#living + 1] = entries[i]
    living[#living + 1] = address
  else
    redis.call('HDEL', KEYS[1], entries[i])
  end
end
return living
"""


class _Shelf:
    """Scripts on a Redis; every failure is `PlacementsAway`."""

    def __init__(self, url: str, prefix: str, times: Times | None = None) -> None:
        self._link: Link = link_to(url, prefix, times or Times())
        self._refreshed = False

    async def close(self) -> None:
        """Let go of the connections."""
        await self._link.close()

    def partition(self, room: str) -> Partition:
        return partition_of(room, self._link.partitions)

    async def run(self, commands: Sequence[tuple[Partition, Command]]) -> list[Any]:
        """Run commands, those of a node in one pipeline; a moved slot is followed once.

        Raises:
            PlacementsAway: no answer, or one that is an error.
        """
        try:
            if not self._refreshed:
                await self._link.refresh()
                self._refreshed = True
            return await self._sent(commands)
        except (RedisUnreachable, RedisSilent, ResponseError) as error:
            self._refreshed = False
            raise PlacementsAway(str(error)) from None

    async def _sent(self, commands: Sequence[tuple[Partition, Command]]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        by_node: dict[str, list[int]] = {}
        for index, (partition, _) in enumerate(commands):
            by_node.setdefault(self._link.node(partition), []).append(index)
        for node, indexes in by_node.items():
            answered = await self._link.send(node, [commands[index][1] for index in indexes])
            for index, reply in zip(indexes, answered, strict=True):
                if isinstance(reply, Exception):
                    raise reply
                replies[index] = reply
        return replies


class RedisPlacements:
    """Placements that all hub processes on one Redis share. `lease_s` is for tests."""

    def __init__(
        self, url: str, prefix: str, *, lease_s: float = LEASE_S, times: Times | None = None
    ) -> None:
        self._shelf = _Shelf(url, prefix, times)
        self._lease_ms = round(lease_s * 1000)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._shelf.close()

    async def find(self, room: str) -> str | None:
        """Return the SFU a room is on, `None` when it is on none. Raises `PlacementsAway`."""
        partition = self._shelf.partition(room)
        [placed] = await self._shelf.run([(partition, ("GET", _key(partition, room)))])
        return None if placed is None else str(placed, "utf-8")

    async def place(self, room: str, sfu: str, instead_of: str | None) -> str:
        """Put a room on `sfu` if it is still on `instead_of`; return where it is now."""
        [placed] = await self._shelf.run([self._placing(room, sfu, instead_of or "")])
        return str(placed, "utf-8")

    async def renew(self, sfu: str, rooms: Iterable[str]) -> dict[str, str]:
        """Keep these rooms on `sfu`; returns those that are placed elsewhere."""
        names = list(rooms)
        elsewhere: dict[str, str] = {}
        for begin in range(0, len(names), ROOMS_AT_ONCE):
            part = names[begin : begin + ROOMS_AT_ONCE]
            placed = await self._shelf.run([self._placing(room, sfu, sfu) for room in part])
            for room, name in zip(part, placed, strict=True):
                if name != sfu.encode():
                    elsewhere[room] = str(name, "utf-8")
        return elsewhere

    def _placing(self, room: str, sfu: str, instead_of: str) -> tuple[Partition, Command]:
        partition = self._shelf.partition(room)
        key = _key(partition, room)
        return partition, ("EVAL", _PLACE, 1, key, sfu, instead_of, self._lease_ms)


class RedisRegistry:
    """The SFUs of a cluster and where they are asked: `host:port` by name."""

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        lease_s: float = REGISTERED_S,
        times: Times | None = None,
    ) -> None:
        self._shelf = _Shelf(url, prefix, times)
        self._lease_ms = round(lease_s * 1000)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._shelf.close()

    async def register(self, name: str, address: str) -> None:
        """Say for the length of a lease where an SFU is. Raises `PlacementsAway`."""
        await self._run(lambda key: ("EVAL", _REGISTER, 1, key, name, address, self._lease_ms))

    async def forget(self, name: str) -> None:
        """Say that an SFU is there no longer. Raises `PlacementsAway`."""
        await self._run(lambda key: ("HDEL", key, name))

    async def registered(self) -> dict[str, str]:
        """Return the SFUs whose lease holds. Raises `PlacementsAway`."""
        found = await self._run(lambda key: ("EVAL", _REGISTERED, 1, key))
        texts = [str(entry, "utf-8") for entry in found]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def _run(self, command: Callable[[bytes], Command]) -> Any:
        partition = self._shelf.partition("")
        [reply] = await self._shelf.run([(partition, command(partition.key(b"sfus")))])
        return reply


def placements_of(config: Config) -> Placements:
    """Return the placements of a hub process: those of all, where there is a Redis."""
    if config.redis.url is None:
        return LocalPlacements(time.monotonic)
    return RedisPlacements(config.redis.url, config.redis.prefix)


def _key(partition: Partition, room: str) -> bytes:
    return partition.key(b"sfu:" + room.encode())
