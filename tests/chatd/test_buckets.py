import math

from hypothesis import given
from hypothesis import strategies as st

from chatd.buckets import Buckets
from chatd.limits import TokenBucket


def test_each_key_has_its_own_bucket_and_the_oldest_is_forgotten():
    buckets = Buckets(1.0, 2.0, keys=2)
    assert [buckets.take("a", 0.0), buckets.take("a", 0.0), buckets.take("b", 0.0)] == [0, 0, 0]
    assert buckets.take("a", 0.0) == 1.0
    assert buckets.take("c", 0.0) == 0
    assert len(buckets) == 2
    assert buckets.take("b", 0.0) == 0, "forgotten is full again"
    assert buckets.take("c", 0.0) == 0


class Ideal:
    """The definition: of any stretch, no more than the burst and what is refilled in it."""

    def __init__(self, per_s, burst):
        self.per_s, self.burst = per_s, burst
        self.taken = []

    def allows(self, now):
        return all(
            sum(at >= start for at in self.taken) + 1
            <= self.burst + (now - start) * self.per_s + 1e-6
            for start in {*self.taken, now}
        )


@given(
    st.floats(0.1, 50),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), max_size=60),
)
def test_a_bucket_gives_exactly_what_its_definition_allows(per_s, burst, gaps):
    bucket, ideal, now = TokenBucket(per_s, burst, 0.0), Ideal(per_s, burst), 0.0
    for gap in gaps:
        now += gap
        wait_s = bucket.take(now)
        if wait_s == 0.0:
            assert ideal.allows(now)
            ideal.taken.append(now)
        else:
            # Who waits as told finds a token, and was not told to wait for longer than one takes.
            assert 0 < wait_s <= 1 / per_s + 1e-6
            now += wait_s
            assert bucket.take(now) == 0.0
            assert ideal.allows(now)
            ideal.taken.append(now)


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), max_size=60), st.integers(1, 10))
def test_neither_clocks_that_go_back_nor_what_is_given_back_overfill(steps, burst):
    bucket, now = TokenBucket(1.0, burst, 0.0), 0.0
    latest = 0.0
    taken = 0
    for step, gives in steps:
        now += step
        latest = max(latest, now)
        if gives and taken:
            bucket.give_back()
            taken -= 1
        elif bucket.take(now) == 0.0:
            taken += 1
        assert taken <= burst + latest + 1e-6


def test_a_lifted_bucket_never_waits():
    bucket = TokenBucket(math.inf, math.inf, 0.0)
    bucket.give_back()
    assert all(bucket.take(0.0) == 0.0 for _ in range(1000))
