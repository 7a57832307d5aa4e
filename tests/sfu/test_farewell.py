"""Goodbyes without OpenSSL against OpenSSL: what one says the other understands."""

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from sfu.farewell import Farewell, farewell_of

GCM = b"ECDHE-ECDSA-AES128-GCM-SHA256"
CHACHA = b"ECDHE-ECDSA-CHACHA20-POLY1305"
CBC = b"ECDHE-ECDSA-AES128-SHA"


def connection(cipher: bytes) -> SSL.Connection:
    context = RTCCertificate.generateCertificate()._create_ssl_context(SRTP_PROFILES)
    context.set_cipher_list(cipher)
    return SSL.Connection(context)


def carry(sender: SSL.Connection, receiver: SSL.Connection) -> bool:
    try:
        receiver.bio_write(sender.bio_read(4096))
    except SSL.WantReadError:
        return False
    return True


def handshaken(cipher: bytes) -> tuple[SSL.Connection, SSL.Connection]:
    """Return a server and a client whose handshake is over."""
    server, client = connection(cipher), connection(cipher)
    server.set_accept_state()
    client.set_connect_state()
    over = 0
    while over < 2:
        over = 0
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                over += 1
            except SSL.WantReadError:
                pass
            carry(end, other)
    return server, client


@pytest.fixture(params=[GCM, CHACHA], ids=bytes.decode)
def ends(request: pytest.FixtureRequest) -> tuple[Farewell, SSL.Connection]:
    server, client = handshaken(request.param)
    farewell = farewell_of(server)
    assert farewell is not None
    return farewell, client


def test_a_goodbye_of_openssl_is_understood(ends: tuple[Farewell, SSL.Connection]) -> None:
    farewell, client = ends
    client.shutdown()
    goodbye = client.bio_read(4096)
    assert farewell.is_goodbye(goodbye)
    assert farewell.is_goodbye(b"\x16\xfe\xfd" + bytes(10) + goodbye)  # behind another record
    for place in range(len(goodbye)):
        forged = bytearray(goodbye)
        forged[place] ^= 1
        assert not farewell.is_goodbye(bytes(forged)), place
        assert not farewell.is_goodbye(goodbye[:place])


def test_our_goodbye_is_understood_by_openssl(ends: tuple[Farewell, SSL.Connection]) -> None:
    farewell, client = ends
    assert farewell.goodbye() == farewell.goodbye()
    client.bio_write(farewell.goodbye())
    with pytest.raises(SSL.ZeroReturnError):
        client.recv(100)


def test_other_records_are_no_goodbye(ends: tuple[Farewell, SSL.Connection]) -> None:
    farewell, client = ends
    client.send(b"\x01\x00")  # application data of an alert's length
    assert not farewell.is_goodbye(client.bio_read(4096))


def test_another_cipher_is_left_to_openssl() -> None:
    server, _ = handshaken(CBC)
    assert farewell_of(server) is None


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_no_goodbye(data: bytes) -> None:
    assert not _ANY.is_goodbye(data)
    assert not _ANY.is_goodbye(b"\x15\xfe\xfd\x00\x01" + data)


_server, _client = handshaken(GCM)
_any = farewell_of(_server)
assert _any is not None
_ANY = _any
