"""The address of a client behind trusted proxies, and the network it stands for.

Proxies write down whom they speak for in `X-Forwarded-For`, or in `Forwarded` (RFC 7239). Only the
one that the configuration names is believed, and it is read from the right, one trusted hop at a
time: what a client wrote itself stands further left.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

Networks = Sequence[IPv4Network | IPv6Network]
Address = IPv4Address | IPv6Address

# More hops than anybody has; what stands further left is the client's own word.
MAX_HOPS = 32
# A quoted string, what is none, a delimiter (RFC 9110, section 5.6): one pass over whatever it is.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[^",;]+|[,;]', re.DOTALL)
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("[^\n]*"|[^\s"]*)\s*')
# One household or company has at least a /64 and may change within it at will.
_CLIENT_PREFIX = 64


class Proxies(NamedTuple):
    """The proxies that are believed, and whether they write `Forwarded`."""

    networks: Networks = ()
    standard: bool = False

    @property
    def header(self) -> str:
        """The name of what they write."""
        return "Forwarded" if self.standard else "X-Forwarded-For"

    def client_of(self, remote: str, values: Sequence[str]) -> str:
        """Return the last hop that is not one of them.

        `values` are those of `header`. A hop that is hidden or cannot be read ends the chain: then
        the proxy before it is all that is known.
        """
        hop = read_address(remote)
        if hop is None:
            return remote
        hops = _standard_hops(",".join(values)) if self.standard else _plain_hops(",".join(values))
        while hops and any(hop in network for network in self.networks):
            found = read_address(hops.pop())
            if found is None:
                break
            hop = found
        return str(hop)


def network_of(address: str) -> str:
    """Return what limits by address count by: an IPv4 address, the /64 of an IPv6 one."""
    found = read_address(address)
    if found is None:
        return address
    if found.version == 4:
        return str(found)
    return str(IPv6Network((int(found), _CLIENT_PREFIX), strict=False))


def read_address(text: str) -> Address | None:
    """Read an address, with or without a port or brackets; None for what is none.

    IPv6 forms of IPv4 addresses (RFC 4291, section 2.5.5.2) are the IPv4 addresses.
    """
    bare = text.strip()
    if bare.startswith("["):
        bare, bracket, port = bare[1:].partition("]")
        if not bracket or not _is_port(port):
            return None
    elif bare.count(":") == 1:
        bare, _, port = bare.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        found = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if found.version == 6 else found


def _is_port(text: str) -> bool:
    return text == "" or re.fullmatch(r":[0-9]{1,5}", text) is not None


def _plain_hops(value: str) -> list[str]:
    hops = value.rsplit(",", MAX_HOPS)
    return hops[-MAX_HOPS:] if value else []


def _standard_hops(value: str) -> list[str]:
    """Return `for` of each element; what stands before something malformed is not believed."""
    hops: list[str] = []
    named, pair, place = "", "", 0
    while place < len(value):
        piece = _PIECE.match(value, place)
        if piece is None:
            return [""]  # a quotation without an end: nobody knows what is in it
        place = piece.end()
        if piece[0] not in (",", ";"):
            pair += piece[0]
            continue
        hops, named = _read_pair(pair, hops, named)
        pair = ""
        if piece[0] == ",":
            hops.append(named)
            named = ""
    hops, named = _read_pair(pair, hops, named)
    return [*hops, named][-MAX_HOPS:]


def _read_pair(pair: str, hops: list[str], named: str) -> tuple[list[str], str]:
    """Return the hops so far and the `for` of this element, none of them after a bad pair."""
    if not pair.strip():
        return hops, named
    found = _PAIR.fullmatch(pair)
    if found is None:
        return [], ""
    name, said = found.groups()
    if name.lower() == "for":
        named = re.sub(r"\\(.)", r"\1", said[1:-1]) if said[:1] == '"' else said
    return hops, named
