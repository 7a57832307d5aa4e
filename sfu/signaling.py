"""Control requests and media frames, turned into changes of the conference; sans-IO.

`Signaling.receive_request` is the whole surface: it answers one control request at once. What
others are to hear of it waits in `Conference.drain_events`, so that a reply leaves first.
"""

from collections.abc import Callable, Iterable
from math import inf

from sfu import sdp
from sfu.conference import LEASE_S, LINK_GRACE_S, SESSION_GRACE_S, Conference
from sfu.control import Link, Map
from sfu.errors import Refused, SdpError
from sfu.media_frames import (
    Admit,
    Answer,
    AnyFrame,
    Delete,
    Diagnose,
    Drain,
    EndRoom,
    Expel,
    HandOver,
    Join,
    Leave,
    Load,
    Mute,
    Patch,
    Publish,
    RelayFrame,
    Release,
    Restart,
    SessionClosed,
    Sessions,
    Silence,
    Stats,
    Subscribe,
    Trickle,
    Whep,
    Whip,
    read_frame,
    read_operation,
)
from sfu.negotiation import check_transport
from sfu.participant import Participant
from sfu.publishing import OFFERED_SETUPS, Publishing, sent_media
from sfu.room import PublishedTrack
from sfu.sdp import Description
from sfu.usage import Session
from sfu.viewing import Viewing, received_media


