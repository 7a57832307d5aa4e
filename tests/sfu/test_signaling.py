"""Signalling without a network: frames, sessions, WHIP and WHEP, and who hears of what."""

import asyncio
import re
from typing import Any

import pytest

from sfu import sdp, subscribing
from sfu.conference import LINK_GRACE_S, SESSION_GRACE_S
from sfu.errors import Refused
from sfu.ice import Credentials
from sfu.subscribing import ANSWER_S
from tests.sfu.memory_peer import MemoryPeer, Network
from tests.sfu.offers import answer, offer
from tests.sfu.packets import one_byte, rtp, ssrc_of
from tests.sfu.world import CAMERA, MICROPHONE, ROOM, Hub, World


@pytest.fixture
def world(network: Network) -> World:
    return World(network)


def refused(reason: str) -> Any:
    return pytest.raises(Refused, match=f"^{reason}:")


def mids(frame: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the mids and directions of an offer."""
    return [(media.mid, media.direction) for media in sdp.parse(frame["sdp"]).media]


# Joining and leaving


async def test_joining_tells_who_is_there_and_what_they_publish(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    host.publish([MICROPHONE, CAMERA])
    joined = visitor.join()
    assert joined["t"] == "media.joined"
    assert joined["ice_servers"] == []
    assert joined["participants"] == [
        {"participant": host.participant, "user": "u-host", "name": "host"},
        {"participant": visitor.participant, "user": "u-visitor", "name": "visitor"},
    ]
    assert [(t["source"], t["muted"], t["user"]) for t in joined["tracks"]] == [
        ("microphone", False, "u-host"),
        ("camera", False, "u-host"),
    ]
    assert host.pushed("participant") == [
        {
            "t": "media.participant",
            "room": ROOM,
            "event": "joined",
            "participant": visitor.participant,
            "user": "u-visitor",
            "name": "visitor",
        }
    ]


async def test_joining_twice_is_the_same_participant(world: World) -> None:
    visitor = world.person("visitor")
    first = visitor.join()
    assert visitor.join()["participant"] == first["participant"]
    assert len(world.conference.participants) == 1


async def test_leaving_is_told_and_leaving_twice_is_left(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    host.publish([MICROPHONE])
    visitor.join()
    assert host.frame("leave") == {"t": "media.left", "room": ROOM}
    assert host.frame("leave") == {"t": "media.left", "room": ROOM}
    assert [f["event"] for f in visitor.pushed("participant")] == ["left"]
    assert [f["event"] for f in visitor.pushed("track")] == ["removed"]
    assert len(world.network.transports) == 1


async def test_an_empty_room_is_forgotten(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    visitor.frame("leave")
    assert world.conference.rooms == {}


@pytest.mark.parametrize("kind", ["publish", "answer", "mute", "subscribe", "restart"])
async def test_frames_before_joining_are_refused(world: World, kind: str) -> None:
    fields = {"sdp": "", "n": 1, "track": "t", "muted": True, "auto": True}
    with refused("not_in_media"):
        world.person("visitor").frame(kind, **fields)


# Publishing


async def test_publishing_is_answered_and_told(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    published = host.publish([MICROPHONE, CAMERA], tracks=[{"mid": "1", "source": "screen"}])
    assert published["t"] == "media.published"
    assert [entry["mid"] for entry in published["tracks"]] == ["0", "1"]
    assert sdp.parse(published["sdp"]).transport.setup == "passive"
    added = visitor.pushed("track")
    assert [(f["event"], f["track"]["source"]) for f in added] == [
        ("added", "microphone"),
        ("added", "screen"),
    ]
    assert host.pushed("track") == []


async def test_listeners_may_not_publish(world: World) -> None:
    listener = world.person("listener")
    listener.join()
    with refused("may_not_publish"):
        listener.frame("publish", sdp=offer(listener.up, [MICROPHONE]), may_publish=False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("not SDP", "bad_sdp"), ("v=0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\n", "bad_sdp")],
)
async def test_a_bad_offer_is_refused_and_leaves_nothing_behind(
    world: World, text: str, reason: str
) -> None:
    host = world.person("host")
    host.join()
    with refused(reason):
        host.frame("publish", sdp=text)
    assert len(world.network.transports) == 0


async def test_unsupported_codecs_are_refused(world: World) -> None:
    host = world.person("host")
    host.join()
    with refused("unsupported_codecs"):
        host.frame("publish", sdp=offer(host.up, [MICROPHONE]).replace("opus", "speex"))


async def test_muting_is_told_once(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    host.publish([MICROPHONE])
    track = host.tracks["0"]
    for _ in range(2):
        assert host.frame("mute", track=track, muted=True)["muted"] is True
    assert host.frame("mute", track=track, muted=False)["muted"] is False
    assert [f["event"] for f in visitor.pushed("track")] == ["added", "muted", "unmuted"]


async def test_only_ones_own_tracks_can_be_muted(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    host.publish([MICROPHONE])
    for track in (host.tracks["0"], "t-unknown"):
        with refused("no_such_track"):
            visitor.frame("mute", track=track, muted=True)


# Receiving


async def test_what_others_publish_is_offered_after_the_reply(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    host.publish([MICROPHONE, CAMERA])
    visitor.join()
    assert visitor.offered["n"] == 1
    assert [(t["mid"], t["track"]) for t in visitor.offered["tracks"]] == [
        ("0", host.tracks["0"]),
        ("1", host.tracks["1"]),
    ]
    media = sdp.parse(visitor.offered["sdp"]).media
    assert [(m.kind, m.direction, m.setup) for m in media] == [
        ("audio", "sendonly", "actpass"),
        ("video", "sendonly", "actpass"),
    ]
    assert f"a=msid:{host.participant} {host.tracks['1']}" in visitor.offered["sdp"]
    assert host.pushed("offer") == []


async def test_changes_while_an_offer_is_outstanding_are_gathered_into_the_next(
    world: World,
) -> None:
    people = [world.person(str(n)) for n in range(4)]
    for person in people:
        person.join()
    for person in people[1:]:
        person.publish([MICROPHONE])
    visitor = people[0]
    assert len(visitor.pushed("offer")) == 1
    assert visitor.answer() == {"t": "media.answered", "room": ROOM, "n": 1}
    assert visitor.offered["n"] == 2
    assert len(visitor.offered["tracks"]) == 3
    visitor.answer()
    assert len(visitor.pushed("offer")) == 2


async def test_m_lines_end_inactive_and_are_used_again_after_that(world: World) -> None:
    host, guest, visitor = (world.person(name) for name in ("host", "guest", "visitor"))
    for person in (host, guest, visitor):
        person.join()
    host.publish([MICROPHONE, CAMERA])
    visitor.answer()
    first = sdp.parse(visitor.offered["sdp"]).media
    host.frame("leave")
    assert mids(visitor.offered) == [("0", "inactive"), ("1", "inactive")]
    assert visitor.offered["tracks"] == []
    visitor.answer()
    guest.publish([MICROPHONE, CAMERA])
    assert mids(visitor.offered) == [("0", "sendonly"), ("1", "sendonly")]
    again = sdp.parse(visitor.offered["sdp"]).media
    assert {s for m in first for s in m.ssrcs}.isdisjoint(s for m in again for s in m.ssrcs)


async def test_an_m_line_that_ended_meanwhile_is_not_reused_before_it_was_inactive(
    world: World,
) -> None:
    """A track that ended while its offer was outstanding left its m-line free too early."""
    host, guest, visitor = (world.person(name) for name in ("host", "guest", "visitor"))
    for person in (host, guest, visitor):
        person.join()
    host.publish([MICROPHONE])
    host.frame("leave")
    guest.publish([MICROPHONE])
    visitor.answer()
    assert mids(visitor.offered) == [("0", "inactive"), ("1", "sendonly")]
    visitor.answer()
    assert visitor.offered["n"] == 2


async def test_an_m_line_switched_off_by_the_peer_is_left_alone(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    visitor.declines = "1"
    host.publish([MICROPHONE, CAMERA])
    visitor.answer()
    assert mids(visitor.offered) == [("0", "sendonly"), ("1", "inactive")]
    visitor.answer()
    assert visitor.offered["n"] == 2


async def test_tracks_beyond_the_m_lines_there_may_be_wait_for_an_idle_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer longer than what the chat takes ended the connection, again after each return."""
    monkeypatch.setattr(subscribing, "SLOTS_LIMIT", 1)
    host, guest, visitor = (world.person(name) for name in ("host", "guest", "visitor"))
    for person in (host, guest, visitor):
        person.join()
    host.publish([MICROPHONE])
    guest.publish([MICROPHONE])
    visitor.answer()
    world.advance(ANSWER_S + 1)
    assert mids(visitor.offered) == [("0", "sendonly")]
    assert visitor.offered["n"] == 1
    host.frame("leave")
    visitor.answer()
    assert [track["user"] for track in visitor.offered["tracks"]] == ["u-guest"]


async def test_a_stale_or_repeated_answer_is_refused(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    with refused("stale_offer"):
        visitor.frame("answer", n=1, sdp="v=0")
    host.publish([MICROPHONE])
    text = answer(visitor.down, visitor.offered["sdp"])
    with refused("stale_offer"):
        visitor.frame("answer", n=2, sdp=text)
    visitor.frame("answer", n=1, sdp=text)
    with refused("stale_offer"):
        visitor.frame("answer", n=1, sdp=text)


async def test_an_answer_to_something_else_is_refused(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    host.publish([MICROPHONE, CAMERA])
    short = offer(visitor.down, [("audio", "recvonly")], setup="active")
    with refused("bad_sdp"):
        visitor.frame("answer", n=1, sdp=short)
    passive = answer(visitor.down, visitor.offered["sdp"], setup="passive")
    with refused("bad_sdp"):
        visitor.frame("answer", n=1, sdp=passive)
    assert visitor.answer()["n"] == 1


async def test_an_unanswered_offer_is_made_again(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    host.publish([MICROPHONE])
    world.advance(ANSWER_S - 1)
    assert visitor.offered["n"] == 1
    world.advance(1.5)
    assert visitor.offered["n"] == 2
    with refused("stale_offer"):
        visitor.answer(visitor.pushed("offer")[0])
    visitor.answer()


async def test_tracks_can_be_chosen(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    host.publish([MICROPHONE, CAMERA])
    visitor.join()
    visitor.answer()
    chosen = visitor.frame("subscribe", auto=False, tracks=[host.tracks["0"]])
    assert (chosen["auto"], chosen["tracks"]) == (False, [host.tracks["0"]])
    assert mids(visitor.offered) == [("0", "sendonly"), ("1", "inactive")]
    visitor.answer()
    everything = visitor.frame("subscribe", auto=True)
    assert everything["tracks"] == list(host.tracks.values())
    assert mids(visitor.offered) == [("0", "sendonly"), ("1", "sendonly")]
    with refused("no_such_track"):
        visitor.frame("subscribe", auto=False, tracks=["t-unknown"])


async def test_a_restart_offers_new_credentials_even_when_an_answer_is_outstanding(
    world: World,
) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    visitor.frame("restart")
    assert visitor.pushed("offer") == []
    host.publish([MICROPHONE])
    before = sdp.parse(visitor.offered["sdp"]).transport.credentials
    assert visitor.frame("restart")["t"] == "media.restarted"
    assert visitor.offered["n"] == 2
    assert sdp.parse(visitor.offered["sdp"]).transport.credentials != before
    visitor.answer()


@pytest.mark.parametrize(
    "candidate", ["candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host", "", "no candidate"]
)
async def test_a_trickled_candidate_is_taken_and_changes_nothing(
    world: World, candidate: str
) -> None:
    host = world.person("host")
    host.join()
    assert host.frame("trickle", candidate=candidate)["t"] == "media.trickled"
    await host.publish_and_connect([MICROPHONE])
    assert host.frame("trickle", candidate=candidate)["t"] == "media.trickled"
    assert len(host.connection("publishing").tracks) == 1


async def test_who_is_not_in_media_has_no_candidates_to_tell(world: World) -> None:
    with refused("not_in_media"):
        world.person("visitor").frame("trickle", candidate="")


async def test_media_flows_from_publisher_to_subscriber(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE, CAMERA])
    await visitor.answer_and_connect()
    host.speak(1)
    host.show(1, key=True)
    host.show(2)
    audio, video = sdp.parse(visitor.offered["sdp"]).media
    assert [ssrc_of(packet) for packet in visitor.down.rtp] == [
        *audio.ssrcs,
        *video.ssrcs,
        *video.ssrcs,
    ]


async def test_a_key_frame_is_asked_of_the_publisher_when_somebody_subscribes(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE, CAMERA])
    host.show(1)
    assert host.up.rtcp == []
    await visitor.answer_and_connect()
    assert len(host.up.rtcp) == 1
    assert host.up.rtcp[0][1] == 206


async def test_media_goes_on_while_people_come_and_go(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE])
    await visitor.answer_and_connect()
    host.speak(1)
    guest = world.person("guest")
    guest.join()
    guest.publish([MICROPHONE])
    host.speak(2)
    visitor.answer()
    host.speak(3)
    guest.frame("leave")
    visitor.answer()
    host.speak(4)
    assert len(visitor.down.rtp) == 4


async def test_speakers_are_told_when_they_change(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE])
    for sequence in range(60):
        packet = rtp(sequence, timestamp=sequence * 960, extension=one_byte((2, b"\x8a")))
        host.up.send_rtp(packet)
        world.clock.advance(0.02)
    world.advance(0.5)
    told = visitor.pushed("speakers")
    assert len(told) == 1
    assert [s["user"] for s in told[0]["speakers"]] == ["u-host"]
    assert 0 < told[0]["speakers"][0]["level"] <= 100
    assert host.pushed("speakers") == told
    host.frame("mute", track=host.tracks["0"], muted=True)
    world.advance(0.5)
    assert visitor.pushed("speakers")[-1]["speakers"] == []


# Chat sessions come and go


async def test_a_resumed_participant_keeps_its_media(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE])
    await visitor.answer_and_connect()
    participant = visitor.participant
    world.ask("session_closed", session=visitor.session)
    world.advance(SESSION_GRACE_S - 1, host.up, visitor.down)
    host.speak(1)
    visitor.session = "s-visitor-again"
    joined = visitor.join(resume=visitor.resume)
    assert joined["participant"] == participant
    world.advance(SESSION_GRACE_S, host.up, visitor.down)
    host.speak(2)
    assert len(visitor.down.rtp) == 2
    assert visitor.pushed("offer") == []
    assert host.pushed("participant")[-1]["event"] == "joined"


