from metaport.login_throttle import ACCOUNT_BURST, ADDRESS_BURST, LoginThrottle


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_guesses_from_many_addresses_end_at_the_account_and_its_owner_gets_in():
    throttle = LoginThrottle(Clock())
    admitted = sum(
        throttle.wait_s("ann", f"10.{n % 250}.{n // 250}.1", None) == 0 for n in range(2000)
    )
    assert admitted == ACCOUNT_BURST
    assert throttle.wait_s("ann", "192.0.2.7", "d_known") == 0
    assert throttle.wait_s("ben", "192.0.2.8", None) == 0


def test_guesses_from_one_address_end_there_whoever_is_meant():
    throttle = LoginThrottle(Clock())
    admitted = sum(throttle.wait_s(f"user{n}", "192.0.2.7", None) == 0 for n in range(100))
    assert admitted == ADDRESS_BURST
    # All of an IPv6 client's addresses are one.
    for n in range(100):
        throttle.wait_s(f"user{n}", f"2001:db8::{n:x}", None)
    assert throttle.wait_s("other", "2001:db8::ffff", None) > 0


def test_who_is_right_pays_nothing():
    throttle = LoginThrottle(Clock())
    for _ in range(200):
        assert throttle.wait_s("ann", "192.0.2.7", None) == 0
        throttle.right("ann", "192.0.2.7", None)


def test_the_wait_is_told_and_passes():
    clock = Clock()
    throttle = LoginThrottle(clock)
    while (wait_s := throttle.wait_s("ann", f"10.0.0.{int(clock.now)}", None)) == 0:
        pass
    clock.now += wait_s
    assert throttle.wait_s("ann", "192.0.2.9", None) == 0
