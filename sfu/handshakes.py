"""How many DTLS handshakes one network address may begin; sans-IO.

A handshake costs us signatures and a key exchange, about 1.5 ms; whoever may take part could have
it done over and over, and everybody else would stutter.
"""

from ipaddress import IPv6Address

# A crowd behind one office's address comes in at once; after that one core gives a sixth of itself.
BURST = 500.0
PER_S = 100.0


class HandshakeLimit:
    """A token bucket for each address; of IPv6 for each /64, which one customer has whole."""

    def __init__(self) -> None:
        # Spent tokens and when that was so; an address that spent none is not here.
        self._spent: dict[str, tuple[float, float]] = {}
        self._swept_at = 0.0

    def allow(self, address: str, now: float) -> bool:
        """Let an address begin one more handshake, if it may."""
        if now - self._swept_at >= BURST / PER_S:
            self._sweep(now)
        network = _network(address)
        spent, at = self._spent.get(network, (0.0, now))
        spent = max(0.0, spent - (now - at) * PER_S)
        if spent + 1.0 > BURST:
            return False
        self._spent[network] = spent + 1.0, now
        return True

    def _sweep(self, now: float) -> None:
        """Forget who has been quiet until all is given back."""
        self._swept_at = now
        self._spent = {
            network: (spent, at)
            for network, (spent, at) in self._spent.items()
            if spent > (now - at) * PER_S
        }


def _network(address: str) -> str:
    if ":" not in address:
        return address
    return str(int(IPv6Address(address.partition("%")[0])) >> 64)
