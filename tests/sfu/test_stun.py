"""STUN: what is a connectivity check, and that nothing else raises anything but `StunError`."""

import contextlib

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import StunError
from sfu.stun import parse_check

PASSWORD = "a" * 24


def check(*, username: str | None = "ours:theirs", **attributes: object) -> stun.Message:
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    if username is not None:
        message.attributes["USERNAME"] = username
    message.attributes.update(attributes)
    message.add_message_integrity(PASSWORD.encode())
    return message


def test_a_check_tells_whom_it_is_for_and_whether_it_nominates() -> None:
    parsed = parse_check(bytes(check(**{"USE-CANDIDATE": None})))
    assert (parsed.local_ufrag, parsed.nominates, parsed.controlled) == ("ours", True, False)


def test_integrity_is_verified_with_our_password() -> None:
    parsed = parse_check(bytes(check()))
    assert parsed.authentic(PASSWORD)
    assert not parsed.authentic("b" * 24)


def test_a_check_without_integrity_is_not_authentic() -> None:
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        attributes={"USERNAME": "ours:theirs"},
    )
    assert not parse_check(bytes(message)).authentic(PASSWORD)


@pytest.mark.parametrize("address", [("192.0.2.7", 4000), ("2001:db8::7", 4000, 0, 0)])
def test_the_answer_names_the_peers_address_and_is_signed(address: tuple[str, int]) -> None:
    request = check()
    answer = stun.parse_message(parse_check(bytes(request)).success(address, PASSWORD))
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.transaction_id == request.transaction_id
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == address[:2]
    assert answer.check_message_integrity(PASSWORD.encode())


def test_a_peer_that_thinks_it_is_controlled_is_told_of_the_conflict() -> None:
    parsed = parse_check(bytes(check(**{"ICE-CONTROLLED": 5})))
    assert parsed.controlled
    answer = stun.parse_message(parsed.role_conflict(PASSWORD))
    assert (answer.message_class, answer.error_code) == (stun.Class.ERROR, 487)


VALID = bytes(check())
CORPUS = [
    ("empty", b"", "stun_malformed"),
    ("one byte", b"\x00", "stun_malformed"),
    ("header cut", VALID[:19], "stun_malformed"),
    ("attributes cut", VALID[:-1], "stun_malformed"),
    ("length too long", VALID[:2] + b"\xff\xfc" + VALID[4:], "stun_malformed"),
    ("fingerprint broken", VALID[:-1] + bytes([VALID[-1] ^ 1]), "stun_malformed"),
    ("unknown method", b"\x00\x0a" + bytes(2) + VALID[4:20], "stun_malformed"),
    ("username not UTF-8", b"\x00\x01\x00\x08" + VALID[4:20] + b"\x00\x06\x00\x04\xff\xff\xff\xff",
     "stun_malformed"),
    ("address with a wrong family",
     b"\x00\x01\x00\x0c" + VALID[4:20] + b"\x00\x20\x00\x08\x00\x09\x00\x00\x00\x00\x00\x00",
     "stun_malformed"),
    ("response", b"\x01\x01" + bytes(2) + VALID[4:20], "stun_not_a_check"),
    ("indication", b"\x00\x11" + bytes(2) + VALID[4:20], "stun_not_a_check"),
    ("allocate", b"\x00\x03" + bytes(2) + VALID[4:20], "stun_not_a_check"),
    ("no username", bytes(check(username=None)), "stun_no_username"),
    ("username of one half", bytes(check(username="ours")), "stun_no_username"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "cause"), [entry[1:] for entry in CORPUS], ids=[entry[0] for entry in CORPUS]
)
def test_what_is_no_check_is_refused_by_cause(data: bytes, cause: str) -> None:
    with pytest.raises(StunError) as error:
        parse_check(data)
    assert error.value.cause == cause


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(StunError):
        parse_check(data)


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255), st.integers(0, len(VALID)))
def test_no_bitten_or_cut_check_raises_anything_else(at: int, value: int, length: int) -> None:
    data = bytearray(VALID)
    data[at] = value
    with contextlib.suppress(StunError):
        parse_check(bytes(data[:length]))
