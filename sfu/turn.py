"""TURN servers for those who reach us by no other way, with credentials that soon expire.

The scheme of coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00): the username tells when
it expires, the password is an HMAC of it under a secret that only we and the TURN server know.
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# An RTCIceServer of the browser's API.
IceServer = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """The STUN and TURN servers of this installation, as URLs (RFC 7064, RFC 7065).

    Without a `secret` only the `stun:` and `stuns:` ones are of use. A relay goes on after
    `ttl_s`; only a new one needs new credentials.
    """

    urls: Sequence[str] = ()
    secret: str = ""
    ttl_s: int = 21_600

    def ice_servers(self, participant: str, wall_ms: int) -> list[IceServer]:
        """Return what a participant's `RTCPeerConnection` is configured with; empty without any.

        ``wall_ms`` are milliseconds since the Unix epoch; the TURN server's clock must agree.
        """
        plain = [url for url in self.urls if url.startswith(("stun:", "stuns:"))]
        relays = [url for url in self.urls if url.startswith(("turn:", "turns:"))]
        servers: list[IceServer] = [{"urls": plain}] if plain else []
        if relays and self.secret:
            username = f"{wall_ms // 1000 + self.ttl_s}:{participant}"
            servers.append(
                {
                    "urls": relays,
                    "username": username,
                    "credential": password(self.secret, username),
                }
            )
        return servers


def password(secret: str, username: str) -> str:
    """Return the password of a username: base64 of its HMAC-SHA1."""
    return b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()
