import secrets

import pytest

from loadtest.crowd import Crowd, Flow
from loadtest.namespace import Namespace
from loadtest.offer import AUDIO, VIDEO
from loadtest.transport import Transport

LOOPBACK = Namespace("", "127.0.0.1", "127.0.0.1")


def joined(crowd: Crowd, key: bytes) -> tuple[Transport, Transport]:
    """Make two transports that share a key, without a server to tell them."""
    sender, receiver = crowd.transport(), crowd.transport()
    for transport, peer in ((sender, receiver), (receiver, sender)):
        transport.socket.connect(peer.socket.getsockname())
        transport.establish(key, key)
    return sender, receiver


@pytest.mark.parametrize(
    "flow", [Flow(AUDIO, 100, 200), Flow(VIDEO, 1_100, 170, burst=8, picture=8)]
)
def test_every_packet_of_a_flow_is_decrypted_counted_and_timed(flow):
    crowd = Crowd(LOOPBACK)
    sender, receiver = joined(crowd, secrets.token_bytes(28))
    crowd.publish(sender, flow, 77)
    crowd.receive(receiver)
    crowd.turn(0.3)
    crowd.rest()
    streams = crowd.streams
    assert streams.sent > 0
    assert streams.received == streams.sent
    assert streams.refused == 0
    ssrc, sequence, received = crowd.streams.heard(0)
    assert (ssrc, received) == (77, streams.sent)
    assert sequence == 1_000 + streams.sent - 1
    assert 0 <= streams.percentile(50) <= streams.percentile(99)
    crowd.close()


def test_what_does_not_decrypt_is_counted_apart():
    crowd = Crowd(LOOPBACK)
    sender, receiver = joined(crowd, secrets.token_bytes(28))
    receiver.establish(secrets.token_bytes(28), secrets.token_bytes(28))
    crowd.publish(sender, Flow(AUDIO, 100, 200), 77)
    crowd.receive(receiver)
    crowd.turn(0.2)
    crowd.rest()
    assert crowd.streams.received == 0
    assert crowd.streams.refused == crowd.streams.sent > 0
    crowd.close()


def test_a_payload_without_room_for_its_stamp_is_refused():
    crowd = Crowd(LOOPBACK)
    sender, _ = joined(crowd, secrets.token_bytes(28))
    with pytest.raises(ValueError, match="payload"):
        crowd.publish(sender, Flow(AUDIO, 10, 200), 77)
    crowd.close()
