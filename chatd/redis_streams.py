"""What Redis still has of rooms, for whoever compares it with what is kept elsewhere."""

from collections.abc import Sequence
from typing import Any

from chatd.redis_link import Link, RedisUnreachable
from chatd.redis_script import Command, decode_message, place_of
from chatd.wire import Message


class Streams:
    """The streams of rooms behind a link, read only.

    Everything here raises `RedisUnreachable` and `RedisSilent`; ask again later.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def ends(self, rooms: Sequence[str]) -> dict[str, tuple[Message, Message]]:
        """Return the oldest and the newest message of each room; a room without any is left out."""
        asked: dict[str, list[tuple[str, Command]]] = {}
        for room in rooms:
            place = place_of(room, self._link.partitions)
            commands = asked.setdefault(self._link.node(place.partition), [])
            commands.append((room, ("XRANGE", place.stream, "-", "+", "COUNT", 1)))
            commands.append((room, ("XREVRANGE", place.stream, "+", "-", "COUNT", 1)))
        found: dict[str, list[Message]] = {}
        for node, of_node in asked.items():
            replies = await self._link.send(node, [command for _, command in of_node])
            for (room, _), reply in zip(of_node, replies, strict=True):
                found.setdefault(room, []).extend(_messages(reply))
        return {room: (two[0], two[1]) for room, two in found.items() if len(two) == 2}

    async def between(self, room: str, first: int, last: int) -> list[Message]:
        """Return what is kept of the offsets from `first` to `last`, both included."""
        place = place_of(room, self._link.partitions)
        command: Command = ("XRANGE", place.stream, first, last)
        (reply,) = await self._link.send(self._link.node(place.partition), [command])
        return _messages(reply)


def epoch_of(message: Message) -> str:
    """Return the epoch in which Redis gave a message its place: its id begins with it."""
    return message.id.rpartition("-")[0]


def _messages(reply: Any) -> list[Message]:
    if isinstance(reply, Exception):
        raise RedisUnreachable(str(reply))
    # An entry is [id, [b"frame", frame, …]], see ordering.lua.
    return [decode_message(fields[1]) for _, fields in reply]
