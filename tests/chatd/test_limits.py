import math

from hypothesis import given
from hypothesis import strategies as st

from chatd.limits import Limits, TokenBucket


def test_a_full_bucket_allows_its_burst_and_then_tells_the_wait():
    bucket = TokenBucket(per_s=10.0, burst=3.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(0.0) == 0.1


def test_who_waits_as_told_is_served():
    bucket = TokenBucket(per_s=3.0, burst=1.0, now=0.0)
    assert bucket.take(0.0) == 0.0
    wait_s = bucket.take(0.0)
    assert bucket.take(wait_s) == 0.0


def test_an_infinite_burst_never_waits():
    bucket = TokenBucket(math.inf, math.inf, 0.0)
    assert not any(bucket.take(0.0) for _ in range(1000))


@given(
    st.floats(0.5, 100),
    st.integers(1, 50),
    st.lists(st.floats(-1, 5, allow_nan=False), max_size=200),
)
def test_never_more_than_rate_and_burst_allow(per_s, burst, pauses):
    """Also with a clock that goes back."""
    bucket = TokenBucket(per_s, float(burst), 0.0)
    now = latest = 0.0
    taken = 0
    for pause in pauses:
        now += pause
        latest = max(latest, now)
        taken += bucket.take(now) == 0.0
    assert taken <= burst + per_s * latest + 1e-6


def test_lifted_limits_lift_rates_and_nothing_else():
    limits, lifted = Limits(), Limits().lifted()
    told, told_lifted = limits.told(), lifted.told()
    rates = {name for name in told if name.endswith(("_per_s", "_burst"))}
    assert rates
    assert all(told_lifted[name] == 0 for name in rates)
    assert {n: told[n] for n in told if n not in rates} == {
        n: told_lifted[n] for n in told if n not in rates
    }
    assert lifted.outbox_bytes == limits.outbox_bytes
    assert lifted.frame_bytes == limits.frame_bytes


def test_a_frame_holds_a_full_body_however_a_json_client_escapes_it():
    limits = Limits()
    assert limits.frame_bytes > limits.body_bytes * 2 + 1024
