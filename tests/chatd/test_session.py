import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import (
    BAD_BODY,
    BAD_FRAME,
    BAD_REQUEST,
    BAD_ROOM,
    BAD_TOKEN,
    BODY_TOO_BIG,
    FORBIDDEN,
    HELLO_EXPECTED,
    HELLO_LATE,
    RATE_LIMITED,
    REFUSALS,
    SILENT,
    TOKEN_EXPIRED,
    TOKEN_LAPSED,
    TOKEN_REFUSED,
    UNSUPPORTED_VERSION,
    BadToken,
    Refused,
    TokenExpired,
)
from chatd.grants import to
from chatd.limits import Limits
from chatd.room_name import is_room_name
from chatd.session import Identity, Session
from chatd.wire import CODECS, JSON, Hello, Join, Send

UTC = 1_790_000_000.0


class Tokens:
    def verify(self, token, now):
        if token == "forged":
            raise BadToken
        if token == "expired":
            raise TokenExpired
        if token == "brief":
            return Identity("brief", "Brief", expires_at=UTC + 60)
        if token == "brief, renewed":
            return Identity("brief", "Brief", rooms=to("hall"), expires_at=UTC + 600)
        if token == "late":
            return Identity("late", "Late", expires_at=UTC)
        if token == "lobby":
            return Identity("lobby", "Lobby", rooms=to("lobby", "hall/*"))
        return Identity(token, token)


class Talk:
    """A session and its clock."""

    def __init__(self, codec=JSON, limits=None):
        self.now = 100.0
        self.session = Session("s1", codec, limits or Limits(), self.now)

    def say(self, **frame):
        return self.say_bytes(json.dumps(frame).encode())

    def say_bytes(self, payload):
        return self.session.receive_message(payload, self.now, UTC + self.now - 100.0, Tokens())

    def refused(self, **frame):
        with pytest.raises(Refused) as caught:
            self.say(**frame)
        return caught.value


@pytest.fixture
def talk():
    talk = Talk()
    talk.say(t="hello", token="visitor", v=1)
    return talk


def test_hello_identifies():
    talk = Talk()
    assert talk.say(t="hello", token="visitor", v=1) == Hello("visitor", 1)
    assert talk.session.identity == Identity("visitor", "visitor")


@pytest.mark.parametrize(
    ("frame", "refusal"),
    [
        ({"t": "hello", "token": "forged", "v": 1}, BAD_TOKEN),
        ({"t": "hello", "token": "expired", "v": 1}, TOKEN_EXPIRED),
        ({"t": "hello", "token": "late", "v": 1}, TOKEN_EXPIRED),
        ({"t": "hello", "token": "visitor", "v": 2}, UNSUPPORTED_VERSION),
        ({"t": "hello", "v": 1}, HELLO_EXPECTED),
        ({"t": "hello", "token": 5, "v": 1}, HELLO_EXPECTED),
        ({"t": "join", "id": 1, "room": "r"}, HELLO_EXPECTED),
        ({"t": "ping"}, HELLO_EXPECTED),
        ({"t": "nope"}, HELLO_EXPECTED),
        ({"t": "media.join", "id": 1, "room": "r"}, HELLO_EXPECTED),
        ({}, HELLO_EXPECTED),
    ],
)
def test_anything_but_a_good_hello_closes(frame, refusal):
    talk = Talk()
    refused = talk.refused(**frame)
    assert refused.refusal is refusal
    assert refusal.closes is not None
    assert talk.session.identity is None


def test_garbage_before_hello_is_a_bad_frame():
    with pytest.raises(Refused) as caught:
        Talk().say_bytes(b"\x00")
    assert caught.value.refusal is BAD_FRAME


def test_a_second_hello_is_refused_and_stays_open(talk):
    refused = talk.refused(t="hello", token="other", v=1)
    assert refused.refusal is BAD_REQUEST
    assert talk.session.identity.user_id == "visitor"


def test_frames_pass_typed(talk):
    assert talk.say(t="join", id=1, room="방") == Join(1, "방")
    assert talk.say(t="send", id=2, room="방", body="x") == Send(2, "방", "x")


