"""How often a sign-in may be tried: by address, by account, and by devices an account knows.

Whoever guesses from many addresses runs into the limit of the account. Its owner does not stand
behind them in that queue: a device that was signed in before shows a proof of it and has a limit of
its own (the "device cookies" of OWASP). An account that does not exist is limited as one that does,
so that neither the answer nor the wait tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chatd.buckets import Buckets
from metaport.api.forwarded import network_of

# An office behind one address signs in within a minute in the morning.
ADDRESS_PER_S, ADDRESS_BURST = 0.5, 20.0
# Of strangers: 10 guesses, then one in 30 s: 2,880 a day at most, of all addresses together.
ACCOUNT_PER_S, ACCOUNT_BURST = 1 / 30, 10.0
DEVICE_PER_S, DEVICE_BURST = 0.1, 10.0


class LoginThrottle:
    """Counts tries; a try that was right costs nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses = Buckets(ADDRESS_PER_S, ADDRESS_BURST)
        self._accounts = Buckets(ACCOUNT_PER_S, ACCOUNT_BURST)
        self._devices = Buckets(DEVICE_PER_S, DEVICE_BURST)

    def wait_s(self, account: str, address: str, device: str | None) -> float:
        """Count a try; return 0.0, or the seconds to wait before another.

        `device` is one that has proved to have been signed in to this account.
        """
        now = self._clock()
        wait_s = self._addresses.take(network_of(address), now)
        if wait_s > 0:
            return wait_s
        return self._of(account, device).take(_key(account, device), now)

    def right(self, account: str, address: str, device: str | None) -> None:
        """Take back what the last try cost: it was right."""
        now = self._clock()
        self._addresses.of(network_of(address), now).give_back()
        self._of(account, device).of(_key(account, device), now).give_back()

    def _of(self, account: str, device: str | None) -> Buckets:
        return self._accounts if device is None else self._devices


def _key(account: str, device: str | None) -> str:
    return account if device is None else f"{account}\0{device}"
