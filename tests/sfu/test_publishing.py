"""The publishing connection: answers to browsers' offers, renegotiation, restarts, new peers."""

import random
import re

import pytest

from sfu import sdp
from sfu.errors import Refused
from sfu.forwarding import Tally
from sfu.ice import Credentials
from sfu.publishing import Publishing
from sfu.room import Member
from sfu.sdp import Candidate
from sfu.transport import Transports
from tests.sfu.memory_peer import MemoryPeer, Network
from tests.sfu.offers import RECORDED, offer, recorded
from tests.sfu.packets import rtp, vp8_key

CANDIDATES = (Candidate("192.0.2.10", 7882), Candidate("2001:db8::10", 7882))
CAMERA = [("audio", "sendonly"), ("video", "sendonly")]


def publishing(network: Network) -> Publishing:
    chance = random.Random(7)
    transports = Transports(
        network.transports.certificate, network.transports.send, chance.randbytes
    )
    return Publishing(
        transports,
        Member("p-1", "u-1", "Visitor"),
        random=chance.randbytes,
        tally=Tally(),
        now=0.0,
    )


def receive(connection: Publishing, text: str, **sources: str) -> str:
    named = {mid.removeprefix("mid"): source for mid, source in sources.items()}
    return connection.receive_offer(sdp.parse(text), named, CANDIDATES, 0.0)


@pytest.mark.parametrize("browser", ["chromium", "firefox", "aiortc", "gstreamer"])
async def test_answers_are_the_recorded_ones(network: Network, browser: str) -> None:
    text = receive(publishing(network), recorded(f"{browser}_publishes"))
    expected = (RECORDED / f"to_{browser}_publishing.sdp").read_bytes().decode()
    ours = network.transports.certificate.fingerprint.value
    assert text.replace(ours, "0A:0B:0C") == expected


async def test_m_lines_become_tracks_with_their_sources(network: Network) -> None:
    connection = publishing(network)
    receive(connection, recorded("chromium_publishes"), mid1="screen")
    tracks = [(t.mid, t.kind, t.media.source, t.codec.name) for t in connection.tracks.values()]
    assert tracks == [("0", "audio", "microphone", "opus"), ("1", "video", "screen", "VP8")]


async def test_a_renegotiation_keeps_tracks_that_stay(network: Network) -> None:
    connection, peer = publishing(network), network.peer()
    receive(connection, offer(peer, CAMERA))
    before = dict(connection.tracks)
    text = receive(connection, offer(peer, [*CAMERA, ("video", "sendonly")]), mid2="screen")
    assert connection.tracks["0"] is before["0"]
    assert connection.tracks["1"] is before["1"]
    assert connection.tracks["2"].media.source == "screen"
    assert text.splitlines()[1].split()[2] == "2"


async def test_an_m_line_that_stops_sending_ends_its_track_and_can_carry_another(
    network: Network,
) -> None:
    connection, peer = publishing(network), network.peer()
    receive(connection, offer(peer, CAMERA))
    first = connection.tracks["1"].id
    text = receive(connection, offer(peer, [("audio", "sendonly"), ("video", "inactive")]))
    assert list(connection.tracks) == ["0"]
    assert sdp.parse(text).media[1].direction == "inactive"
    receive(connection, offer(peer, CAMERA))
    assert connection.tracks["1"].id != first


async def test_another_source_on_an_m_line_is_another_track(network: Network) -> None:
    connection, peer = publishing(network), network.peer()
    receive(connection, offer(peer, CAMERA), mid1="camera")
    first = connection.tracks["1"].id
    receive(connection, offer(peer, CAMERA), mid1="screen")
    assert connection.tracks["1"].id != first
    assert connection.tracks["1"].media.source == "screen"


async def test_new_ice_credentials_are_answered_with_new_ones(network: Network) -> None:
    connection, peer = publishing(network), network.peer()
    first = sdp.parse(receive(connection, offer(peer, CAMERA))).transport.credentials
    again = sdp.parse(receive(connection, offer(peer, CAMERA))).transport.credentials
    peer.credentials = Credentials("anew", "n" * 24)
    restarted = sdp.parse(receive(connection, offer(peer, CAMERA))).transport.credentials
    assert first == again != restarted
    assert len(connection.tracks) == 2


async def test_another_peer_connection_publishes_new_tracks(network: Network) -> None:
    connection = publishing(network)
    receive(connection, offer(network.peer(), CAMERA))
    before = {track.id for track in connection.tracks.values()}
    receive(connection, offer(network.peer(), CAMERA))
    assert len(connection.tracks) == 2
    assert before.isdisjoint(track.id for track in connection.tracks.values())


async def test_what_cannot_be_decoded_by_anybody_is_refused(network: Network) -> None:
    text = re.sub("opus|VP8|H264|VP9|AV1", "unknown", recorded("chromium_publishes"))
    with pytest.raises(Refused) as refusal:
        receive(publishing(network), text)
    assert refusal.value.reason == "unsupported_codecs"


async def test_one_m_line_without_a_known_codec_is_rejected_alone(network: Network) -> None:
    text = re.sub("VP8|H264|VP9|AV1", "unknown", recorded("chromium_publishes"))
    answered = sdp.parse(receive(publishing(network), text))
    assert [m.rejected for m in answered.media] == [False, True]
    assert answered.bundle == ["0"]


async def test_tracks_are_limited(network: Network) -> None:
    with pytest.raises(Refused) as refusal:
        receive(publishing(network), offer(network.peer(), [("audio", "sendonly")] * 9))
    assert refusal.value.reason == "too_many_tracks"


async def test_a_refused_renegotiation_changes_nothing(network: Network) -> None:
    connection, peer = publishing(network), network.peer()
    receive(connection, offer(peer, CAMERA))
    before = dict(connection.tracks)
    with pytest.raises(Refused):
        receive(connection, offer(peer, [("audio", "sendonly")] * 9))
    assert connection.tracks == before


async def test_packets_reach_the_track_of_their_m_line(network: Network) -> None:
    connection, peer = _published(network)
    answered = sdp.parse(receive(connection, offer(peer, CAMERA))).transport
    assert answered.credentials is not None
    await peer.connect(answered.credentials, network.transports.certificate.fingerprint)
    peer.send_rtp(rtp(1, ssrc=0x1000))
    peer.send_rtp(rtp(1, ssrc=0x1010, payload_type=96, payload=vp8_key(1280, 720)))
    audio, video = (connection.tracks[mid].media for mid in ("0", "1"))
    assert (audio.packets, video.packets) == (1, 1)
    assert (video.width, video.height) == (1280, 720)


def _published(network: Network) -> tuple[Publishing, MemoryPeer]:
    owner = Member("p-1", "u-1", "Visitor")
    chance = random.Random(7)
    connection = Publishing(
        network.transports, owner, random=chance.randbytes, tally=Tally(), now=network.clock()
    )
    return connection, network.peer()
