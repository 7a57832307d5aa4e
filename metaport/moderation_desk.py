"""Where moderators' acts are carried out, on whichever hub they are asked for.

Order of an act, and what a crash after each step costs:
1. it is kept in the database, with the webhook event (nothing: each hub reads it within a second)
2. every hub that lives is asked to look, and says whom it reached (likewise)
3. the SFUs mute, or end, the person's media (a chat participant is refused at the next frame; a
   WHIP session goes on until the act is repeated)
What did not answer is told, never hidden.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chatd.bus import Receipt
from chatd.errands import Answers, Errands
from chatd.errors import FactsRefused, Refused
from chatd.hub import Hub
from chatd.podium import Speech
from metaport.db.moderation import SqlModeration
from metaport.media_moderation import MediaDone, MediaModeration
from metaport.moderation_act import Act
from metaport.moderation_watch import ModerationWatch

# Redis answers within milliseconds, or the hub says that it is away.
SAY_WITHIN_S = 5.0
PEOPLE_AT_A_TIME = 100
_NO_MEDIA = MediaDone(0, [])


class Done(NamedTuple):
    """What came of an act: the connections and media it reached, and who did not answer.

    `refused` are connections that could not be moved, and `reason` why.
    """

    act: Act
    connections: int
    participants: int
    unanswered: int
    away: list[str]
    refused: int = 0
    reason: str | None = None


class SayUnknown(Exception):
    """It is not known whether a message was stored: ask again with the same key."""


class Person(NamedTuple):
    """Somebody in a room: by how many connections, and what is muted of them."""

    user: str
    name: str
    connections: int
    muted: list[str]


class ModerationDesk:
    """Acts of moderators, what the server says, and who is where, over all hubs."""

    def __init__(
        self,
        store: SqlModeration,
        watch: ModerationWatch,
        errands: Errands,
        *,
        hub: Hub,
        media: MediaModeration,
        clock: Callable[[], float],
        node: str,
    ) -> None:
        self.store = store
        self._watch = watch
        self._errands = errands
        self._hub = hub
        self._media = media
        self._clock = clock
        self._node = node
        self._started_at = clock()
        errands.serve("moderation.look", self._look)
        errands.serve("moderation.count", self._count)
        errands.serve("moderation.move", self._move)
        errands.serve("people", self._people)
        errands.serve("figures", self._figures)

    async def carry_out(self, act: Act) -> Done:
        """Keep an act and carry it out.

        Raises:
            DatabaseError: nothing was done.
        """
        act = await self.store.add(act)
        if act.act == "move":
            return await self._carry_out_move(act)
        answers = await self._errands.run(
            "moderation.look", user=act.user, room=act.room, revision=act.revision
        )
        media = await self._of_media(act)
        return Done(act, sum(answers.results), media.participants, answers.unanswered, media.away)

    async def say(self, room: str, user: str, name: str, body: object, key: str | None) -> Receipt:
        """Say something in a room as `user`, who need not be there.

        Raises:
            Refused: it cannot be said.
            FactsRefused: it was not stored.
            SayUnknown: no answer came.
        """
        said: asyncio.Future[Receipt | Refused | FactsRefused] = (
            asyncio.get_running_loop().create_future()
        )

        def settle(outcome: Receipt | Refused | FactsRefused) -> None:
            if not said.done():
                said.set_result(outcome)

        self._hub.say(Speech(room, user, name, body, key, settle))
        try:
            async with asyncio.timeout(SAY_WITHIN_S):
                outcome = await said
        except TimeoutError:
            raise SayUnknown from None
        if isinstance(outcome, Receipt):
            return outcome
        raise outcome

    async def people(self, room: str, after: str, limit: int) -> tuple[list[Person], int]:
        """Return who is in a room, by user id from `after` on, and how many hubs are missing."""
        limit = min(limit, PEOPLE_AT_A_TIME)
        answers = await self._errands.run("people", room=room, after=after, limit=limit)
        found: dict[str, tuple[str, int]] = {}
        for user, name, count in (each for result in answers.results for each in result):
            found[user] = name, found.get(user, (name, 0))[1] + count
        # A hub told no more than `limit`: beyond the least of their ends something may be missing.
        users = sorted(found)[:limit]
        return [Person(user, *found[user], self.muted(user, room)) for user in users], (
            answers.unanswered
        )

    async def present(self, user: str, room: str) -> int:
        """Return how many connections of a user are in a room, over all hubs that answer."""
        return sum((await self._errands.run("moderation.count", user=user, room=room)).results)

    def muted(self, user: str, room: str) -> list[str]:
        """Return what of `user` is muted in `room`."""
        silence = self._watch.book.silence(user, room, int(self._clock() * 1000))
        return [] if silence is None else sorted(silence.what)

    async def figures(self, room: str | None) -> Answers:
        """Return the live figures of each hub, of one room or of the whole."""
        return await self._errands.run("figures", room=room)

    async def _carry_out_move(self, act: Act) -> Done:
        answers = await self._errands.run(
            "moderation.move",
            user=act.user, room=act.room, to=act.to, by=act.by, note=act.note,
        )  # fmt: skip
        reasons = [reason for _, _, reason in answers.results if reason is not None]
        return Done(
            act,
            sum(moved for moved, _, _ in answers.results),
            0,
            answers.unanswered,
            [],
            sum(refused for _, refused, _ in answers.results),
            reasons[0] if reasons else None,
        )

    async def _of_media(self, act: Act) -> MediaDone:
        user = act.user or ""
        match act.act:
            case "mute" | "unmute":
                muted = self.muted(user, act.room)
                kinds = [what for what in muted if what != "text"]
                return await self._media.silence(user, act.room, kinds)
            case "kick" | "ban" | "expel":
                return await self._media.expel(user, act.room)
        return _NO_MEDIA

    # What this hub does for another.

    async def _look(self, asked: Mapping[str, Any]) -> int:
        """Take up what is new, and say how many connections of the user are concerned."""
        user, room = asked["user"], asked["room"]
        concerned = 0 if user is None else self._hub.connections_of(user, room)
        await self._watch.look()
        return concerned

    async def _count(self, asked: Mapping[str, Any]) -> int:
        return self._hub.connections_of(asked["user"], asked["room"])

    async def _move(self, asked: Mapping[str, Any]) -> tuple[int, int, str | None]:
        return self._hub.bailiff.move(**asked)

    async def _people(self, asked: Mapping[str, Any]) -> list[tuple[str, str, int]]:
        people = self._hub.people_in(asked["room"])
        users = sorted(user for user in people if user > asked["after"])[: asked["limit"]]
        return [(user, *people[user]) for user in users]

    async def _figures(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        room, counters = asked["room"], self._hub.counters
        told: dict[str, Any] = {"hub": self._node}
        if room is not None:
            people = self._hub.people_in(room)
            connections = sum(count for _, count in people.values())
            return told | {"connections": connections, "users": len(people)}
        return told | {
            "connections": counters.connections,
            "users": self._hub.users,
            "rooms": counters.rooms,
            "messages_in": counters.messages_in,
            "messages_out": counters.messages_out,
            "uptime_s": int(self._clock() - self._started_at),
        }
