"""Both twins by one test class, and against each other over random packets."""

import importlib
import random
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu import rewrite, rewrite_pure
from sfu.errors import RtpError
from tests.sfu.packets import anything, one_byte, rtp, two_byte

TWINS = [rewrite_pure]
try:
    TWINS.append(importlib.import_module("sfu._rewrite"))
except ImportError:  # no compiler here: the specification is all there is
    assert rewrite.TWIN == "python"


def renumbering(**pairs: int) -> bytes:
    """Build an identifier table: ``_4=1`` makes element 4 element 1."""
    table = bytearray(256)
    for name, out in pairs.items():
        table[int(name[1:])] = out
    return bytes(table)


def test_the_chosen_twin_is_the_fastest_there_is() -> None:
    assert rewrite.patch is TWINS[-1].patch
    assert (rewrite.TWIN == "python") is (rewrite.patch is rewrite_pure.patch)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
class TestTwin:
    def normalise(
        self,
        twin: ModuleType,
        packet: bytes,
        identifiers: bytes = bytes(256),
        send_time_id: int = 0,
        transport_id: int = 0,
    ) -> bytes:
        header = twin.read_header(packet)
        result = twin.normalise(
            packet,
            header,
            identifiers,
            96,
            0x10005,
            0x1_0000_0007,
            send_time_id,
            0x7F123456,
            transport_id,
        )
        assert isinstance(result, bytes)
        return result

    def test_a_plain_packet_gets_its_numbers(self, twin: ModuleType) -> None:
        packet = rtp(1, timestamp=2, payload_type=111, marker=True)
        wanted = rtp(5, timestamp=7, payload_type=96, marker=True)
        assert self.normalise(twin, packet) == wanted

    def test_padding_goes(self, twin: ModuleType) -> None:
        assert self.normalise(twin, rtp(1, padding=9)) == rtp(5, timestamp=7, payload_type=96)

    def test_csrcs_stay(self, twin: ModuleType) -> None:
        wanted = rtp(5, timestamp=7, payload_type=96, csrcs=[1, 2])
        assert self.normalise(twin, rtp(1, csrcs=[1, 2])) == wanted

    def test_elements_are_renumbered_or_stripped(self, twin: ModuleType) -> None:
        packet = rtp(1, extension=one_byte((4, b"0"), (1, b"\x85"), (5, b"tw")))
        wanted = rtp(5, timestamp=7, payload_type=96, extension=one_byte((2, b"\x85")))
        assert self.normalise(twin, packet, renumbering(_1=2)) == wanted

    def test_without_elements_the_extension_goes(self, twin: ModuleType) -> None:
        packet = rtp(1, extension=one_byte((4, b"0")))
        assert self.normalise(twin, packet) == rtp(5, timestamp=7, payload_type=96)

    def test_the_send_time_is_written_anew(self, twin: ModuleType) -> None:
        packet = rtp(1, extension=one_byte((2, b"old"), (1, b"\x85")))
        extension = one_byte((3, b"\x12\x34\x56"), (2, b"\x85"))
        wanted = rtp(5, timestamp=7, payload_type=96, extension=extension)
        assert self.normalise(twin, packet, renumbering(_1=2), 3) == wanted

    def test_a_send_time_is_given_to_packets_without(self, twin: ModuleType) -> None:
        wanted = rtp(5, timestamp=7, payload_type=96, extension=one_byte((3, b"\x12\x34\x56")))
        assert self.normalise(twin, rtp(1), bytes(256), 3) == wanted

    @pytest.mark.parametrize("csrcs", [[], [1, 2, 3]])
    @pytest.mark.parametrize(
        ("build", "value"), [(one_byte, b"\x85"), (two_byte, b"x" * 17)], ids=["short", "long"]
    )
    def test_a_transport_sequence_number_has_a_place_that_patching_fills(
        self,
        twin: ModuleType,
        csrcs: list[int],
        build: Callable[..., bytes],
        value: bytes,
    ) -> None:
        packet = rtp(1, csrcs=csrcs, extension=two_byte((3, b"tw"), (1, value)))
        template = self.normalise(twin, packet, renumbering(_1=2), 3, 6)
        extension = build((6, b"\0\0"), (3, b"\x12\x34\x56"), (2, value))
        assert template == rtp(5, timestamp=7, payload_type=96, csrcs=csrcs, extension=extension)
        assert twin.find_transport_sequence(template, twin.read_header(template), 6) == 0
        patched = twin.patch(template, 0x1000, 5, 7, 0x7_BEEF)
        assert twin.find_transport_sequence(patched, twin.read_header(patched), 6) == 0xBEEF
        assert patched.replace(b"\xbe\xef", b"\0\0", 1) == template

    @pytest.mark.parametrize("value", [b"x", b"xyz"])
    def test_a_transport_sequence_number_of_another_length_is_none(
        self, twin: ModuleType, value: bytes
    ) -> None:
        packet = rtp(1, extension=one_byte((1, b"a"), (3, value)))
        assert twin.find_transport_sequence(packet, twin.read_header(packet), 3) == -1
        assert twin.find_transport_sequence(packet, twin.read_header(packet), 4) == -1

    @pytest.mark.parametrize("value", [b"", b"x" * 17, b"x" * 255])
    def test_a_value_of_unusual_length_takes_the_two_byte_form(
        self, twin: ModuleType, value: bytes
    ) -> None:
        packet = rtp(1, extension=two_byte((9, value), (1, b"a")))
        extension = two_byte((4, value), (2, b"a"))
        wanted = rtp(5, timestamp=7, payload_type=96, extension=extension)
        assert self.normalise(twin, packet, renumbering(_9=4, _1=2)) == wanted

    def test_a_high_identifier_takes_the_two_byte_form(self, twin: ModuleType) -> None:
        packet = rtp(1, extension=one_byte((1, b"a")))
        wanted = rtp(5, timestamp=7, payload_type=96, extension=two_byte((15, b"a")))
        assert self.normalise(twin, packet, renumbering(_1=15)) == wanted

    def test_two_byte_elements_that_fit_take_the_one_byte_form(self, twin: ModuleType) -> None:
        packet = rtp(1, extension=two_byte((200, b"a")))
        wanted = rtp(5, timestamp=7, payload_type=96, extension=one_byte((2, b"a")))
        assert self.normalise(twin, packet, renumbering(_200=2)) == wanted

    def test_patching_changes_ten_bytes_and_wraps(self, twin: ModuleType) -> None:
        template = rtp(1, timestamp=2, ssrc=3, extension=one_byte((1, b"a")), marker=True)
        wanted = rtp(9, timestamp=8, ssrc=0xFFFFFFFF, extension=one_byte((1, b"a")), marker=True)
        assert twin.patch(template, 0xFFFFFFFF, 0x50009, 0x7_0000_0008) == wanted
        assert template == rtp(1, timestamp=2, ssrc=3, extension=one_byte((1, b"a")), marker=True)

    def test_only_bytes_are_taken(self, twin: ModuleType) -> None:
        with pytest.raises(TypeError):
            twin.read_header(None)

    def test_arbitrary_bytes_raise_the_documented_error_only(self, twin: ModuleType) -> None:
        @given(st.binary(max_size=64), st.binary(min_size=256, max_size=256))
        def check(packet: bytes, identifiers: bytes) -> None:
            with suppress(RtpError):
                self.normalise(twin, packet, identifiers, 3)

        check()


