"""Which pages of other origins may use this server."""

import pytest

from metaport.api.headers import CONTENT_SECURITY_POLICY, origin_allowed


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        ("http://127.0.0.1:8080", [], True),
        ("https://127.0.0.1:8080", [], True),  # TLS ends at a proxy
        ("https://game.example.kr", [], False),
        ("https://game.example.kr", ["https://game.example.kr"], True),
        ("https://game.example.kr", ["*"], True),
        ("https://evil.example/127.0.0.1:8080", [], False),
        ("null", [], False),
    ],
)
def test_own_origin_and_listed_ones_are_allowed(origin, allowed, expected):
    assert origin_allowed(origin, "127.0.0.1:8080", allowed) is expected


def test_no_inline_script_or_style_is_permitted():
    assert "unsafe" not in CONTENT_SECURITY_POLICY
