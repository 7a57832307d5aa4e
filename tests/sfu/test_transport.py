"""Transports without a network: handshake, keys, consent, and bytes that are not for us."""

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from os import urandom
from time import monotonic

import pytest
from aiortc.rtcdtlstransport import certificate_digest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfu.aiortc_seam import Certificate
from sfu.fanout import TWIN, Flow, forward
from sfu.ice import Path
from sfu.transport import HANDSHAKE_S, PeerTransport, TransportCounters
from sfu.udp import UdpPort
from tests.sfu.memory_peer import Clock, MemoryPeer, Network, offer_only
from tests.sfu.packets import rtp

REPORT = bytes.fromhex("80c90001 00000001")
NOWHERE = Path(0, ("203.0.113.9", 9))


class Told:
    """What a transport told its owner."""

    def __init__(self, transport: PeerTransport) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.events: list[str] = []
        transport.on_rtp = lambda packet, now: self.rtp.append(packet)
        transport.on_rtcp = lambda packet, now: self.rtcp.append(packet)
        transport.on_connected = lambda: self.events.append("connected")
        transport.on_lost = lambda: self.events.append("lost")
        transport.on_closed = self.events.append


async def connected(network: Network) -> tuple[PeerTransport, MemoryPeer, Told]:
    transport = network.transports.open(network.clock())
    told = Told(transport)
    peer = network.peer()
    transport.accept([peer.fingerprint], peer.credentials, network.clock())
    await peer.connect(transport.credentials, network.transports.certificate.fingerprint)
    return transport, peer, told