def outcome(twin: ModuleType, seed: random.Random, packet: bytes, table: bytes) -> object:
    """Run all functions; a refusal is an outcome as well."""
    numbers = seed.getrandbits(32), seed.getrandbits(40), seed.getrandbits(40)
    send_time_id, transport_id = seed.choice((0, 3, 20)), seed.choice((0, 6, 21))
    transport = seed.getrandbits(20) if transport_id else -1
    try:
        header = twin.read_header(packet)
        found = twin.find_element(packet, header, seed.randrange(1, 16))
        number = twin.find_transport_sequence(packet, header, seed.randrange(1, 16))
        template = twin.normalise(
            packet, header, table, 96, *numbers[1:], send_time_id, numbers[0], transport_id
        )
        return header, found, number, template, twin.patch(template, *numbers, transport)
    except RtpError as error:
        return error.cause


def test_the_twins_do_the_same_with_20_000_packets() -> None:
    assert 500 < differ(20260101, 20_000) < 5_000  # the packets reach both sides of every check


def differ(start: int, count: int) -> int:
    """Give random packets to both twins; returns how many were refused."""
    seed = random.Random(start)
    tables = [
        bytes(seed.choice((0, 2, seed.randrange(256))) for _ in range(256)) for _ in range(64)
    ]
    refused = 0
    for _ in range(count):
        packet = anything(seed)
        table = seed.choice(tables)
        state = seed.getrandbits(64)
        expected = outcome(rewrite_pure, random.Random(state), packet, table)
        for twin in TWINS[1:]:
            assert outcome(twin, random.Random(state), packet, table) == expected, packet.hex()
        refused += isinstance(expected, str)
    return refused
