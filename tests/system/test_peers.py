"""WHIP and WHEP with a second kind of client: aiortc, alone and beside others."""

import os
import signal
import time

import aiohttp
import pytest

from tests.system.chat import Chat, guest
from tests.system.deadline import until
from tests.system.peer import Peer, PeerRefusedError, Picture, Tone
from tests.system.statement import by_user, participation, settled_report

pytestmark = pytest.mark.system

TRICKLE = """a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
m=audio 9 UDP/TLS/RTP/SAVPF 0
a=mid:0
a=candidate:1 1 udp 1 127.0.0.1 9 typ host
""".replace("\n", "\r\n")


def growing(received):
    """Return a condition: decoded pictures and audible sound, more than now."""
    assert received
    before = [(r.frames, r.energy) for r in received]
    return lambda: all(
        r.frames >= frames + 15 and (r.kind == "video" or r.energy > energy + 0.1)
        for r, (frames, energy) in zip(received, before, strict=True)
    )


async def test_what_whip_publishes_whep_decodes(server):
    speaker, listener = await guest(server.url, "speaker"), await guest(server.url, "listener")
    async with (
        Peer(server.url, speaker.token) as publisher,
        Peer(server.url, listener.token) as subscriber,
        await Chat.enter(server.url, await guest(server.url, "visitor")) as watching,
    ):
        await watching.request("join", room="광장/1", presence=True)
        began = time.time()
        await publisher.publish("/whip/%EA%B4%91%EC%9E%A5%2F1", Tone(), Picture())
        await watching.wait(lambda f: f.get("event") == "joined" and f["user"] == speaker.user)
        whep = f"/whep/%EA%B4%91%EC%9E%A5%2F1?from={speaker.user}"
        entered = time.time()
        await subscriber.subscribe(whep, "audio", "video")
        await until(growing(subscriber.received), 20, lambda: f"decoded: {subscriber.received}")
        await until(growing(subscriber.received), 10, lambda: f"and more: {subscriber.received}")
        [video] = [r for r in subscriber.received if r.kind == "video"]
        assert video.sizes == {(320, 240)}

        await subscriber.close()
        left = time.time()
        await watching.wait(lambda f: f.get("event") == "left" and f["user"] == listener.user)
        await publisher.close()
        ended = time.time()
        await watching.wait(lambda f: f.get("event") == "left" and f["user"] == speaker.user)
    await settled_report(server)
    people = by_user(server)
    # Nothing is forwarded to who only publishes: voice. Who receives pictures: video.
    spoke = people[speaker.user]
    assert abs(spoke["voice.participant_seconds"] - (ended - began)) <= 1
    assert participation(spoke) == spoke["voice.participant_seconds"]
    watched = people[listener.user]
    assert abs(participation(watched) - (left - entered)) <= 1
    assert abs(watched["video.participant_seconds.sd"] - (left - video.first_at)) <= 1


async def test_whep_without_from_takes_everything_in_the_room(server):
    tokens = [(await guest(server.url, f"visitor {n}")).token for n in range(3)]
    async with (
        Peer(server.url, tokens[0]) as first,
        Peer(server.url, tokens[1]) as second,
        Peer(server.url, tokens[2]) as subscriber,
    ):
        await first.publish("/whip/hall", Tone(300.0))
        await second.publish("/whip/hall", Tone(500.0))
        await subscriber.subscribe("/whep/hall", "audio", "audio", "video")
        heard = [r for r in subscriber.received if r.kind == "audio"]
        await until(growing(heard), 20, lambda: f"decoded: {subscriber.received}")
        assert len(heard) == 2
        for peer in (subscriber, second, first):
            await peer.close()


async def test_a_publisher_that_vanishes_leaves_the_room(server):
    """Its ICE consent ends, or its DTLS says goodbye; either way presence and metering end."""
    account = await guest(server.url, "speaker")
    async with await Chat.enter(server.url, await guest(server.url, "visitor")) as watching:
        await watching.request("join", room="hall", presence=True)
        async with Peer(server.url, account.token) as publisher:
            await publisher.publish("/whip/hall", Tone())
            await watching.wait(lambda f: f.get("event") == "joined")
        await watching.wait(lambda f: f.get("event") == "left", 45)
    async with Peer(server.url, account.token) as listener:
        with pytest.raises(PeerRefusedError, match="404"):
            await listener.subscribe(f"/whep/hall?from={account.user}", "audio")


async def test_the_session_is_a_resource_of_its_owner(server):
    owner, other = await guest(server.url, "speaker"), await guest(server.url, "stranger")
    fragment = {"Content-Type": "application/trickle-ice-sdpfrag"}
    async with aiohttp.ClientSession() as http, Peer(server.url, owner.token) as publisher:
        await publisher.publish("/whip/hall", Tone())
        session = f"{server.url}{publisher.location}"

        async def ask(token, method, body=None, **headers):
            headers["Authorization"] = f"Bearer {token}"
            async with http.request(method, session, data=body, headers=headers) as answer:
                return answer.status, await answer.text(), answer.headers

        assert (await ask(other.token, "DELETE"))[0] == 404
        stale = {"If-Match": '"stale"'}
        assert (await ask(owner.token, "PATCH", TRICKLE, **fragment, **stale))[0] == 412
        # An ICE restart says which session it means; trickled candidates need not be kept.
        assert (await ask(owner.token, "PATCH", TRICKLE, **fragment))[0] == 428
        restart = {"If-Match": "*"}
        status, text, headers = await ask(owner.token, "PATCH", TRICKLE, **fragment, **restart)
        assert status == 200, text
        assert "a=ice-ufrag:" in text
        assert headers["ETag"] != publisher.etag
        assert (await ask(owner.token, "DELETE"))[0] == 200
        assert (await ask(owner.token, "DELETE"))[0] == 404


async def test_a_session_outlives_the_hub_that_made_it(server):
    """The media process goes on by itself; the new hub takes its sessions up again."""
    speaker, listener = await guest(server.url, "speaker"), await guest(server.url, "listener")
    async with (
        Peer(server.url, speaker.token) as publisher,
        Peer(server.url, listener.token) as subscriber,
    ):
        await publisher.publish("/whip/hall", Tone())
        await subscriber.subscribe(f"/whep/hall?from={speaker.user}", "audio")
        await until(growing(subscriber.received), 20, lambda: f"heard: {subscriber.received}")
        os.kill(server.child("hub"), signal.SIGKILL)
        await until(growing(subscriber.received), 10, lambda: f"and on: {subscriber.received}")
        await until(server.ready, 10, "the hub is back")
        async with await Chat.enter(server.url, await guest(server.url, "visitor")) as watching:

            async def both_present():
                joined = await watching.request("join", room="hall", presence=True)
                return {speaker.user, listener.user} <= {m["user"] for m in joined["members"]}

            await until(both_present, 10, "both are in presence again")
            await subscriber.close()
            await publisher.close()
            for user in (listener.user, speaker.user):
                await watching.wait(
                    lambda f, user=user: f.get("event") == "left" and f["user"] == user
                )