async def test_a_hub_that_is_back_before_its_end_was_noticed_keeps_its_people(world: World) -> None:
    """They were known, and left all the same when the old connection's end was read."""
    visitor = world.person("visitor")
    visitor.join()
    back = Hub()
    answer = world.ask("sessions", hub=back, sessions=[visitor.session])
    assert answer["known"] == [visitor.session]
    world.signaling.link_lost(world.hub)
    world.advance(LINK_GRACE_S + 1)
    assert visitor.participant in world.conference.participants


async def test_a_resume_after_changes_offers_them(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    world.ask("session_closed", session=visitor.session)
    host.publish([MICROPHONE])
    assert visitor.pushed("offer") == []
    visitor.session = "s-visitor-again"
    visitor.join(resume=visitor.resume)
    assert len(visitor.offered["tracks"]) == 1


async def test_a_resume_repeats_an_offer_that_may_have_been_lost(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    host.publish([MICROPHONE])
    world.ask("session_closed", session=visitor.session)
    visitor.session = "s-visitor-again"
    visitor.join(resume=visitor.resume)
    assert visitor.offered["n"] == 2
    visitor.answer()


async def test_nobody_comes_back_within_the_grace_period(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    world.ask("session_closed", session=visitor.session)
    world.advance(SESSION_GRACE_S - 0.5)
    assert len(world.conference.participants) == 2
    world.advance(1)
    assert list(world.conference.participants) == [host.participant]
    assert host.pushed("participant")[-1]["event"] == "left"


async def test_a_resume_secret_works_for_its_user_only(world: World) -> None:
    host, thief = world.person("host"), world.person("thief")
    host.join()
    stolen = thief.join(resume=host.resume)
    assert stolen["participant"] != host.participant
    unknown = world.person("visitor").join(resume="guess")
    assert unknown["participant"] not in {host.participant, thief.participant}


async def test_where_nobody_else_may_enter_who_is_in_goes_on_and_resumes(world: World) -> None:
    host, other = world.person("host"), world.person("other")
    host.join()
    with pytest.raises(Refused, match="over_budget"):
        other.join(may_enter=False)
    with pytest.raises(Refused, match="over_budget"):
        other.join(may_enter=False, resume=host.resume)
    was = host.participant
    assert host.join(may_enter=False)["participant"] == was
    host.session = "s-another-tab"
    assert host.join(may_enter=False, resume=host.resume)["participant"] == was


async def test_who_resumes_elsewhere_closes_it_here(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    old = visitor.session
    visitor.session = "s-another-tab"
    visitor.join(resume=visitor.resume)
    visitor.session = old
    assert visitor.pushed("closed") == [
        {"t": "media.closed", "room": ROOM, "reason": "resumed_elsewhere"}
    ]
    with refused("not_in_media"):
        visitor.frame("subscribe", auto=True)


async def test_media_goes_on_while_the_hub_is_away(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE])
    await visitor.answer_and_connect()
    world.signaling.link_lost(world.hub)
    world.advance(LINK_GRACE_S - 1, host.up, visitor.down)
    host.speak(1)
    assert len(visitor.down.rtp) == 1
    returned = Hub()
    host.hub = visitor.hub = returned
    reply = world.ask("sessions", hub=returned, sessions=[host.session, visitor.session, "s-x"])
    assert reply == {"known": [host.session, visitor.session], "participants": []}
    world.advance(LINK_GRACE_S, host.up, visitor.down)
    assert len(world.conference.participants) == 2
    host.frame("mute", track=host.tracks["0"], muted=True)
    assert visitor.pushed("track")[-1]["event"] == "muted"


async def test_a_restarted_hub_gives_unknown_sessions_their_grace(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    world.signaling.link_lost(world.hub)
    returned = Hub()
    assert world.ask("sessions", hub=returned, sessions=[])["known"] == []
    host.hub, host.session = returned, "s-host-again"
    joined = host.join(resume=host.resume)
    assert joined["participant"] == host.participant
    world.advance(SESSION_GRACE_S + 0.5)
    assert list(world.conference.participants) == [host.participant]


async def test_nobody_is_kept_when_the_hub_does_not_come_back(world: World) -> None:
    world.person("visitor").join()
    world.signaling.link_lost(world.hub)
    world.advance(LINK_GRACE_S + 0.5)
    assert world.conference.participants == {}


# WHIP and WHEP


def whip(world: World, peer: MemoryPeer, user: str = "u-encoder") -> dict[str, Any]:
    text = offer(peer, [MICROPHONE, CAMERA], ssrc=0x9000)
    return world.ask("whip", room=ROOM, user=user, name="encoder", sdp=text)


def whep(world: World, peer: MemoryPeer, lines: list[tuple[str, str]], **more: Any) -> Any:
    return world.ask(
        "whep", room=ROOM, user="u-player", name="player", sdp=offer(peer, lines), **more
    )


async def test_whip_publishes_for_the_people_of_the_room(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    created = whip(world, world.network.peer())
    assert [f["event"] for f in visitor.pushed("track")] == ["added", "added"]
    assert len(visitor.offered["tracks"]) == 2
    assert created["etag"] == sdp.parse(created["sdp"]).transport.credentials.ufrag  # type: ignore[union-attr]


async def test_whip_that_publishes_nothing_is_refused_and_nobody_hears_of_it(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    text = offer(world.network.peer(), [("audio", "recvonly")])
    with refused("bad_sdp"):
        world.ask("whip", room=ROOM, user="u", name="n", sdp=text)
    with refused("bad_sdp"):
        world.ask("whip", room=ROOM, user="u", name="n", sdp="not SDP")
    assert visitor.pushed("participant") == []


async def test_whep_fills_m_lines_in_publishing_order(world: World) -> None:
    host, guest = world.person("host"), world.person("guest")
    host.join()
    guest.join()
    host.publish([MICROPHONE, CAMERA])
    guest.publish([MICROPHONE])
    lines = [("audio", "recvonly")] * 3 + [("video", "recvonly")] * 2
    created = whep(world, world.network.peer(), lines)
    media = sdp.parse(created["sdp"]).media
    assert [m.direction for m in media] == [
        "sendonly",
        "sendonly",
        "inactive",
        "sendonly",
        "inactive",
    ]
    order = re.findall(r"a=msid:\S+ (\S+)", created["sdp"])
    assert order == [host.tracks["0"], guest.tracks["0"], host.tracks["1"]]


async def test_whep_from_one_publisher(world: World) -> None:
    host, guest = world.person("host"), world.person("guest")
    host.join()
    guest.join()
    host.publish([MICROPHONE])
    guest.publish([MICROPHONE])
    lines = [("audio", "recvonly")] * 2
    created = whep(world, world.network.peer(), lines, **{"from": "u-guest"})
    assert re.findall(r"a=msid:\S+ (\S+)", created["sdp"]) == [guest.tracks["0"]]
    with refused("no_such_publisher"):
        whep(world, world.network.peer(), lines, **{"from": "u-nobody"})


async def test_whep_of_an_empty_room_is_all_inactive(world: World) -> None:
    created = whep(world, world.network.peer(), [("audio", "recvonly")])
    assert [m.direction for m in sdp.parse(created["sdp"]).media] == ["inactive"]
    with refused("no_such_publisher"):
        whep(world, world.network.peer(), [("audio", "recvonly")], **{"from": "u-host"})


async def test_media_flows_from_whip_to_whep(world: World) -> None:
    encoder, player = world.network.peer(), world.network.peer()
    server = world.network.transports.certificate.fingerprint
    up = sdp.parse(whip(world, encoder)["sdp"]).transport.credentials
    assert up is not None
    await encoder.connect(up, server)
    down = sdp.parse(whep(world, player, [("audio", "recvonly")])["sdp"]).transport
    assert down.credentials is not None
    await player.connect(down.credentials, server)
    encoder.send_rtp(rtp(1, ssrc=0x9000))
    assert [ssrc_of(p) for p in player.rtp] == down.ssrcs


async def test_a_whip_session_ends_with_its_peer(world: World) -> None:
    encoder = world.network.peer()
    created = whip(world, encoder)
    up = sdp.parse(created["sdp"]).transport.credentials
    assert up is not None
    await encoder.connect(up, world.network.transports.certificate.fingerprint)
    await encoder.close()
    world.deliver()
    assert world.hub.events[-1] == {
        "event": "ended",
        "participant": created["participant"],
        "room": ROOM,
        "user": "u-encoder",
    }
    assert world.conference.rooms == {}


async def test_a_whip_session_without_consent_ends(world: World) -> None:
    whip(world, world.network.peer())
    world.advance(31)
    assert world.hub.events[-1]["event"] == "ended"


async def test_delete_ends_a_session_once(world: World) -> None:
    created = whip(world, world.network.peer())
    assert world.ask("delete", participant=created["participant"]) == {}
    assert len(world.network.transports) == 0
    with refused("no_such_participant"):
        world.ask("delete", participant=created["participant"])


async def test_a_chat_participant_cannot_be_deleted_as_whip(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    with refused("no_such_participant"):
        world.ask("delete", participant=visitor.participant)


def fragment(credentials: Credentials) -> str:
    return (
        f"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:{credentials.ufrag}\r\n"
        f"a=ice-pwd:{credentials.password}\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    )


async def test_trickled_candidates_change_nothing(world: World) -> None:
    peer = world.network.peer()
    created = whip(world, peer)
    fields = {"participant": created["participant"], "sdp_fragment": fragment(peer.credentials)}
    unchanged = {"etag": created["etag"], "sdp_fragment": None}
    assert world.ask("patch", if_match=created["etag"], **fields) == unchanged
    with refused("etag_mismatch"):
        world.ask("patch", if_match="another", **fields)
    with refused("bad_sdp"):
        world.ask("patch", participant=created["participant"], sdp_fragment="nonsense")


async def test_an_ice_restart_by_fragment_gives_new_credentials(world: World) -> None:
    peer = world.network.peer()
    created = whip(world, peer)
    restarted = world.ask(
        "patch",
        participant=created["participant"],
        if_match="*",
        sdp_fragment=fragment(Credentials("anew", "n" * 24)),
    )
    assert restarted["etag"] != created["etag"]
    credentials = sdp.parse_fragment(restarted["sdp_fragment"])
    assert credentials is not None
    peer.check(credentials)
    assert len(peer.stun) == 1


async def test_a_returning_hub_hears_of_whip_sessions(world: World) -> None:
    created = whip(world, world.network.peer())
    world.signaling.link_lost(world.hub)
    returned = Hub()
    reply = world.ask("sessions", hub=returned, sessions=[])
    assert reply["participants"] == [
        {
            "room": ROOM,
            "participant": created["participant"],
            "user": "u-encoder",
            "name": "encoder",
        }
    ]
    world.ask("delete", hub=returned, participant=created["participant"])
    assert returned.events[-1]["event"] == "ended"


async def test_stats_tell_everything(world: World) -> None:
    host = world.person("host")
    host.join()
    host.publish([MICROPHONE, CAMERA])
    stats = world.ask("stats")
    assert (stats["rooms"], stats["participants"], stats["tracks"]) == (1, 1, 2)
    assert stats["tracks_by_codec"] == {"opus": 1, "VP8": 1}
    (room,) = world.ask("diagnose")["rooms"]
    assert [t["codec"] for t in room["participants"][0]["tracks"]] == ["opus", "VP8"]


# Nothing is left behind


async def test_coming_and_going_leaves_nothing_behind(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    for _ in range(20):
        visitor.join()
        await visitor.publish_and_connect([MICROPHONE, CAMERA])
        host.answer()
        visitor.frame("leave")
        host.answer()
        world.ask("session_closed", session=visitor.session)
        visitor.up = world.network.peer()
    for _ in range(5):
        await asyncio.sleep(0)
    agent = world.network.transports.agent
    # What is left is the host, and the connection on which they receive.
    assert (len(world.network.transports), len(agent._by_ufrag), len(agent._by_path)) == (1, 1, 0)
    assert set(world.signaling._sessions) == {host.session}
    assert len(world.conference.participants) == len(world.conference.usage._stays) == 1
    assert len(host.connection("subscribing").slots) == 2
    assert world.conference.counters()["subscriptions"] == 0
    # The host's receiving connection still waits for its peer.
    assert [t.get_name() for t in asyncio.all_tasks()].count("dtls-handshake") == 1
