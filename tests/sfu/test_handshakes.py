from sfu.handshakes import BURST, PER_S, HandshakeLimit


def test_an_address_may_begin_a_crowds_handshakes_and_then_a_few_a_second() -> None:
    limit = HandshakeLimit()
    assert all(limit.allow("192.0.2.1", 1.0) for _ in range(int(BURST)))
    assert not limit.allow("192.0.2.1", 1.0)
    assert limit.allow("192.0.2.2", 1.0)
    assert sum(limit.allow("192.0.2.1", 2.0) for _ in range(1000)) == PER_S
    assert sum(limit.allow("192.0.2.1", 60.0) for _ in range(1000)) == BURST


def test_addresses_of_one_ipv6_network_share() -> None:
    limit = HandshakeLimit()
    assert all(limit.allow(f"2001:db8::{n:x}", 1.0) for n in range(int(BURST)))
    assert not limit.allow("2001:db8::ffff:1", 1.0)
    assert limit.allow("2001:db8:0:1::1", 1.0)
    assert limit.allow("fe80::1%eth0", 1.0)


def test_who_was_quiet_is_forgotten() -> None:
    limit = HandshakeLimit()
    for n in range(200):
        limit.allow(f"192.0.2.{n}", 1.0)
    limit.allow("198.51.100.1", 100.0)
    assert len(limit._spent) == 1
