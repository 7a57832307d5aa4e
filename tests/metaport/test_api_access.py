"""Bearer tokens and the address behind proxies."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from metaport.api.access import bearer, client_address
from metaport.api.problems import Problem

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8")]


class Peer:
    """A transport that knows only who is at the other end."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self._address, 4711) if name == "peername" else default


def request(peer: str, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/", headers=names, transport=Peer(peer))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger may not name its address
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the left part is the client's say
        ("10.0.0.2", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.2", "garbage", "garbage"),
        ("10.0.0.2", "", "10.0.0.2"),
    ],
)
def test_client_address_believes_only_trusted_hops(peer, forwarded, expected):
    headers = {} if forwarded is None else {"X_Forwarded_For": forwarded}
    assert client_address(request(peer, **headers), TRUSTED) == expected


@pytest.mark.parametrize("value", ["", "Basic abc", "Bearer", "Bearer  "])
def test_a_request_without_bearer_token_is_refused(value):
    with pytest.raises(Problem) as refused:
        bearer(request("127.0.0.1", Authorization=value))
    assert refused.value.reason == "no-token"


def test_the_scheme_is_case_insensitive():
    assert bearer(request("127.0.0.1", Authorization="bearer abc")) == "abc"
