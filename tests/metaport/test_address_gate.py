"""An office behind one address, and somebody in it who only fails."""

import pytest

from metaport import address_gate
from metaport.address_gate import HANDSHAKE_BURST, HANDSHAKE_PER_S, AddressGate, AddressLimit


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(address_gate, "time", clock)
    return clock


def test_people_with_good_tokens_never_run_into_the_limit_together(clock):
    gate = AddressGate()
    for _ in range(int(HANDSHAKE_BURST) * 5):
        assert gate.wait_s("203.0.113.9") == 0
        gate.greeted("203.0.113.9")(True)


def test_whoever_fails_pays_for_it(clock):
    gate = AddressGate()
    for _ in range(int(HANDSHAKE_BURST)):
        assert gate.wait_s("2001:db8::1") == 0
        gate.greeted("2001:db8::1")(False)
    assert gate.wait_s("2001:db8::ffff") == pytest.approx(1 / HANDSHAKE_PER_S), "the same /64"
    assert gate.wait_s("2001:db8:0:1::1") == 0
    clock.now += 1 / HANDSHAKE_PER_S
    assert gate.wait_s("2001:db8::1") == 0
    assert gate.wait_s("2001:db8::1") > 0


def test_a_limit_counts_each_address_by_itself(clock):
    limit = AddressLimit(1, 2)
    assert [limit.wait_s(a) for a in ("198.51.100.1", "198.51.100.2")] == [0, 0]
    assert limit.wait_s("198.51.100.1") == 0
    assert limit.wait_s("198.51.100.1") == pytest.approx(1.0)
