"""How often an address may do what: strict with strangers, lenient with people who are known.

Behind one address of an office, a school or a mobile network thousands come and go. So a handshake
costs its address something only until the hello behind it proves good: people with good tokens
never run into the limit together, and whoever fails pays. An IPv6 client counts by its /64.
"""

import time
from collections.abc import Callable

from chatd.buckets import Buckets
from metaport.api.forwarded import network_of

# 20 failures a second sustained leave no room for guessing or for idle sockets; the burst is how
# many of an office may be between their handshake and their hello at once.
HANDSHAKE_PER_S, HANDSHAKE_BURST = 20.0, 1000.0
# Of requests over HTTP with a token nobody signed; good tokens are not looked at here.
BAD_TOKEN_PER_S, BAD_TOKEN_BURST = 2.0, 60.0


class AddressLimit:
    """A rate by address (or by user, whose id is no address)."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._buckets = Buckets(per_s, burst)

    def wait_s(self, address: str) -> float:
        """Take one token of an address; returns the seconds to wait when there is none."""
        return self._buckets.take(network_of(address), time.monotonic())

    def give_back(self, address: str) -> None:
        """Undo what `wait_s` took."""
        self._buckets.of(network_of(address), time.monotonic()).give_back()


class AddressGate:
    """Handshakes by address."""

    def __init__(self) -> None:
        self._handshakes = AddressLimit(HANDSHAKE_PER_S, HANDSHAKE_BURST)

    def wait_s(self, address: str) -> float:
        """Count a handshake; return 0.0, or the seconds after which another may be tried."""
        return self._handshakes.wait_s(address)

    def greeted(self, address: str) -> Callable[[bool], None]:
        """Return what is to be told whether the hello of a handshake was good."""

        def hear(good: bool) -> None:
            if good:
                self._handshakes.give_back(address)

        return hear
