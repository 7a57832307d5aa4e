"""Join the chat's media port to the control sockets of the SFUs.

1. `MediaRelay.request` is the hub's media port: it relays `media.*` frames of chat connections,
   unread, to the SFU the room is on. `media.join` places a room that is on none (`placements`).
2. Events of an SFU reach `MediaRelay.on_event`: frames go to their chat session, ended WHIP and
   WHEP participants leave their room.
3. A lost control connection loses no media: `MediaRelay.compare` asks who is there, and only those
   whom the SFU does not know are sent to join again; all are when it stays away, and find their
   room on another SFU.
4. An SFU that drains has its rooms placed elsewhere and their people sent `media.move`: they join
   there while the old place still carries, and `media.release` it when the new one does.

**A room is on one SFU**; a chat session that is moving has a place on two, and seconds are metered
on one of them. What a media frame means is the SFU's business alone; here only session, user, name,
room and whether the person may publish are added.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Container, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypedDict

from chatd.grants import Rights
from chatd.media import MediaClient, MediaRefused
from metaport.placements import Placements, PlacementsAway
from metaport.sfu_link import SfuAway, SfuLink
from sfu.control import ControlError

__all__ = ["MediaRelay", "Member", "SfuAway", "SfuLink", "may_publish"]

logger = logging.getLogger(__name__)

MEDIA_UNAVAILABLE = 390
# How often an SFU is asked for its load, and how late its answer may be before it counts as lost:
# a process that is stopped, or behind a dead network, closes no connection.
LOOK_S = 1.0
ANSWER_S = 2.0


def may_publish(roles: Container[str]) -> bool:
    """Tell whether a person with these roles may send media; listeners only receive."""
    return "listener" not in roles


class Member(TypedDict):
    """A WHIP or WHEP participant, as the SFU tells of them."""

    participant: str
    room: str
    user: str
    name: str


class MediaRelay:
    """The media port of `chatd.hub.Hub` over all SFUs.

    `appeared(member)` is called for each WHIP and WHEP participant of an SFU that this process did
    not know, `ended(participant)` when one of them ends or its SFU stays away.
    """

    def __init__(
        self,
        placements: Placements,
        appeared: Callable[[Member], None],
        ended: Callable[[str], None],
        refuses: Callable[[str], bool] = lambda room: False,
        silenced: Callable[[str, str], Sequence[str]] = lambda user, room: (),
    ) -> None:
        self.links: dict[str, SfuLink] = {}
        self._placements = placements
        self._appeared = appeared
        self._ended = ended
        # Says of a room that nobody else may come into its media; who is in goes on.
        self._refuses = refuses
        # Says what moderation lets nobody hear or see of a user in a room.
        self._silenced = silenced
        self._clients: dict[str, MediaClient] = {}
        # Of each session, the rooms whose media it has joined, and on which SFU.
        self._places: dict[str, dict[str, str]] = {}
        # The places that sessions left behind by moving, until they release them.
        self._left_behind: dict[tuple[str, str], str] = {}
        # Who was told to move, so that a second word does not start them again.
        self._told: set[tuple[str, str, str]] = set()
        # Which participation each is, from joining to leaving: one, on whatever SFUs it is.
        self._stays: dict[str, dict[str, tuple[str, int]]] = {}
        # What an SFU says to somebody whom it has not answered yet: SFU and frames.
        self._held: dict[tuple[str, str], tuple[str, list[dict[str, Any]]]] = {}
        self._members: dict[str, str] = {}  # WHIP or WHEP participant: SFU
        # Leaves that an SFU did not hear: it may live, and would count on.
        self._unheard_leaves: dict[tuple[str, str, Any], tuple[MediaClient, dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_tasks: dict[str, asyncio.Task[None]] = {}  # each cancelled by `drop`

    # SFUs that come and go

    async def add(self, link: SfuLink) -> None:
        """Begin to use an SFU."""
        self.links[link.name] = link
        link.client.on_event = lambda event: self.on_event(link, event)
        link.client.on_connect = lambda: self._meet(link)
        link.client.on_lost = link.lost
        link.given_up = lambda: self._give_up(link)
        link.lost()  # it has a moment to be there
        await link.client.start()
        self._look_tasks[link.name] = asyncio.get_running_loop().create_task(
            self._keep_looking(link), name=f"look-{link.name}"
        )

    async def drop(self, name: str) -> None:
        """Use an SFU no longer; whoever is there is sent elsewhere."""
        link = self.links.pop(name)
        task = self._look_tasks.pop(name)
        task.cancel()
        await asyncio.wait([task])
        link.client.on_lost = None
        await link.client.close()
        link.returned()
        self._give_up(link)

    async def close(self) -> None:
        """End all connections."""
        for task in self._look_tasks.values():
            task.cancel()
        for link in self.links.values():
            link.client.on_lost = None
            await link.client.close()
            link.returned()
        tasks = [*self._look_tasks.values(), *self._tasks]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._placements.close()

    # Requests

    async def request(self, client: MediaClient, frame: dict[str, Any]) -> dict[str, Any]:
        """Relay one `media.*` frame and return the SFU's reply frame."""
        self._clients[client.session] = client
        try:
            return await self._relay(client, frame)
        except ControlError as refusal:
            raise MediaRefused(
                refusal.code, refusal.reason, refusal.message, refusal.retry_after_ms
            ) from None
        except SfuAway:
            raise MediaRefused(
                MEDIA_UNAVAILABLE, "media_unavailable", "the media server is away", 1000
            ) from None

    async def _relay(self, client: MediaClient, frame: dict[str, Any]) -> dict[str, Any]:
        room = str(frame.get("room"))
        match frame.get("t"):
            case "media.join":
                return await self._join(client, room, frame)
            case "media.leave":
                return await self._leave(client, room, frame)
            case "media.release":
                return await self._release(client, room, frame)
        return await self._carry(self._link_of(client.session, room), client, frame)

    async def _join(self, client: MediaClient, room: str, frame: dict[str, Any]) -> dict[str, Any]:
        """Let somebody in where the room is; from another SFU, their seconds are handed over."""
        link = await self.place(room)
        session = client.session
        self._unheard_leaves.pop((link.name, session, room), None)
        before = self._places.get(session, {}).get(room)
        old = self.links.get(before) if before not in (None, link.name) else None
        if old is not None and old.connected:
            await old.request("hand_over", session=session, room=room)
        stays = self._stays.setdefault(session, {})
        stays.setdefault(room, (f"s-{secrets.token_hex(9)}", int(time.time() * 1000)))
        _, held = self._held[session, room] = link.name, []
        try:
            reply = await self._carry(link, client, frame)
        except (ControlError, SfuAway):
            if old is not None and old.connected:
                with contextlib.suppress(ControlError, SfuAway):
                    await self._carry(old, client, frame)  # which takes them back
            raise
        finally:
            del self._held[session, room]
        self._places.setdefault(session, {})[room] = link.name
        link.expect(room)
        if before is not None and before != link.name:
            self._left_behind[session, room] = before
        # The caller sends the reply before the loop turns.
        asyncio.get_running_loop().call_soon(self._deliver_all, link.name, session, held)
        return reply

    async def _leave(self, client: MediaClient, room: str, frame: dict[str, Any]) -> dict[str, Any]:
        session = client.session
        if (session, room) in self._left_behind:
            await self._let_go(client, room, frame)
        link = self._link_of(session, room)
        try:
            reply = await self._carry(link, client, frame)
        except SfuAway:
            self._unheard_leaves[link.name, session, room] = client, frame
            raise
        self._places.get(session, {}).pop(room, None)
        self._stays.get(session, {}).pop(room, None)
        return reply

    async def _release(
        self, client: MediaClient, room: str, frame: dict[str, Any]
    ) -> dict[str, Any]:
        await self._let_go(client, room, frame)
        return {"t": "media.released", "room": room}

    async def _let_go(self, client: MediaClient, room: str, frame: dict[str, Any]) -> None:
        """End the place that somebody left behind by moving."""
        name = self._left_behind.pop((client.session, room), None)
        if name is None or name not in self.links:
            return
        self._told.discard((name, client.session, room))
        release = {**frame, "t": "media.release"}
        try:
            await self._carry(self.links[name], client, release)
        except (ControlError, SfuAway):
            logger.debug("%s ends the place of %s by itself", name, client.session)

    async def _carry(
        self, link: SfuLink, client: MediaClient, frame: dict[str, Any]
    ) -> dict[str, Any]:
        identity, room = client.identity, str(frame.get("room"))
        stay, began_ms = self._stays.get(client.session, {}).get(room, ("", 0))
        return await link.request(
            "frame",
            session=client.session,
            user=identity.user_id,
            name=identity.name,
            room=frame.get("room"),
            may_publish=may_publish(identity.roles) and identity.may(Rights.PUBLISH, room),
            # Who comes back from an SFU that died is in; who resumes is known to the SFU.
            may_enter=room in self._places.get(client.session, {}) or not self._refuses(room),
            stay=stay,
            began_ms=began_ms,
            silenced=list(self._silenced(identity.user_id, room)),
            frame=frame,
        )

    def _link_of(self, session: str, room: str) -> SfuLink:
        """Return the SFU of a place; of somebody who has none, any: it knows what to refuse."""
        name = self._places.get(session, {}).get(room)
        if name in self.links:
            return self.links[name]
        for link in self.links.values():
            if link.connected:
                return link
        raise SfuAway(room)

    def closed(self, client: MediaClient) -> None:
        """Tell the SFUs that a chat connection ended; its participants get a grace period."""
        session = client.session
        self._stays.pop(session, None)
        for room, name in self._places.pop(session, {}).items():
            before = self._left_behind.pop((session, room), name)
            self._told -= {(name, session, room), (before, session, room)}
        if self._clients.pop(session, None) is None:
            return
        for link in self.links.values():
            self._spawn(self._tell_closed(link, session), f"media-closed-{session}")

    async def _tell_closed(self, link: SfuLink, session: str) -> None:
        try:
            await link.request("session_closed", session=session)
        except (ControlError, SfuAway):
            logger.debug("session %s ended while %s was away", session, link.name)

    # Placing

    async def place(self, room: str) -> SfuLink:
        """Return the SFU a room is on; one that is on none, or on one that is away, is placed.

        Raises:
            SfuAway: no SFU admits anybody, or the room's may come back within a second.
        """
        await asyncio.gather(*(link.looked_at.wait() for link in self.links.values()))
        try:
            placed = await self._placements.find(room)
            while (link := self._serving(placed)) is None:
                placed = await self._placements.place(room, self._least_loaded().name, placed)
        except PlacementsAway:
            return self._known_place(room)
        if any(name != link.name for name in self._places_of(room)):
            self._send_on(room, link.name)
        return link

    def _serving(self, name: str | None) -> SfuLink | None:
        """Return an SFU that takes people; `None` when its rooms have to be placed elsewhere."""
        link = self.links.get(name) if name is not None else None
        if link is not None and link.returning:
            raise SfuAway(link.name)
        return link if link is not None and link.admits else None

    def _least_loaded(self) -> SfuLink:
        links = [link for link in self.links.values() if link.admits]
        if not links:
            raise SfuAway("all")
        return min(links, key=lambda link: link.load)

    def _known_place(self, room: str) -> SfuLink:
        """Return where people of this process are in the room, while placements are away."""
        for name in self._places_of(room):
            if name in self.links and self.links[name].admits:
                return self.links[name]
        raise SfuAway(room)

    def _places_of(self, room: str) -> Iterator[str]:
        return (places[room] for places in self._places.values() if room in places)

    # Figures

    def away(self) -> list[str]:
        """Return the SFUs that are not connected."""
        return [name for name, link in self.links.items() if not link.connected]

    def overview(self) -> list[dict[str, Any]]:
        """Return what is known of each SFU, at most a second old."""
        return [
            {
                "sfu": link.name,
                "connected": link.connected,
                "draining": link.draining,
                "rooms": len(link.rooms),
                "participants": link.participants,
                "packets_per_s": round(link.packets_per_s),
            }
            for link in self.links.values()
        ]

    async def stats(self) -> dict[str, dict[str, Any] | None]:
        """Ask all SFUs for their counters and details; `None` of one that does not answer."""
        return dict(
            zip(self.links, await asyncio.gather(*map(_stats, self.links.values())), strict=True)
        )

    async def diagnose(self, room: str | None) -> dict[str, list[dict[str, Any]]]:
        """Ask how everybody's media is doing, in one room or in all: rooms by SFU.

        Those that do not answer are left out.
        """
        links = [link for link in self.links.values() if link.connected]
        answers = await asyncio.gather(*(_diagnose(link, room) for link in links))
        return {
            link.name: rooms
            for link, rooms in zip(links, answers, strict=True)
            if rooms is not None
        }

    # WHIP and WHEP

    async def request_http(self, op: str, **fields: Any) -> dict[str, Any]:
        """Carry a `whip`, `whep`, `patch` or `delete` to the SFU it is for.

        Raises:
            ControlError: the SFU refused, with its own reason.
            SfuAway: it is away.
        """
        if "participant" in fields:
            name = self._members.get(fields["participant"])
            link = self.links.get(name) if name is not None else None
            return await (link or self._link_of("", "")).request(op, **fields)
        link = await self.place(fields["room"])
        if op == "whip":
            fields["silenced"] = list(self._silenced(fields["user"], fields["room"]))
        answer = await link.request(op, **fields)
        self._members[answer["participant"]] = link.name
        link.expect(fields["room"])
        return answer

    # What happens to an SFU

    async def _meet(self, link: SfuLink) -> None:
        try:
            await self.compare(link)
        except SfuAway:
            # A process that hangs takes connections; there is no use in keeping this one.
            link.client.abort()

    async def compare(self, link: SfuLink) -> None:
        """Compare with an SFU who is there, after either side was away.

        Sessions it does not know join again; WHIP and WHEP participants that this process does
        not know are present again.
        """
        # Before it is told who is there: it must not count on whom another SFU counts.
        for (name, session, room), (client, frame) in list(self._unheard_leaves.items()):
            if name == link.name:
                del self._unheard_leaves[name, session, room]
                await self._carry(link, client, {**frame, "t": "media.leave"})
                if self._places.get(session, {}).get(room) == name:
                    del self._places[session][room]
        answer = await link.request("sessions", sessions=list(self._clients))
        link.returned()
        await self._look(link)
        self._match(link.name, answer["participants"])
        known = set(answer["known"])
        self._close([p for p in self._places_on(link.name) if p[0] not in known])

    def _match(self, name: str, members: Iterable[Member]) -> None:
        present = {member["participant"]: member for member in members}
        for participant in [p for p, sfu in self._members.items() if sfu == name]:
            if participant not in present:
                del self._members[participant]
                self._ended(participant)
        for participant, member in present.items():
            if participant not in self._members:
                self._members[participant] = name
                self._appeared(member)

    def _give_up(self, link: SfuLink) -> None:
        """Tell everybody on an SFU that it is gone: they join again, elsewhere if there is."""
        self._match(link.name, ())
        self._told = {told for told in self._told if told[0] != link.name}
        gone = list(self._places_on(link.name))
        for session, room in gone:
            # Should it live, cut off from here: it must not count on whom another SFU counts.
            frame = {"t": "media.leave", "room": room}
            self._unheard_leaves[link.name, session, room] = self._clients[session], frame
        self._close(gone)

    def _places_on(self, name: str) -> Iterator[tuple[str, str]]:
        for session, places in self._places.items():
            for room, sfu in places.items():
                if sfu == name:
                    yield session, room

    def _close(self, places: Iterable[tuple[str, str]]) -> None:
        for session, room in places:
            del self._places[session][room]
            self._clients[session].push(
                {"t": "media.closed", "room": room, "reason": "media_unavailable"}
            )

    async def _keep_looking(self, link: SfuLink) -> None:
        """Ask an SFU for its load again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not link.connected:
                continue
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._look(link)
            except TimeoutError:
                logger.warning("%s does not answer: connecting again", link.name)
                link.client.abort()
            except (ControlError, SfuAway):
                continue  # it was lost meanwhile, and `lost` knows
            except Exception:
                logger.exception("looking at %s failed", link.name)

    async def _look(self, link: SfuLink) -> None:
        """Learn an SFU's load, keep its rooms placed there, and move those that are not."""
        load = await link.request("load")
        if load.get("claim"):
            # It heard nothing of this process for too long to be sure of its people.
            await self.compare(link)
            return
        link.learn(load, time.monotonic())
        try:
            elsewhere = await self._placements.renew(link.name, link.rooms)
        except PlacementsAway:
            return
        for room, name in elsewhere.items():
            self._send_on(room, name)
        if link.draining:
            await self._evacuate(link)

    async def _evacuate(self, link: SfuLink) -> None:
        """Place the rooms of an SFU that drains elsewhere; where nothing else is, end them."""
        for room in {room for _, room in self._places_on(link.name)} | link.rooms:
            try:
                target = self._least_loaded()
                placed = await self._placements.place(room, target.name, link.name)
                self._send_on(room, placed)
            except PlacementsAway:
                return
            except SfuAway:
                await link.request("end_room", room=room)

    def _send_on(self, room: str, name: str) -> None:
        """Have people of a room who are not on SFU `name` join there, keeping what they have."""
        for session, places in self._places.items():
            old = places.get(room, name)
            if old != name and (old, session, room) not in self._told:
                self._told.add((old, session, room))
                self._clients[session].push({"t": "media.move", "room": room})

    def on_event(self, link: SfuLink, event: dict[str, Any]) -> None:
        """Deliver what an SFU says by itself."""
        match event:
            case {"event": "frame", "session": session, "frame": frame}:
                self._deliver(link.name, session, frame)
            case {"event": "ended", "participant": participant}:
                self._members.pop(participant, None)
                self._ended(participant)
            case {"event": "draining"}:
                link.draining = True
                self._spawn(self._begin_evacuation(link), f"evacuate-{link.name}")
            case _:
                logger.warning("unknown event of %s: %s", link.name, event.get("event"))

    async def _begin_evacuation(self, link: SfuLink) -> None:
        try:
            await self._evacuate(link)
        except (ControlError, SfuAway):
            logger.debug("%s went away while it drained", link.name)

    def _deliver(self, name: str, session: str, frame: dict[str, Any]) -> None:
        waiting, held = self._held.get((session, frame["room"]), (None, []))
        if waiting == name:
            held.append(frame)
            return
        places = self._places.get(session, {})
        if places.get(frame["room"]) != name:
            return  # of a place that was left
        if frame.get("t") == "media.closed":
            # Told already why: whom another session replaced must not be sent to join again.
            del places[frame["room"]]
        if (client := self._clients.get(session)) is not None:
            client.push(frame)

    def _deliver_all(self, name: str, session: str, frames: list[dict[str, Any]]) -> None:
        for frame in frames:
            self._deliver(name, session, frame)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _stats(link: SfuLink) -> dict[str, Any] | None:
    if not link.connected:
        return None  # nobody waits for one that hangs
    try:
        return await link.request("stats")
    except (SfuAway, ControlError):
        return None


async def _diagnose(link: SfuLink, room: str | None) -> list[dict[str, Any]] | None:
    try:
        rooms: list[dict[str, Any]] = (await link.request("diagnose", room=room))["rooms"]
    except (SfuAway, ControlError):
        return None
    return rooms
