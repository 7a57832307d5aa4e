"""What moderation asks of the SFUs: somebody silenced, or out, in every room a pattern covers."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chatd.grants import Grant
from metaport.sfu_link import SfuAway, SfuLink
from sfu.control import ControlError

# Requests under way to one SFU: a pattern may cover thousands of rooms.
AT_ONCE = 100


class MediaDone(NamedTuple):
    """How many participants it concerned, and which SFUs did not answer."""

    participants: int
    away: list[str]


class MediaModeration:
    """Asks all SFUs; each hub reaches them all. `links` are those there are now, by name."""

    def __init__(self, links: Mapping[str, SfuLink]) -> None:
        self._links = links

    async def silence(self, user: str, pattern: str, kinds: Sequence[str]) -> MediaDone:
        """Let nothing of these kinds of `user` be forwarded, and the rest be unmuted."""
        return await self._ask(pattern, op="silence", user=user, kinds=list(kinds))

    async def expel(self, user: str, pattern: str) -> MediaDone:
        """End the media of `user`, whatever they came by."""
        return await self._ask(pattern, op="expel", user=user, reason="removed")

    async def _ask(self, pattern: str, **request: Any) -> MediaDone:
        links = list(self._links.values())
        done = await asyncio.gather(*(_ask_one(link, pattern, request) for link in links))
        away = [link.name for link, each in zip(links, done, strict=True) if each is None]
        return MediaDone(sum(each for each in done if each is not None), away)


async def _ask_one(link: SfuLink, pattern: str, request: dict[str, Any]) -> int | None:
    rooms = [room for room in link.rooms if Grant(pattern).covers(room)]
    if "*" not in pattern and pattern not in rooms:
        rooms.append(pattern)  # its rooms are known up to a second late
    total = 0
    try:
        for start in range(0, len(rooms), AT_ONCE):
            some = rooms[start : start + AT_ONCE]
            answers = await asyncio.gather(*(link.request(room=room, **request) for room in some))
            total += sum(answer["participants"] for answer in answers)
    except (SfuAway, ControlError):
        return None
    return total if link.connected else None
