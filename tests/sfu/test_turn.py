import hmac
from base64 import b64decode

import pytest

from sfu.turn import Turn, password

URLS = ("stun:s.example.kr", "turn:t.example.kr?transport=udp", "turns:t.example.kr:5349")


def test_credentials_tell_when_they_expire_and_are_signed() -> None:
    plain, relay = Turn(URLS, "secret", 600).ice_servers("p-1", 1_800_000_000_999)
    assert plain == {"urls": ["stun:s.example.kr"]}
    assert relay["urls"] == list(URLS[1:])
    assert relay["username"] == "1800000600:p-1"
    expected = hmac.digest(b"secret", b"1800000600:p-1", "sha1")
    assert b64decode(relay["credential"]) == expected


def test_the_password_is_the_one_of_the_drafts_scheme() -> None:
    """Computed by `printf 1433895918:p-1 | openssl dgst -sha1 -hmac secret -binary | base64`."""
    assert password("secret", "1433895918:p-1") == "RHObvGLJP1AaKxx1QCDtPw8iwTc="


@pytest.mark.parametrize(("urls", "secret"), [((), "secret"), (URLS[1:], "")])
def test_nothing_is_handed_out_without_urls_or_secret(urls: tuple[str, ...], secret: str) -> None:
    assert Turn(urls, secret).ice_servers("p-1", 0) == []
