from loadtest.media import straight
from loadtest.packets import OPUS, VP8


def test_without_a_server_every_packet_arrives_within_milliseconds():
    for flow in (OPUS, VP8):
        delays_ms = straight(flow, 0.4)
        assert len(delays_ms) >= 0.2 * flow.packets_per_s
        # The kernel's clock stamps the arrival, ours the departure: they must be one clock.
        assert 0 < min(delays_ms) < 50