class Signaling:
    """Answers control requests for one conference."""

    def __init__(self, conference: Conference) -> None:
        self.conference = conference
        # Who speaks for whom: chat session -> room -> participant.
        self._sessions: dict[str, dict[str, Participant]] = {}
        # The hubs that have asked anything and are still connected.
        self.links: list[Link] = []
        self.hubs: list[Link] = []  # those of them that have chat sessions, and move people
        # Until when a hub vouches for its people: those that ask for our load.
        self._leases: dict[Link, float] = {}
        # Called when a hub or an operator asks this process to end once it is drained.
        self.stop: Callable[[], None] = _go_on

    def receive_request(self, link: Link, request: Map) -> Map:
        """Answer one control request. Raises Refused."""
        operation = read_operation(request)
        if link not in self.links:
            self.links.append(link)
        match operation:
            case RelayFrame():
                return self._receive_frame(link, operation)
            case SessionClosed():
                return self._close_session(operation.session)
            case Sessions():
                return self._match_sessions(link, operation.sessions)
            case Whip():
                return self._whip(link, operation)
            case Whep():
                return self._whep(link, operation)
            case Patch():
                return self._patch(operation)
            case Delete():
                self.conference.leave(self._http_participant(operation.participant))
                return {}
            case Stats():
                return {**self.conference.counters(), **self.conference.quality()}
            case Diagnose():
                return {"rooms": self.conference.diagnose(operation.room)}
            case Load():
                claim = not self._renew(link)
                return {**self.conference.load(), "hubs": len(self.hubs), "claim": claim}
            case HandOver():
                return self._hand_over(operation)
            case EndRoom():
                self.conference.end_room(operation.room)
                return {}
            case Silence():
                return {"participants": self._silence_all(operation)}
            case Expel():
                return {"participants": self._expel(operation)}
            case Drain():
                self.begin_drain()
                if operation.stop:
                    self.stop()
                return {"participants": len(self.conference.participants)}
            case Admit():
                self.conference.draining = False
                return {}

    def begin_drain(self) -> None:
        """Admit nobody any more, and have the hubs move those who are here."""
        self.conference.draining = True
        for link in self.links:
            self.conference.tell(link, {"event": "draining"})

    def link_lost(self, link: Link) -> None:
        """Give everybody whom `link` spoke for a grace period; their media goes on."""
        if link in self.links:
            self.links.remove(link)
        if link in self.hubs:
            self.hubs.remove(link)
        self._leases.pop(link, None)
        for participant in self.conference.participants.values():
            if participant.link is link:
                participant.link = None
                if participant.role == "chat":
                    self.conference.grant_grace(participant, LINK_GRACE_S)

    # Chat sessions

    def _renew(self, link: Link) -> bool:
        """Have a hub vouch for its people for another while; `False` when it was silent too long.

        Then it may have sent them elsewhere: it has to say whom it has (`sessions`).
        """
        now = self.conference.clock()
        if now > self._leases.get(link, now):
            return False
        until = self._leases[link] = now + LEASE_S
        for participant in self.conference.participants.values():
            if participant.link is link and participant.role == "chat":
                self.conference.usage.vouch(participant.stay, until)
        return True

    def _close_session(self, session: str) -> Map:
        for participant in self._sessions.pop(session, {}).values():
            participant.session = None
            if participant.id in self.conference.participants:
                self.conference.grant_grace(participant, SESSION_GRACE_S)
        return {}

    def _match_sessions(self, link: Link, sessions: list[str]) -> Map:
        """Take the sessions a hub has as the ones that live, after either side was away.

        The reply names those of them that have media here, so that the hub can tell the others
        to join again, and the WHIP and WHEP participants, for their presence.
        """
        if link not in self.hubs:
            self.hubs.append(link)
        # Nobody is vouched for yet: what waited in a socket while this process stood still may be
        # of a hub that has sent them elsewhere. It heard our answer if it asks for our load.
        if link in self._leases:
            self._leases[link] = self.conference.clock() + LEASE_S
        living = set(sessions)
        for participant in self.conference.participants.values():
            if participant.stay.handed_over:
                continue
            if participant.role == "chat" and participant.session in living:
                # Also from another link: it is the lost one, whose end was not read yet.
                self._bind(participant, participant.session, link)
            elif participant.link not in {None, link}:
                continue
            elif participant.role != "chat":
                participant.link = link
            elif participant.session is not None or participant.grace_until is None:
                self._sessions.pop(participant.session or "", None)
                participant.session = None
                self.conference.grant_grace(participant, SESSION_GRACE_S)
        self._sessions = {
            session: rooms
            for session, rooms in self._sessions.items()
            if any(p.id in self.conference.participants for p in rooms.values())
        }
        return {
            "known": [session for session in sessions if session in self._sessions],
            "participants": [
                {"room": participant.room.name, **participant.as_map()}
                for participant in self.conference.participants.values()
                if participant.role != "chat" and participant.link is link
            ],
        }

    def _bind(self, participant: Participant, session: str | None, link: Link) -> None:
        """Let a session speak for a participant; what it may have missed is offered again."""
        assert session is not None
        participant.session = session
        participant.link = link
        participant.grace_until = None
        self._sessions.setdefault(session, {})[participant.room.name] = participant
        if participant.subscribing is not None and participant.subscribing.answer_until is not None:
            participant.subscribing.offer_again()
        self.conference.change(participant)

    def _speaker(self, request: RelayFrame) -> Participant:
        """Return the participant a session speaks for in a room. Raises `not_in_media`."""
        participant = self._sessions.get(request.session, {}).get(request.room)
        if participant is None or participant.id not in self.conference.participants:
            raise Refused("not_in_media")
        return participant

    # Frames

    def _receive_frame(self, link: Link, request: RelayFrame) -> Map:
        frame = read_frame(request.frame)
        match frame:
            case Join():
                reply = self._join(link, request, frame)
            case Leave() | Release():
                reply = self._leave(request)
            case _:
                speaker = self._speaker(request)
                self._silence(speaker, request.silenced)
                reply = self._change(speaker, request, frame)
        return {"t": _REPLIES[type(frame)], "room": request.room, **reply}

    def _change(self, participant: Participant, request: RelayFrame, frame: AnyFrame) -> Map:
        match frame:
            case Publish():
                if not request.may_publish:
                    raise Refused("may_not_publish")
                return self._publish(participant, frame)
            case Answer():
                return self._answer(participant, frame)
            case Mute():
                return self._mute(participant, frame)
            case Subscribe():
                return self._subscribe(participant, frame)
            case Restart():
                return self._restart(participant)
            case Trickle():
                return {}
            case _:
                raise Refused("unknown_frame")

    def _join(self, link: Link, request: RelayFrame, frame: Join) -> Map:
        participant = self._sessions.get(request.session, {}).get(request.room)
        if participant is None or participant.id not in self.conference.participants:
            participant = self._resumed(request, frame) or self._entered(link, request)
        self.conference.take_back(participant)
        self._bind(participant, request.session, link)
        self._silence(participant, request.silenced)
        room = participant.room
        return {
            "participant": participant.id,
            "resume": participant.resume,
            "ice_servers": self.conference.ice_servers(participant),
            "participants": [member.as_map() for member in room.members.values()],
            "tracks": [track.as_map() for track in room.tracks.values()],
        }

    def _entered(self, link: Link, request: RelayFrame) -> Participant:
        if not request.may_enter:
            raise Refused("over_budget")
        conference = self.conference
        session = Session(request.stay, request.began_ms) if request.stay else None
        participant = conference.enter(
            request.room, request.user, request.name, "chat", link, session=session
        )
        conference.usage.vouch(participant.stay, self._leases.get(link, inf))
        participant.resume = conference.random(18).hex()
        return participant

    def _resumed(self, request: RelayFrame, frame: Join) -> Participant | None:
        """Find the participant a `resume` secret names; it works for its user and room only."""
        room = self.conference.rooms.get(request.room)
        if frame.resume is None or room is None:
            return None
        for participant in room.members.values():
            if participant.resume == frame.resume and participant.user == request.user:
                self._unbind(participant)
                return participant
        return None

    def _unbind(self, participant: Participant) -> None:
        """Take a participant from the session that spoke for it, and tell that session."""
        if participant.session is None:
            return
        frame = {"t": "media.closed", "room": participant.room.name, "reason": "resumed_elsewhere"}
        self.conference.push(participant, frame)
        self._sessions.get(participant.session, {}).pop(participant.room.name, None)

    def _leave(self, request: RelayFrame) -> Map:
        participant = self._sessions.get(request.session, {}).pop(request.room, None)
        if participant is not None:
            self.conference.leave(participant)
        return {}

    def _hand_over(self, request: HandOver) -> Map:
        participant = self._sessions.get(request.session, {}).get(request.room)
        if participant is None or participant.id not in self.conference.participants:
            return {"participant": None}
        self.conference.hand_over(participant)
        return {"participant": participant.id}

    def _publish(self, participant: Participant, frame: Publish) -> Map:
        description = _parse(frame.sdp)
        sources: dict[str, str] = {entry.mid: entry.source for entry in frame.tracks}
        text, publishing = self._receive_offer(participant, description, sources)
        tracks = [{"mid": t.mid, "track": t.id} for t in publishing.tracks.values()]
        return {"sdp": text, "tracks": tracks}

    def _receive_offer(
        self, participant: Participant, description: Description, sources: dict[str, str]
    ) -> tuple[str, Publishing]:
        conference = self.conference
        first = participant.publishing is None
        publishing = participant.publishing or conference.open_publishing(participant)
        try:
            text = publishing.receive_offer(
                description,
                sources,
                conference.candidates,
                conference.clock(),
            )
        except (SdpError, Refused) as error:
            if first:
                participant.close_publishing()
            raise _refused(error) from None
        conference.announce_tracks(participant)
        self._mute_silenced(participant)
        return text, publishing

    def _answer(self, participant: Participant, frame: Answer) -> Map:
        subscribing = participant.subscribing
        if subscribing is None:
            raise Refused("stale_offer")
        description = _parse(frame.sdp)
        try:
            subscribing.receive_answer(frame.n, description, self.conference.clock())
        except SdpError as error:
            raise _refused(error) from None
        self.conference.change(participant)
        return {"n": frame.n}

    def _mute(self, participant: Participant, frame: Mute) -> Map:
        publishing = participant.publishing
        tracks = publishing.tracks.values() if publishing is not None else ()
        track = next((track for track in tracks if track.id == frame.track), None)
        if track is None:
            raise Refused("no_such_track")
        if not frame.muted and track.kind in participant.silenced:
            raise Refused("silenced")
        if track.media.muted != frame.muted:
            track.media.muted = frame.muted
            self.conference.announce_muted(track)
        return {"track": track.id, "muted": frame.muted}

    def _subscribe(self, participant: Participant, frame: Subscribe) -> Map:
        present = {track.id for track in participant.room.tracks_for(participant)}
        if not frame.auto and not present.issuperset(frame.tracks):
            raise Refused("no_such_track")
        participant.auto = frame.auto
        participant.chosen = set(frame.tracks)
        self.conference.change(participant)
        return {"auto": frame.auto, "tracks": [track.id for track in participant.wants()]}

    def _restart(self, participant: Participant) -> Map:
        if participant.subscribing is not None:
            participant.subscribing.restart(self.conference.clock())
        else:
            # The peer closed its connection before: a fresh one is offered.
            participant.dead_until = None
        self.conference.change(participant)
        return {}

    # Moderation

    def _of_user(self, room: str, user: str) -> list[Participant]:
        found = self.conference.rooms.get(room)
        members = found.members.values() if found is not None else ()
        return [participant for participant in members if participant.user == user]

    def _silence_all(self, request: Silence) -> int:
        found = self._of_user(request.room, request.user)
        for participant in found:
            self._silence(participant, request.kinds)
        return len(found)

    def _silence(self, participant: Participant, kinds: Iterable[str]) -> None:
        silenced = frozenset(kinds)
        if silenced != participant.silenced:
            participant.silenced = silenced
            frame = {"room": participant.room.name, "kinds": sorted(silenced)}
            self.conference.push(participant, {"t": "media.silenced", **frame})
            self._mute_silenced(participant)

    def _mute_silenced(self, participant: Participant) -> None:
        """Mute what is silenced. Nobody is unmuted but by themselves, when they may again."""
        publishing = participant.publishing
        for track in publishing.tracks.values() if publishing is not None else ():
            if track.kind in participant.silenced and not track.media.muted:
                track.media.muted = True
                self.conference.announce_muted(track)

    def _expel(self, request: Expel) -> int:
        found = self._of_user(request.room, request.user)
        for participant in found:
            self.conference.leave(participant, request.reason)
        return len(found)

    # WHIP and WHEP

    def _whip(self, link: Link, request: Whip) -> Map:
        description = _checked_offer(request.sdp)
        if not sent_media(description):
            raise Refused("bad_sdp", "nothing is published")
        participant = self.conference.enter(request.room, request.user, request.name, "whip", link)
        participant.silenced = frozenset(request.silenced)
        text, publishing = self._receive_offer(participant, description, {})
        return self._created(participant, text, publishing)

    def _whep(self, link: Link, request: Whep) -> Map:
        description = _checked_offer(request.sdp)
        received_media(description)
        conference = self.conference
        tracks = self._viewable(request)
        participant = conference.enter(request.room, request.user, request.name, "whep", link)
        viewing = conference.open_viewing(participant)
        text = viewing.receive_offer(
            description,
            tracks,
            conference.candidates,
            conference.clock(),
        )
        return self._created(participant, text, viewing)

    def _viewable(self, request: Whep) -> list[PublishedTrack]:
        room = self.conference.rooms.get(request.room)
        if request.publisher is None:
            return list(room.tracks.values()) if room is not None else []
        tracks = room.tracks_of_user(request.publisher) if room is not None else []
        if not tracks:
            raise Refused("no_such_publisher")
        return tracks

    def _patch(self, request: Patch) -> Map:
        participant = self._http_participant(request.participant)
        connection = participant.publishing or participant.viewing
        assert connection is not None
        if request.if_match not in {None, "*", _etag(connection)}:
            raise Refused("etag_mismatch")
        try:
            remote = sdp.parse_fragment(request.sdp_fragment)
        except SdpError as error:
            raise _refused(error) from None
        transport = connection.transport
        if remote is None or remote == transport.ice.remote:
            return {"etag": _etag(connection), "sdp_fragment": None}
        if request.if_match is None:
            raise Refused("precondition_required")
        now = self.conference.clock()
        transport.restart(now)
        transport.accept(transport.fingerprints, remote, now)
        local = transport.local(self.conference.candidates, "passive")
        fragment = sdp.build_fragment(local, connection.bundle_kind, connection.bundle_mid)
        return {"etag": _etag(connection), "sdp_fragment": fragment}

    def _created(
        self, participant: Participant, text: str, connection: Publishing | Viewing
    ) -> Map:
        return {
            "participant": participant.id,
            "sdp": text,
            "etag": _etag(connection),
            "ice_servers": self.conference.ice_servers(participant),
        }

    def _http_participant(self, identifier: str) -> Participant:
        participant = self.conference.participants.get(identifier)
        if participant is None or participant.role == "chat":
            raise Refused("no_such_participant")
        return participant


_REPLIES: dict[type[AnyFrame], str] = {
    Join: "media.joined",
    Leave: "media.left",
    Publish: "media.published",
    Answer: "media.answered",
    Mute: "media.muted",
    Subscribe: "media.subscribed",
    Restart: "media.restarted",
    Trickle: "media.trickled",
    Release: "media.released",
}


def _go_on() -> None:
    """Leave it to the operator when this process ends."""


def _parse(text: str) -> Description:
    try:
        return sdp.parse(text)
    except SdpError as error:
        raise _refused(error) from None


def _checked_offer(text: str) -> Description:
    """Read an offer and make sure that we can take its transport."""
    description = _parse(text)
    try:
        check_transport(description, OFFERED_SETUPS)
    except SdpError as error:
        raise _refused(error) from None
    return description


def _refused(error: SdpError | Refused) -> Refused:
    return error if isinstance(error, Refused) else Refused("bad_sdp", str(error))


def _etag(connection: Publishing | Viewing) -> str:
    """Name the ICE session (RFC 9725 section 4.3.1): new credentials are a new one."""
    return connection.transport.credentials.ufrag
