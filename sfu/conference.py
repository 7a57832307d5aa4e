"""All rooms of this process: who is in, what is announced to whom, when they must go; sans-IO.

1. `enter` and `leave` open and end participation, and with it metering.
2. `open_publishing`, `open_subscribing` and `open_viewing` give a participant a connection whose
   life is followed here: a lost one hides its tracks, a revived one shows them again.
3. `announce_tracks` tells the others what a participant publishes now.
4. `drain_events` makes the offers that are due and returns what is to be sent; `wake` is called
   when there is something to drain.
5. `handle_timeout` every `TICK_S`: grace periods, unanswered offers, speakers, checkpoints.

**A participant's last facts are committed before anybody is told that they left.**
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

from sfu.control import Link, Map
from sfu.diagnostics import Diagnostics, quality
from sfu.errors import Refused
from sfu.facts import Appearance, Facts
from sfu.forwarding import Tally
from sfu.participant import Participant, Role
from sfu.publishing import Publishing
from sfu.room import PublishedTrack, Room
from sfu.sdp import Candidate
from sfu.speakers import Speakers
from sfu.subscribing import Subscribing
from sfu.transport import PeerTransport, Transports
from sfu.turn import IceServer, Turn
from sfu.usage import Moment, Session, Usage
from sfu.viewing import Viewing

# At most four `media.speakers` a second, and pixels observed as often.
TICK_S = 0.25
# With the tick below the 5 s that an interval may last.
CHECKPOINT_S = 4.0
CHECKPOINTS_AT_ONCE = 100
# A page reloads, a phone changes networks, a hub restarts within this.
SESSION_GRACE_S = 15.0
LINK_GRACE_S = 20.0
# A hub asks for our load each second. It sends people elsewhere 4 s after the last answer at the
# earliest (`metaport.media`): by then we have stopped counting them.
LEASE_S = 3.0
TRANSPORT_GRACE_S = 15.0
# Connecting to another SFU takes a second; what was handed over is kept until the client says so.
HAND_OVER_S = 10.0
# One core forwards voice for about as many; more would only make everybody stutter.
PARTICIPANTS_LIMIT = 2000

# Of one `drain_events`: the m-lines written take 2 ms, looking at the wishes of so many no more.
LINES_AT_ONCE = 100
LOOKS_AT_ONCE = 25


class Conference:
    """The rooms of one SFU process.

    `clock()` is monotonic seconds, `wall_ms()` milliseconds since the Unix epoch, `random(n)` n
    random bytes; `candidates` are the addresses every description carries.
    """

    def __init__(
        self,
        transports: Transports,
        facts: Facts,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        random: Callable[[int], bytes],
        candidates: tuple[Candidate, ...] = (),
        turn: Turn | None = None,
    ) -> None:
        self.transports = transports
        self.usage = Usage(facts)
        self.tally = Tally()
        self.rooms: dict[str, Room[Participant]] = {}
        self.participants: dict[str, Participant] = {}
        self.clock = clock
        self.random = random
        self.candidates = candidates
        self._turn = turn or Turn()
        self.draining = False
        self.wake: Callable[[], None] = _sleep_on
        self._wall_ms = wall_ms
        self._speakers = Speakers()
        self._diagnostics = Diagnostics()
        self._events: list[tuple[Link, Map]] = []
        # Those whose wishes or surroundings changed since the last `drain_events`.
        self._changed: dict[str, Participant] = {}
        # When facts that were refused are offered again, should nobody be due.
        self._commit_at = clock() + CHECKPOINT_S

    # Coming and going

    def enter(
        self,
        room_name: str,
        user: str,
        name: str,
        role: Role,
        link: Link,
        *,
        session: Session | None = None,
    ) -> Participant:
        """Let somebody take part; metering starts, or goes on with `session`.

        Raises:
            Refused: `media_unavailable` while draining, `too_many_participants`.
        """
        if self.draining:
            raise Refused("media_unavailable")
        if len(self.participants) >= PARTICIPANTS_LIMIT:
            raise Refused("too_many_participants")
        room = self.rooms.setdefault(room_name, Room(room_name))
        identifier = f"p-{self.random(9).hex()}"
        stay = self.usage.enter(room_name, user, identifier, self._moment(), session)
        participant = Participant(
            identifier, user, name, role=role, room=room, link=link, stay=stay
        )
        room.members[identifier] = participant
        self.participants[identifier] = participant
        self._note(participant, ended=False)
        self._tell_others(
            participant, "media.participant", {"event": "joined", **participant.as_map()}
        )
        self.change(participant)
        return participant

    def leave(self, participant: Participant, reason: str | None = None) -> None:
        """End a participation; with a `reason`, the participant's client is told to join again."""
        if self.participants.pop(participant.id, None) is None:
            return
        room = participant.room
        del room.members[participant.id]
        participant.close_publishing()
        participant.close_receiving()
        self.usage.leave(
            participant.stay, participant.ingress_bytes, participant.egress_bytes, self._moment()
        )
        self._note(participant, ended=True)
        self.usage.commit()
        self.announce_tracks(participant)
        self._tell_others(
            participant, "media.participant", {"event": "left", **participant.as_map()}
        )
        if participant.role != "chat":
            self.tell(
                participant.link,
                {
                    "event": "ended",
                    "participant": participant.id,
                    "room": room.name,
                    "user": participant.user,
                },
            )
        elif reason is not None:
            self.push(participant, {"t": "media.closed", "room": room.name, "reason": reason})
        if not room.members:
            del self.rooms[room.name]
            self._speakers.forget(room)

    def ice_servers(self, participant: Participant) -> list[IceServer]:
        """Return the STUN and TURN servers a participant may use, with fresh credentials."""
        return self._turn.ice_servers(participant.room.name, participant.user, self._wall_ms())

    def grant_grace(self, participant: Participant, seconds: float) -> None:
        """Let a participant nobody speaks for stay a while, media flowing."""
        participant.grace_until = self.clock() + seconds

    def hand_over(self, participant: Participant) -> None:
        """Let another SFU go on with a participant; media flows here until it is released."""
        self.usage.hand_over(participant.stay, self._moment())
        self.usage.commit()
        self.grant_grace(participant, HAND_OVER_S)

    def take_back(self, participant: Participant) -> None:
        """Go on with a participant whom another SFU did not take."""
        if participant.stay.handed_over:
            self.usage.take_back(participant.stay, self._moment())

    # Connections

    def open_publishing(self, participant: Participant) -> Publishing:
        """Give a participant the connection on which they publish."""
        publishing = Publishing(
            self.transports, participant, random=self.random, tally=self.tally, now=self.clock()
        )
        self._follow(participant, publishing.transport)
        participant.publishing = publishing
        return publishing

    def open_subscribing(self, participant: Participant) -> Subscribing:
        """Give a chat participant the connection on which they receive."""
        subscribing = Subscribing(
            self.transports, random=self.random, tally=self.tally, now=self.clock()
        )
        self._follow(participant, subscribing.transport)
        participant.subscribing = subscribing
        return subscribing

    def open_viewing(self, participant: Participant) -> Viewing:
        """Give a WHEP participant the connection on which they receive."""
        viewing = Viewing(self.transports, random=self.random, tally=self.tally, now=self.clock())
        self._follow(participant, viewing.transport)
        participant.viewing = viewing
        return viewing

    def _follow(self, participant: Participant, transport: PeerTransport) -> None:
        participant.dead_until = None
        transport.on_connected = partial(self._connected, participant, transport)
        transport.on_lost = partial(self._lost, participant, transport)
        transport.on_closed = partial(self._closed, participant, transport)

    def _connected(self, participant: Participant, transport: PeerTransport) -> None:
        participant.dead_until = None
        if participant.publishing is not None and participant.publishing.transport is transport:
            self.announce_tracks(participant)
        elif participant.viewing is not None:
            participant.viewing.connected()
        elif participant.subscribing is not None:
            participant.subscribing.connected()
            self.change(participant)

    def _lost(self, participant: Participant, transport: PeerTransport) -> None:
        if participant.role != "chat":
            self.leave(participant)
            return
        if participant.publishing is not None and participant.publishing.transport is transport:
            self.announce_tracks(participant)
        elif participant.subscribing is not None:
            participant.subscribing.lost()
            self.change(participant)
        self._await_revival(participant)

    def _closed(self, participant: Participant, transport: PeerTransport, reason: str) -> None:
        if participant.role != "chat":
            self.leave(participant)
            return
        if participant.publishing is not None and participant.publishing.transport is transport:
            participant.close_publishing()
            self.announce_tracks(participant)
        else:
            participant.close_receiving()
        self._await_revival(participant)

    def _await_revival(self, participant: Participant) -> None:
        if all(transport.lost for transport in participant.transports()):
            participant.dead_until = self.clock() + TRANSPORT_GRACE_S

    # Telling others

    def announce_tracks(self, participant: Participant) -> None:
        """Make the room show what the participant publishes now, and tell the others."""
        room = participant.room
        publishing = participant.publishing
        shown = {t.id: t for t in room.tracks.values() if t.owner is participant}
        present: dict[str, PublishedTrack] = {}
        if publishing is not None and not publishing.transport.lost:
            present = {track.id: track for track in publishing.tracks.values()}
        for identifier, track in shown.items():
            if identifier not in present:
                self._hide(track, room)
        for identifier, track in present.items():
            if identifier not in shown:
                room.tracks[identifier] = track
                self._tell_track(track, "added")
        if shown.keys() != present.keys():
            for other in room.others(participant):
                self.change(other)

    def announce_muted(self, track: PublishedTrack) -> None:
        """Tell the others that a track was muted or unmuted."""
        self._tell_track(track, "muted" if track.media.muted else "unmuted")

    def push(self, participant: Participant, frame: Map) -> None:
        """Send a frame to the participant's chat session, if one speaks for them."""
        if participant.session is not None:
            self.tell(
                participant.link, {"event": "frame", "session": participant.session, "frame": frame}
            )

    def change(self, participant: Participant) -> None:
        """Look at what the participant should receive at the next `drain_events`."""
        self._changed[participant.id] = participant
        self.wake()

    def drain_events(self) -> list[tuple[Link, Map]]:
        """Return what is to be sent, offers that are due included; `wake` tells of more.

        Somebody who leaves a full room changes the offers of all others: 50 offers of 98 m-lines
        take 0.1 s (measured), so they are made in turns, between which packets flow.
        """
        lines = 0
        for _ in range(min(len(self._changed), LOOKS_AT_ONCE)):
            participant = self._changed.pop(next(iter(self._changed)))
            if participant.id in self.participants and participant.role == "chat":
                lines += self._offer(participant)
            if lines >= LINES_AT_ONCE:
                break
        if self._changed:
            self.wake()
        events, self._events = self._events, []
        return events

    def _offer(self, participant: Participant) -> int:
        """Make an offer if one is due; return how many m-lines it has."""
        wanted = participant.wants()
        reachable = participant.session is not None and participant.link is not None
        subscribing = participant.subscribing
        if subscribing is None:
            if not wanted or not reachable or participant.dead_until is not None:
                return 0
            subscribing = self.open_subscribing(participant)
        subscribing.update(wanted)
        if not reachable or not subscribing.offer_due:
            return 0
        frame = subscribing.offer(self.candidates, self.clock())
        self.push(participant, {"t": "media.offer", "room": participant.room.name, **frame})
        return len(subscribing.slots)

    def _hide(self, track: PublishedTrack, room: Room[Participant]) -> None:
        del room.tracks[track.id]
        for member in room.members.values():
            if member.viewing is not None:
                member.viewing.drop(track)
        self._tell_track(track, "removed")

    def _note(
        self, participant: Participant, track: PublishedTrack | None = None, *, ended: bool
    ) -> None:
        """Have it in the facts that somebody, or what they publish, is here or is no more."""
        about = ("", "", "") if track is None else (track.id, track.kind, track.media.source)
        room, at_ms = participant.room.name, self._wall_ms()
        self.usage.tell(Appearance(room, participant.user, participant.id, at_ms, ended, *about))

    def _tell_track(self, track: PublishedTrack, event: str) -> None:
        owner = track.owner
        assert isinstance(owner, Participant)
        if event in ("added", "removed"):
            self._note(owner, track, ended=event == "removed")
        self._tell_others(owner, "media.track", {"event": event, "track": track.as_map()})

    def _tell_others(self, participant: Participant, kind: str, fields: Map) -> None:
        frame = {"t": kind, "room": participant.room.name, **fields}
        for other in participant.room.others(participant):
            self.push(other, frame)

    def tell(self, link: Link | None, event: Map) -> None:
        """Send an event to a hub with the next `drain_events`."""
        if link is not None:
            self._events.append((link, event))
            self.wake()

    # Time

    def handle_timeout(self) -> None:
        """Do what time brings; call it every `TICK_S`."""
        moment = self._moment()
        now = moment.now
        self.transports.handle_timeout(now)
        for participant in list(self.participants.values()):
            self._look_after(participant, moment)
        if self.draining:
            self._end_left_behind()
        for room in self.rooms.values():
            self._tell_speakers(room)
        self._checkpoint(moment)

    def _checkpoint(self, moment: Moment) -> None:
        """Turn participation into facts and commit them, people who came together in turns.

        Facts of 2,000 people take 60 ms to keep (measured): a quarter of them in each tick still
        tells of everybody within 5 s.
        """
        limit = max(CHECKPOINTS_AT_ONCE, -(-len(self.participants) // 4))
        due = self.usage.due(moment.now - CHECKPOINT_S, limit)
        for stay in due:
            participant = self.participants[stay.participant]
            self.usage.checkpoint(stay, participant.ingress_bytes, participant.egress_bytes, moment)
        if due or moment.now >= self._commit_at:
            self._commit_at = moment.now + CHECKPOINT_S
            self.usage.commit()

    def settled_ms(self, utc_ms: int) -> int:
        """Tell up to when all participation is committed; `utc_ms` when nothing is under way."""
        return self.usage.settled_ms(utc_ms)

    def _moment(self) -> Moment:
        return Moment(self.clock(), self._wall_ms())

    def _look_after(self, participant: Participant, moment: Moment) -> None:
        now = moment.now
        if participant.grace_until is not None and now >= participant.grace_until:
            self.leave(participant)
            return
        if participant.dead_until is not None and now >= participant.dead_until:
            self.leave(participant, "transport_lost")
            return
        if now >= participant.stay.vouched_s + LINK_GRACE_S:
            self.leave(participant)  # their hub neither speaks nor hangs up
            return
        subscribing = participant.subscribing
        if subscribing is not None and subscribing.handle_timeout(now):
            self.change(participant)
        self.usage.observe(participant.stay, participant.pixels(now), moment)

    def _tell_speakers(self, room: Room[Participant]) -> None:
        speakers = self._speakers.changed(room)
        if speakers is not None:
            frame = {"t": "media.speakers", "room": room.name, "speakers": speakers}
            for member in room.members.values():
                self.push(member, frame)

    # Ending

    def drain(self) -> None:
        """Admit nobody any more and end everybody's participation, telling them to come back."""
        self.draining = True
        for participant in list(self.participants.values()):
            self.leave(participant, "draining")

    def end_room(self, name: str) -> None:
        """End everybody's participation in a room, telling them to come back."""
        room = self.rooms.get(name)
        for participant in list(room.members.values()) if room is not None else ():
            self.leave(participant, "draining")

    def _end_left_behind(self) -> None:
        """End WHIP and WHEP sessions in rooms whose chat participants have moved elsewhere.

        They cannot be moved: their client comes back by itself, and finds the room's new place.
        """
        for room in list(self.rooms.values()):
            if all(member.role != "chat" for member in room.members.values()):
                self.end_room(room.name)

    # Figures

    def load(self) -> Map:
        """Return what decides where the next room is placed."""
        return {
            "participants": len(self.participants),
            "rooms": list(self.rooms),
            "packets": self.tally.packets_in + self.tally.packets_out,
            "draining": self.draining,
        }

    def counters(self) -> Map:
        """Return the counters and gauges of this process; names as in the metrics."""
        udp = self.transports.counters
        return {
            "rooms": len(self.rooms),
            "participants": len(self.participants),
            "tracks": sum(len(room.tracks) for room in self.rooms.values()),
            "subscriptions": sum(
                len(track.media.subscriptions)
                for room in self.rooms.values()
                for track in room.tracks.values()
            ),
            "transports": len(self.transports),
            "transports_connected": udp.connected,
            "tcp_accepted": udp.tcp_accepted,
            "datagrams_in": udp.datagrams_received,
            "datagrams_out": udp.datagrams_sent,
            "datagram_bytes_in": udp.bytes_received,
            "datagram_bytes_out": udp.bytes_sent,
            "packets_in": self.tally.packets_in,
            "packets_forwarded": self.tally.packets_out,
            "bytes_in": self.tally.bytes_in,
            "bytes_forwarded": self.tally.bytes_out,
            "rtx": self.tally.rtx_out,
            "rtx_in": self.tally.rtx_in,
            "nack_in": self.tally.nack_in,
            "nack_out": self.tally.nack_out,
            "pli_in": self.tally.pli_in,
            "pli_out": self.tally.pli_out,
            "packets_given_up": self.tally.given_up,
            "facts_pending": self.usage.pending,
            "facts_refused": self.usage.refusals,
            "dropped": dict(Counter(self.tally.dropped) + udp.dropped),
        }

    def quality(self) -> Map:
        """Return how many streams are in which class; costs 1 us for each stream."""
        return quality(self.participants.values())

    def diagnose(self, room: str | None) -> list[Map]:
        """Return everything about one room, or about all of them."""
        if room is None:
            return self._diagnostics.rooms(self.rooms.values(), self.clock())
        return self._diagnostics.rooms(filter(None, [self.rooms.get(room)]), self.clock())


def _sleep_on() -> None:
    """Wake nobody."""