@pytest.mark.parametrize(
    "room", ["a", "a" * 128, "광장/1층.A-b_c:d", "đường", "部屋", "x٣", "-", "/", "."]
)
def test_room_names(room):
    assert is_room_name(room)


@pytest.mark.parametrize(
    "room",
    [
        "",
        "a" * 129,
        "a b",
        "a\n",
        "a#",
        "방!",
        unicodedata.normalize("NFD", "방"),
        "\u200b",
        "a\x00",
    ],
)
def test_not_room_names(room, talk):
    assert not is_room_name(room)
    assert talk.refused(t="join", id=1, room=room).refusal is BAD_ROOM


@given(st.text(max_size=130))
def test_a_room_name_is_nfc_letters_digits_and_five_marks(room):
    marks = "-_.:/"
    kinds = [unicodedata.category(c) for c in room if c not in marks]
    expected = (
        1 <= len(room) <= 128
        and all(kind[0] == "L" or kind == "Nd" for kind in kinds)
        and unicodedata.normalize("NFC", room) == room
    )
    assert is_room_name(room) == expected


def test_a_grant_of_patterns_covers_what_matches():
    talk = Talk()
    talk.say(t="hello", token="lobby", v=1)
    talk.say(t="join", id=1, room="lobby")
    talk.say(t="join", id=2, room="hall/3")
    for number, room in enumerate(("hall", "hall/3/b"), 3):
        refused = talk.refused(t="join", id=number, room=room)
        assert (refused.refusal, refused.id) == (FORBIDDEN, number)


@pytest.mark.parametrize("body", [None, 5, ["x"], {"a": 2**53}])
def test_a_bad_body_is_refused_with_its_id(talk, body):
    refused = talk.refused(t="send", id=9, room="r", body=body)
    assert (refused.refusal, refused.id) == (BAD_BODY, 9)


@pytest.mark.parametrize("depth", [33, 3_000, 15_000])
@pytest.mark.parametrize(
    ("head", "refusal"),
    [
        (b'{"t":"send","id":7,"room":"r","body":', BAD_BODY),
        (b'{"t":"media.join","id":7,"room":"r","x":', BAD_REQUEST),
    ],
)
def test_hostile_depth_is_refused_however_much_the_decoder_bears(talk, head, refusal, depth):
    """Python 3.13's decoders bear ten times the depth that 3.11's did."""
    nested = b'{"in":' * depth + b"1" + b"}" * depth
    with pytest.raises(Refused) as caught:
        talk.say_bytes(head + nested + b"}")
    assert (caught.value.refusal, caught.value.id) == (refusal, 7)


