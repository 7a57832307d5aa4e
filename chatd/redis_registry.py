"""The hub processes on one Redis: who they are, who has gone, and whether two have one name."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from chatd.redis_link import Link, RedisSilent, RedisUnreachable

_log = logging.getLogger("chatd.redis")

# Three beats may be lost before anybody is taken for dead; everyone else knows 18 s after a crash
# at the latest, and people of the dead disappear then.
BEAT_S = 3.0
GONE_S = 15.0


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """What a process says of itself.

    `home` names the directory its log is in: a second process with it is the same hub, restarted.
    `since_us` is the server's time when it came, `beat` counts up while it lives.
    """

    name: str
    home: str
    since_us: int
    beat: int


@dataclass(slots=True)
class _Seen:
    entry: Entry
    changed_at: float
    # Its beat has changed since it was first seen, so it is alive for certain.
    beats: bool = False


class Registry:
    """Tells the others that this process lives, and finds out who else does.

    Clocks are not compared: whoever's `beat` stands still for `GONE_S` of our own time is gone,
    and `gone` is called with its id. While Redis is away nobody goes: it may be us who cannot see.
    """

    def __init__(
        self,
        link: Link,
        *,
        process: str,
        name: str,
        home: str,
        gone: Callable[[str], None],
        now: Callable[[], float],
        beat_s: float = BEAT_S,
        gone_s: float = GONE_S,
    ) -> None:
        self._link = link
        self._process = process
        self._name = name
        self._home = home
        self._gone = gone
        self._now = now
        self._beat_s = beat_s
        self._gone_s = gone_s
        self._partition = link.partitions[0]
        self._key = self._partition.key(b"hubs")
        self._since_us = 0
        self._beat = 0
        self._seen: dict[str, _Seen] = {}
        self._looked_at: float | None = None
        # Taken for our own past; one that comes back is a copy of this hub that lives elsewhere.
        self._buried: set[str] = set()
        self.known = False
        """Whether Redis has said who is there since `run` began."""

    @property
    def others(self) -> list[str]:
        """The ids of all other processes that live, or have not been silent for long."""
        return list(self._seen)

    @property
    def first(self) -> bool:
        """Whether this process does what one of them must do: the one with the least id.

        For some seconds two may be, or none.
        """
        lately = self._now() - 2.5 * self._beat_s
        beating = (other for other, seen in self._seen.items() if seen.changed_at > lately)
        return self.known and all(self._process < other for other in beating)

    @property
    def rival(self) -> str | None:
        """A sentence when another hub with this name was there first, None while there is none."""
        for seen in self._seen.values():
            mine = seen.entry.name == self._name
            if mine and seen.beats and (seen.entry.since_us, seen.entry.home) < self._claim():
                return f"another hub has the name {self._name!r}; give each a hub.name of its own"
        return None

    @property
    def doubtful(self) -> str | None:
        """A sentence while a hub of this name elsewhere may be alive, None when it is not."""
        for seen in self._seen.values():
            if seen.entry.name == self._name and seen.entry.home != self._home and not seen.beats:
                return f"waiting to see whether another hub has the name {self._name!r}"
        return None

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self._look()
            except (RedisUnreachable, RedisSilent) as error:
                _log.debug("no look at the other hubs: %s", error)
                self._looked_at = None
            await asyncio.sleep(self._beat_s)

    async def leave(self) -> None:
        """Be gone at once for the others; harmless while Redis is away."""
        try:
            await self._link.send(
                self._link.node(self._partition), [("HDEL", self._key, self._process)]
            )
        except (RedisUnreachable, RedisSilent) as error:
            _log.debug("the other hubs will notice by themselves: %s", error)

    async def _look(self) -> None:
        node = self._link.node(self._partition)
        if not self._since_us:
            (time,) = await self._link.send(node, [("TIME",)])
            if isinstance(time, Exception):
                raise RedisUnreachable(str(time))
            self._since_us = int(time[0]) * 1_000_000 + int(time[1])
        self._beat += 1
        mine = Entry(self._name, self._home, self._since_us, self._beat)
        _, told = await self._link.send(
            node,
            [
                ("HSET", self._key, self._process, msgspec.msgpack.encode(mine)),
                ("HGETALL", self._key),
            ],
        )
        if isinstance(told, Exception):
            raise RedisUnreachable(str(told))
        self._take(dict(zip(told[::2], told[1::2], strict=True)))
        await self._forget_the_dead(node)

    def _take(self, told: dict[bytes, bytes]) -> None:
        now = self._now()
        if self._looked_at is None:
            # We were blind: nobody has been silent for as long as it seems.
            for seen in self._seen.values():
                seen.changed_at = now
        self._looked_at = now
        found: dict[str, Entry] = {}
        for raw, packed in told.items():
            try:
                found[raw.decode()] = msgspec.msgpack.decode(packed, type=Entry)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # of another version of this program
        found.pop(self._process, None)
        for process, entry in found.items():
            if process not in self._seen:
                self._seen[process] = _Seen(entry, now, process in self._buried)
            seen = self._seen[process]
            if entry.beat != seen.entry.beat:
                seen.entry, seen.changed_at, seen.beats = entry, now, True
        for process in [process for process in self._seen if process not in found]:
            self._lose(process)
        self.known = True

    async def _forget_the_dead(self, node: str) -> None:
        now = self._now()
        past = [process for process, seen in self._seen.items() if self._is_my_past(seen)]
        self._buried.update(past)
        silent = [p for p, seen in self._seen.items() if now - seen.changed_at >= self._gone_s]
        dead = list({*past, *silent})
        if dead:
            await self._link.send(node, [("HDEL", self._key, *dead)])
        for process in dead:
            self._lose(process)

    def _is_my_past(self, seen: _Seen) -> bool:
        # The log directory is locked by this process, so its last holder is dead.
        same = (seen.entry.name, seen.entry.home) == (self._name, self._home)
        return same and not seen.beats and seen.entry.since_us < self._since_us

    def _lose(self, process: str) -> None:
        if self._seen.pop(process, None) is not None:
            self._gone(process)

    def _claim(self) -> tuple[int, str]:
        return self._since_us, self._home
