import hmac
from base64 import b64decode

import pytest

from sfu.turn import USERNAME_BYTES, Turn, password, subject_of, username_of

USERNAME = "1800000600:game:kim@a:b/%EA%B4%91%EC%9E%A5"
URLS = ("stun:s.example.kr", "turn:t.example.kr?transport=udp", "turns:t.example.kr:5349")


def test_credentials_tell_when_they_expire_and_are_signed() -> None:
    plain, relay = Turn(URLS, "secret", 600).ice_servers("a:b/광장", "game:kim", 1_800_000_000_999)
    assert plain == {"urls": ["stun:s.example.kr"]}
    assert relay["urls"] == list(URLS[1:])
    assert relay["username"] == USERNAME
    expected = hmac.digest(b"secret", USERNAME.encode(), "sha1")
    assert b64decode(relay["credential"]) == expected


def test_the_password_is_the_one_of_the_drafts_scheme() -> None:
    """Computed by `printf 1433895918:p-1 | openssl dgst -sha1 -hmac secret -binary | base64`."""
    assert password("secret", "1433895918:p-1") == "RHObvGLJP1AaKxx1QCDtPw8iwTc="


@pytest.mark.parametrize(("urls", "secret"), [((), "secret"), (URLS[1:], "")])
def test_nothing_is_handed_out_without_urls_or_secret(urls: tuple[str, ...], secret: str) -> None:
    assert Turn(urls, secret).ice_servers("r", "u", 0) == []


@pytest.mark.parametrize(
    ("room", "user"),
    [
        ("lobby", "u"),
        ("a:b/광장", "game:홍 길동@x"),
        ("r>", "<u>, rp=1"),
        ("", "u"),
        ("방" * 128, "u"),
    ],
)
def test_a_username_tells_room_and_user(room: str, user: str) -> None:
    username = username_of(1_800_000_600, room, user)
    assert username.isascii()
    assert not set("<>, ") & set(username)
    assert len(username) <= USERNAME_BYTES
    assert subject_of(username) == ("" if len(room) == 128 else room, user)


def test_of_what_is_too_long_nothing_is_told() -> None:
    assert subject_of(username_of(1, "방" * 128, "홍" * 128)) == ("", "")
    assert subject_of(username_of(1, "lobby", "홍" * 128)) == ("lobby", "")
    assert subject_of("1800000600:p-1") == ("", "p-1")