def test_a_body_is_measured_in_utf_8(talk):
    limit = Limits().body_bytes
    talk.say(t="send", id=1, room="r", body="한" * (limit // 3))
    refused = talk.refused(t="send", id=2, room="r", body="한" * (limit // 3 + 1))
    assert refused.refusal is BODY_TOO_BIG


@pytest.mark.parametrize("key", ["", "k" * 129])
def test_a_key_has_1_to_128_characters(talk, key):
    assert talk.refused(t="send", id=1, room="r", body="x", key=key).refusal is BAD_REQUEST


def test_sends_over_the_rate_are_told_when_to_come_back(talk):
    for number in range(40):
        talk.say(t="send", id=number, room="r", body="x")
    refused = talk.refused(t="send", id=41, room="r", body="x")
    assert (refused.refusal, refused.id) == (RATE_LIMITED, 41)
    talk.now += refused.retry_after_ms / 1000
    talk.say(t="send", id=42, room="r", body="x")


def test_joins_have_a_rate_of_their_own(talk):
    for number in range(100):
        talk.say(t="join", id=number, room=f"r{number}")
    assert talk.refused(t="join", id=101, room="r").refusal is RATE_LIMITED
    talk.say(t="send", id=102, room="r", body="x")


def test_a_flood_of_any_frames_is_refused_and_then_not_read(talk):
    assert talk.session.wait_s(talk.now) == 0.0
    for _ in range(300):
        talk.say(t="ping")
    assert talk.refused(t="ping").refusal is RATE_LIMITED
    assert talk.session.wait_s(talk.now) > 0.0
    talk.now += 1.0
    assert talk.session.wait_s(talk.now) == 0.0
    talk.say(t="ping")


def test_websocket_pings_count_as_frames(talk):
    for _ in range(300):
        assert talk.session.receive_ping(talk.now) == 0.0
    assert talk.session.receive_ping(talk.now) > 0.0


def test_no_hello_in_time_closes():
    talk = Talk()
    assert talk.session.next_deadline() == 110.0
    assert not talk.session.handle_timeout(109.9)
    with pytest.raises(Refused) as caught:
        talk.session.handle_timeout(110.0)
    assert caught.value.refusal is HELLO_LATE
    assert caught.value.retry_after_ms > 0


def test_pings_come_every_25_seconds_and_silence_of_90_closes(talk):
    for expected in (125.0, 150.0, 175.0):
        assert talk.session.next_deadline() == expected
        assert talk.session.handle_timeout(expected)
    assert talk.session.next_deadline() == 190.0
    with pytest.raises(Refused) as caught:
        talk.session.handle_timeout(190.0)
    assert caught.value.refusal is SILENT


def test_any_byte_is_a_sign_of_life(talk):
    for now in range(125, 1000, 25):
        assert talk.session.handle_timeout(float(now))
        talk.session.heard(float(now))


def test_a_refresh_extends_the_life_and_its_grants_are_for_later_joins():
    talk = Talk()
    talk.say(t="hello", token="brief", v=1)
    talk.now += 50
    assert talk.session.identity.expires_in(UTC + 50) == 10
    talk.say(t="join", id=1, room="lobby")
    talk.say(t="refresh", id=2, token="brief, renewed")
    assert talk.session.identity.expires_in(UTC + 50) == 550
    assert talk.refused(t="join", id=3, room="lobby").refusal is FORBIDDEN
    talk.say(t="join", id=4, room="hall")
    talk.session.heard(699.0)
    talk.session.handle_timeout(699.0)
    with pytest.raises(Refused) as caught:
        talk.session.handle_timeout(700.0)
    assert caught.value.refusal is TOKEN_LAPSED


@pytest.mark.parametrize("token", ["forged", "expired", "late", "visitor"])
def test_a_refresh_without_a_good_token_of_the_same_user_changes_nothing(token):
    talk = Talk()
    talk.say(t="hello", token="brief", v=1)
    refused = talk.refused(t="refresh", id=7, token=token)
    assert (refused.refusal, refused.id, refused.refusal.closes) == (TOKEN_REFUSED, 7, None)
    assert talk.session.identity.user_id == "brief"
    with pytest.raises(Refused) as caught:
        talk.session.handle_timeout(160.0)
    assert caught.value.refusal is TOKEN_LAPSED


def test_a_token_that_never_runs_out_says_nothing_of_it(talk):
    assert talk.session.identity.expires_in(UTC) is None


def test_a_token_that_runs_out_closes():
    talk = Talk()
    talk.say(t="hello", token="brief", v=1)
    talk.session.heard(160.0)
    with pytest.raises(Refused) as caught:
        talk.session.handle_timeout(160.0)
    assert caught.value.refusal is TOKEN_LAPSED


@given(st.lists(st.binary(max_size=60), max_size=10), st.sampled_from(CODECS), st.booleans())
def test_hostile_bytes_are_frames_or_rows_of_the_table(payloads, codec, greeted):
    talk = Talk(codec)
    if greeted:
        talk.say_bytes(codec.encode({"t": "hello", "token": "visitor", "v": 1}))
    refusals = []
    for payload in payloads:
        try:
            talk.say_bytes(payload)
        except Refused as refused:
            refusals.append(refused.refusal)
    assert set(refusals) <= set(REFUSALS)
    assert greeted or all(refusal.closes for refusal in refusals)