@pytest.mark.parametrize("profile", [b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"])
async def test_packets_cross_in_both_directions(network: Network, profile: bytes) -> None:
    transport = network.transports.open(network.clock())
    told = Told(transport)
    peer = network.peer()
    offer_only(peer, profile)
    transport.accept([peer.fingerprint], peer.credentials, network.clock())
    await peer.connect(transport.credentials, network.transports.certificate.fingerprint)
    peer.send_rtp(rtp(1))
    peer.send_rtcp(REPORT)
    transport.send_rtp(rtp(2))
    transport.send_rtcp(REPORT)
    assert told.events == ["connected"]
    assert (told.rtp, told.rtcp) == ([rtp(1)], [REPORT])
    assert (peer.rtp, peer.rtcp) == ([rtp(2)], [REPORT])


async def test_aes_128_gcm_is_preferred(network: Network) -> None:
    _, peer, _ = await connected(network)
    assert peer.dtls._ssl is not None
    assert peer.dtls._ssl.get_selected_srtp_profile() == b"SRTP_AEAD_AES_128_GCM"


async def test_a_handshake_that_comes_before_the_answer_waits_for_it(network: Network) -> None:
    transport = network.transports.open(network.clock())
    told = Told(transport)
    peer = network.peer()
    handshake = asyncio.create_task(
        peer.connect(transport.credentials, network.transports.certificate.fingerprint)
    )
    await asyncio.sleep(0)
    assert told.events == []
    transport.accept([peer.fingerprint], peer.credentials, network.clock())
    await handshake
    assert told.events == ["connected"]


async def test_another_certificate_than_announced_is_refused(network: Network) -> None:
    transport = network.transports.open(network.clock())
    told = Told(transport)
    peer, impostor = network.peer(), network.peer()
    transport.accept([peer.fingerprint], peer.credentials, network.clock())
    await impostor.connect(transport.credentials, network.transports.certificate.fingerprint)
    assert told.events == ["dtls_failed"]
    assert len(network.transports) == 0


async def test_the_peers_goodbye_closes(network: Network) -> None:
    transport, peer, told = await connected(network)
    await peer.close()
    assert told.events == ["connected", "closed_by_peer"]
    assert transport.closed
    assert len(network.transports) == 0


async def test_our_goodbye_reaches_the_peer(network: Network) -> None:
    transport, peer, told = await connected(network)
    transport.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert peer.dtls.state == "closed"
    assert told.events == ["connected"]


async def test_without_consent_media_stops_and_a_restart_revives_it(
    network: Network, clock: Clock
) -> None:
    transport, peer, told = await connected(network)
    clock.advance(29)
    network.transports.handle_timeout(clock())
    assert transport.connected
    clock.advance(1.5)
    network.transports.handle_timeout(clock())
    assert told.events == ["connected", "lost"]
    transport.send_rtp(rtp(1))
    peer.send_rtp(rtp(1))
    assert (peer.rtp, told.rtp) == ([], [])
    transport.restart(clock())
    peer.check(transport.credentials)
    transport.send_rtp(rtp(2))
    peer.send_rtp(rtp(2))
    assert told.events == ["connected", "lost", "connected"]
    assert (peer.rtp, told.rtp) == ([rtp(2)], [rtp(2)])


async def test_a_peer_that_never_comes_is_given_up(network: Network, clock: Clock) -> None:
    transport = network.transports.open(clock())
    told = Told(transport)
    clock.advance(30)
    network.transports.handle_timeout(clock())
    assert told.events == ["no_connection"]


async def test_a_handshake_that_leads_nowhere_is_given_up(network: Network, clock: Clock) -> None:
    transport = network.transports.open(clock())
    told = Told(transport)
    peer = network.peer()
    peer.check(transport.credentials)
    for _ in range(round(HANDSHAKE_S)):
        network.transports.handle_timeout(clock())
        clock.advance(1)
        peer.check(transport.credentials)
    network.transports.handle_timeout(clock())
    assert told.events == ["handshake_timeout"]


async def test_media_follows_the_peer_to_another_address(network: Network) -> None:
    transport, peer, _ = await connected(network)
    moved = network.peer()
    moved.dtls = peer.dtls
    moved.check(transport.credentials)
    transport.send_rtp(rtp(1))
    assert (peer.rtp, moved.rtp) == ([], [rtp(1)])


async def test_another_peer_connection_gets_another_handshake(network: Network) -> None:
    transport, _, told = await connected(network)
    reloaded = network.peer()
    transport.accept([reloaded.fingerprint], reloaded.credentials, network.clock())
    await reloaded.connect(transport.credentials, network.transports.certificate.fingerprint)
    transport.send_rtp(rtp(7))
    assert reloaded.rtp == [rtp(7)]
    assert told.events == ["connected", "connected"]


async def test_what_srtp_refuses_to_send_is_counted(network: Network) -> None:
    transport, _, _ = await connected(network)
    dropped = network.transports.counters.dropped
    transport.send_rtp(bytes(3000))
    transport.send_rtcp(bytes(3000))
    assert dropped == {"send_refused_by_srtp": 2}


async def test_nothing_is_sent_before_there_are_keys(network: Network) -> None:
    transport = network.transports.open(network.clock())
    transport.send_rtp(rtp(1))
    transport.send_rtcp(REPORT)
    assert network.transports.counters.dropped == {"send_not_connected": 2}


async def test_hostile_datagrams_are_counted_by_cause(network: Network) -> None:
    _, peer, told = await connected(network)
    transports, dropped = network.transports, network.transports.counters.dropped
    srtp = peer.dtls._tx_srtp.protect(rtp(1))
    transports.receive_datagram(srtp, NOWHERE, 0.0)
    transports.receive_datagram(b"", NOWHERE, 0.0)
    transports.receive_datagram(b"\x16\xfe\xfd", NOWHERE, 0.0)
    transports.receive_datagram(b"\x00\x01\x00", NOWHERE, 0.0)
    peer.send(b"\x46garbage")
    peer.send(b"\x80")
    peer.send(b"\x80\x60" + bytes(30))
    peer.send(b"\x80\xc8" + bytes(30))
    peer.send(bytes([0x80, 0x60]) + bytes(3000))
    peer.send(srtp[:-3])
    peer.send(srtp)
    peer.send(srtp)
    assert dropped == {
        "unknown_address": 3,
        "stun_malformed": 1,
        "unknown_protocol": 1,
        "srtp_malformed": 1,
        "srtp_bad_authentication": 3,
        "datagram_too_long": 1,
        "srtp_replayed": 1,
    }
    assert told.rtp == [rtp(1)]


async def test_truncated_dtls_ends_nothing(network: Network) -> None:
    transport, peer, told = await connected(network)
    for datagram in (b"\x14", b"\x16\xfe\xfd\x00", b"\x17" * 13, b"\x15" + urandom(40)):
        peer.send(datagram)
    for _ in range(10):
        await asyncio.sleep(0)
    peer.send_rtp(rtp(1))
    assert transport.connected
    assert told.rtp == [rtp(1)]


async def test_a_flood_of_handshake_datagrams_is_bounded(network: Network) -> None:
    transport = network.transports.open(network.clock())
    peer = network.peer()
    peer.check(transport.credentials)
    for _ in range(100):
        peer.send(b"\x16\xfe\xfd" + bytes(20))
    assert network.transports.counters.dropped["dtls_backlog"] == 68


async def test_a_bug_in_a_core_is_counted_and_stays_with_its_packet(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    transport, peer, told = await connected(network)

    def fail(packet: bytes, now: float) -> None:
        raise ZeroDivisionError

    working, transport.on_rtp = transport.on_rtp, fail
    peer.send_rtp(rtp(1))
    transport.on_rtp = working
    peer.send_rtp(rtp(2))
    assert network.transports.counters.dropped == {"internal_error": 1}
    assert told.rtp == [rtp(2)]
    assert "ZeroDivisionError" in caplog.text


def flow_to(transport: PeerTransport) -> Flow:
    flow = Flow()
    flow.numbers = None
    flow.ssrc, flow.sequence_shift, flow.timestamp_shift = 1, 0, 0
    flow.packets = flow.octets = flow.egress_bytes = 0
    flow.send, flow.route = transport.send_rtp, transport.route
    return flow


async def test_packets_for_many_leave_on_the_port_itself(
    clock: Clock, certificate: Certificate
) -> None:
    """Keys and path are those of `send_rtp` at each moment, whoever changes them."""
    counters = TransportCounters()
    port = UdpPort(clock=monotonic, counters=counters)
    port.open(["127.0.0.1"], 0, lambda *_: None, lambda: None)
    network = Network(clock, certificate, port.departures)
    dropped = network.transports.counters.dropped
    transport, peer, _ = await connected(network)
    flow = flow_to(transport)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("127.0.0.1", 0))
        peer.path = Path(0, inbox.getsockname())
        peer.check(transport.credentials)
        if TWIN == "python":
            network.transports.send = port.send  # where that twin's packets go
        forward([flow], rtp(0), 1, 2, 7)
        inbox.settimeout(10)
        assert peer.dtls._rx_srtp.unprotect(inbox.recv(2048)) == rtp(1, timestamp=2, ssrc=1)
        assert (counters.datagrams_sent, counters.dropped) == (1, Counter())
        clock.advance(31)
        network.transports.handle_timeout(clock())  # consent ends
        forward([flow], rtp(0), 2, 2, 7)
        assert dropped == {"send_not_connected": 1}
        peer.check(transport.credentials)
        transport.accept([network.peer().fingerprint], peer.credentials, clock())
        forward([flow], rtp(0), 3, 2, 7)
        assert dropped == {"send_not_connected": 2}
        transport.close()
        forward([flow], rtp(0), 4, 2, 7)
        assert dropped == {"send_not_connected": 3}
        inbox.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                assert inbox.recv(2048)[0] < 64  # STUN and DTLS only
    port.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_no_datagram_raises(network: Network, datagram: bytes) -> None:
    network.transports.receive_datagram(datagram, NOWHERE, 0.0)


async def test_another_certificate_is_for_new_peers_only(network: Network) -> None:
    """Those who are here go on, renegotiate and restart under the one they know."""
    transport, peer, told = await connected(network)
    old = network.transports.certificate
    network.transports.certificate = Certificate()
    assert transport.local((), "passive").fingerprint == old.fingerprint
    transport.restart(network.clock())
    peer.check(transport.credentials)
    peer.send_rtp(rtp(1))
    transport.send_rtp(rtp(2))
    assert (told.rtp, peer.rtp) == ([rtp(1)], [rtp(2)])
    second, other, _ = await connected(network)
    assert second.local((), "passive").fingerprint != old.fingerprint
    shown = other.dtls._ssl.get_peer_certificate(as_cryptography=True)
    assert certificate_digest(shown, "sha-256") == second.local((), "passive").fingerprint.value
    assert second.connected


async def test_handshakes_of_one_address_are_limited_and_go_on_later(
    network: Network, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.handshakes.BURST", 2.0)
    dropped = network.transports.counters.dropped
    for _ in range(2):
        network.transports.handshakes.allow("198.51.100.1", clock())
    transport = network.transports.open(clock())
    peer = network.peer(1)
    transport.accept([peer.fingerprint], peer.credentials, clock())
    handshake = asyncio.create_task(
        peer.connect(transport.credentials, network.transports.certificate.fingerprint)
    )
    while not dropped["handshake_limit"]:  # noqa: ASYNC110 - the other end is aiortc
        await asyncio.sleep(0)
    assert not handshake.done()
    clock.advance(1)
    await handshake  # its first flight was lost, as far as it knows, and is sent again
    assert transport.connected
    await connected(network)  # another address is not concerned


async def test_an_address_gets_nothing_but_the_answer_to_its_own_check(network: Network) -> None:
    """Neither by unauthenticated checks, nor by DTLS or SRTP of others, nor with their password."""
    transport, peer, _ = await connected(network)
    stranger = network.peer()
    stranger.check(transport.credentials, password="a guess that is wrong")
    stranger.send(b"\x16\xfe\xfd" + bytes(60))
    stranger.send(peer.dtls._tx_srtp.protect(rtp(3)))
    transport.send_rtp(rtp(4))
    transport.send_rtcp(REPORT)
    assert (stranger.stun, stranger.rtp, stranger.rtcp) == ([], [], [])
    stranger.check(transport.credentials, nominate=False)
    transport.send_rtp(rtp(5))
    assert [message.message_class.name for message in stranger.stun] == ["RESPONSE"]
    assert (stranger.rtp, stranger.rtcp) == ([], [])
    assert peer.rtp == [rtp(4), rtp(5)]


async def test_a_participant_cannot_send_as_another(network: Network) -> None:
    """What one encrypted is worth nothing from another's address, and the other way round."""
    _, ann, heard_of_ann = await connected(network)
    _, bob, heard_of_bob = await connected(network)
    bob.send(ann.dtls._tx_srtp.protect(rtp(1)))
    forged = network.peer()
    forged.path = ann.path
    forged.dtls = bob.dtls
    forged.send_rtp(rtp(2))
    assert (heard_of_ann.rtp, heard_of_bob.rtp) == ([], [])
    assert network.transports.counters.dropped["srtp_bad_authentication"] == 2


async def settled(network: Network) -> tuple[PeerTransport, MemoryPeer, Told]:
    transport, peer, told = await connected(network)
    peer.send_rtp(rtp(1))
    network.transports.handle_timeout(network.clock())
    assert transport._dtls._dtls._ssl is None
    return transport, peer, told


async def test_openssl_is_let_go_once_the_peer_sends_media(network: Network) -> None:
    """90 KiB of each transport; media, restarts and other certificates go on without it."""
    transport, peer, told = await settled(network)
    peer.send_rtp(rtp(2))
    transport.send_rtp(rtp(3))
    assert (told.rtp, peer.rtp) == ([rtp(1), rtp(2)], [rtp(3)])
    transport.restart(network.clock())
    peer.check(transport.credentials)
    peer.send_rtp(rtp(4))
    assert told.rtp[-1] == rtp(4)
    reloaded = network.peer()
    transport.accept([reloaded.fingerprint], reloaded.credentials, network.clock())
    await reloaded.connect(transport.credentials, network.transports.certificate.fingerprint)
    transport.send_rtp(rtp(7))
    assert reloaded.rtp == [rtp(7)]
    assert told.events == ["connected", "connected"]


async def test_goodbyes_work_without_openssl(network: Network) -> None:
    transport, peer, told = await settled(network)
    stray = b"\x15\xfe\xfd\x00\x01" + urandom(34)
    peer.send(stray)
    peer.send(b"\x16\xfe\xfd" + urandom(60))
    assert told.events == ["connected"]
    await peer.close()
    assert told.events == ["connected", "closed_by_peer"]
    assert transport.closed
    second, other, _ = await settled(network)
    second.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert other.dtls.state == "closed"
