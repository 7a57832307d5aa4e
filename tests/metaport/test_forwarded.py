"""Who is behind trusted proxies, and what an address counts as."""

import time
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport.api.forwarded import MAX_HOPS, Proxies, network_of, read_address

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.0/8", "2001:db8:1::/48")))
PLAIN, STANDARD = Proxies(TRUSTED), Proxies(TRUSTED, standard=True)


@pytest.mark.parametrize(
    ("peer", "written", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # a stranger may not name its address
        ("10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.2", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # the left is the client's say
        ("10.0.0.2", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.2", ["198.51.100.1, 10.0.0.7"], "198.51.100.1"),
        ("10.0.0.2", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.2", ["198.51.100.1, garbage"], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1, "], "10.0.0.2"),
        ("10.0.0.2", [""], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1:4711"], "198.51.100.1"),
        ("::ffff:10.0.0.2", ["[2001:db8:2::1]:80"], "2001:db8:2::1"),
        ("2001:db8:1::5", ["2001:db8:2::1"], "2001:db8:2::1"),
        ("10.0.0.2", ["1.1.1.1," + "10.0.0.1," * MAX_HOPS + "10.0.0.1"], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
        ("unix:", ["198.51.100.1"], "unix:"),
    ],
)
def test_only_trusted_hops_are_believed(peer, written, expected):
    assert PLAIN.client_of(peer, written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["for=198.51.100.1"], "198.51.100.1"),
        (["For=198.51.100.1;proto=https;by=10.0.0.2"], "198.51.100.1"),
        (['proto=https;for="198.51.100.1:4711"'], "198.51.100.1"),
        (['for="[2001:db8:2::1]:4711"'], "2001:db8:2::1"),
        (["for=1.1.1.1, for=198.51.100.1, for=10.0.0.7"], "198.51.100.1"),
        (['for=1.1.1.1, for="a, for=2.2.2.2"'], "10.0.0.2"),
        (["for=1.1.1.1, for=unknown"], "10.0.0.2"),
        (["for=1.1.1.1, for=_hidden"], "10.0.0.2"),
        (["for=1.1.1.1, proto=http"], "10.0.0.2"),
        (['for=1.1.1.1, for="198.51.100.1'], "10.0.0.2"),
        (["for = 198.51.100.1"], "10.0.0.2"),
        (['for="1\\98.51.100.1"'], "198.51.100.1"),
        ([""], "10.0.0.2"),
        ([], "10.0.0.2"),
    ],
)
def test_the_standard_header_is_read_as_its_grammar_says(written, expected):
    assert STANDARD.client_of("10.0.0.2", written) == expected


@given(st.lists(st.text(alphabet='for=",;\\ 10.2:[]_x\t', max_size=60), max_size=3), st.booleans())
def test_whatever_a_client_writes_the_answer_is_an_address(written, standard):
    proxies = Proxies(TRUSTED, standard)
    assert read_address(proxies.client_of("10.0.0.2", written)) is not None


@given(
    st.text(alphabet='for=",;\\ 1.2:[]_x', max_size=60),
    st.ip_addresses(v=4).filter(lambda a: not any(a in n for n in TRUSTED)),
    st.booleans(),
)
def test_what_a_client_writes_does_not_change_what_the_proxy_adds(forged, address, standard):
    # An open quotation swallows what follows; whoever writes one is known as the proxy's own.
    proxies = Proxies(TRUSTED, standard)
    added = f"for={address}" if standard else str(address)
    found = proxies.client_of("10.0.0.2", [f"{forged},{added}"])
    assert found in (str(address), "10.0.0.2")
    if forged.count('"') == 0:
        assert found == str(address)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:2:3:4:5:6:7", "2001:db8:2:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a-user", "a-user"),
    ],
)
def test_limits_count_an_ipv6_client_by_its_network(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize("piece", ["a", '"\\', '"', "for=", ",", ";=", "\\"])
def test_a_long_header_is_read_in_one_pass(piece):
    """8 KiB of letters without an equals sign took half a second: each place was tried anew."""
    began = time.process_time()
    for _ in range(20):
        STANDARD.client_of("10.0.0.2", [piece * (8190 // len(piece))])
    assert time.process_time() - began < 4, "200 ms each, and they take about 5"
