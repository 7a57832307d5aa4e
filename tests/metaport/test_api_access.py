"""Bearer tokens and the address behind proxies."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from metaport.api.access import bearer, client_address
from metaport.api.forwarded import Proxies
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


def test_the_address_is_read_from_the_header_that_is_named():
    headers = {"X_Forwarded_For": "198.51.100.1", "Forwarded": "for=198.51.100.2"}
    for proxies, expected in (
        (Proxies(TRUSTED), "198.51.100.1"),
        (Proxies(TRUSTED, standard=True), "198.51.100.2"),
        (Proxies(), "10.0.0.2"),
    ):
        assert client_address(request("10.0.0.2", **headers), proxies) == expected


@pytest.mark.parametrize("value", ["", "Basic abc", "Bearer", "Bearer  "])
def test_a_request_without_bearer_token_is_refused(value):
    with pytest.raises(Problem) as refused:
        bearer(request("127.0.0.1", Authorization=value))
    assert refused.value.reason == "no-token"


def test_the_scheme_is_case_insensitive():
    assert bearer(request("127.0.0.1", Authorization="bearer abc")) == "abc"
