"""TURN servers for those who reach us by no other way, with credentials that soon expire.

The scheme of coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00): the username tells when
it expires, the password is an HMAC of it under a secret that only we and the TURN server know.

The username tells the room and the user as well, because what the TURN server says of the bytes it
relayed it says of a username: `1800000600:user@room`, percent-encoded.
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

# An RTCIceServer of the browser's API.
IceServer = dict[str, Any]

# RFC 8489, section 14.3: a username has fewer than 509 bytes.
USERNAME_BYTES = 508


@dataclass(frozen=True)
class Turn:
    """The STUN and TURN servers of this installation, as URLs (RFC 7064, RFC 7065).

    Without a `secret` only the `stun:` and `stuns:` ones are of use. A relay goes on after
    `ttl_s`; only a new one needs new credentials.
    """

    urls: Sequence[str] = ()
    secret: str = ""
    ttl_s: int = 21_600

    def ice_servers(self, room: str, user: str, wall_ms: int) -> list[IceServer]:
        """Return what the `RTCPeerConnection` of a user in a room is configured with, if anything.

        ``wall_ms`` are milliseconds since the Unix epoch; the TURN server's clock must agree.
        """
        plain = [url for url in self.urls if url.startswith(("stun:", "stuns:"))]
        relays = [url for url in self.urls if url.startswith(("turn:", "turns:"))]
        servers: list[IceServer] = [{"urls": plain}] if plain else []
        if relays and self.secret:
            username = username_of(wall_ms // 1000 + self.ttl_s, room, user)
            servers.append(
                {
                    "urls": relays,
                    "username": username,
                    "credential": password(self.secret, username),
                }
            )
        return servers


def username_of(expires_s: int, room: str, user: str) -> str:
    """Return a username; of a room or user too long for it only the other, or neither."""
    named = f"{quote(user, safe=':')}@{quote(room, safe=':/')}"
    for told in (named, f"@{named.partition('@')[2]}", f"{named.partition('@')[0]}@"):
        if len(username := f"{expires_s}:{told}") <= USERNAME_BYTES:
            return username
    return f"{expires_s}:@"


def subject_of(username: str) -> tuple[str, str]:
    """Return the room and user that a username tells; "" for what it does not."""
    user, _, room = username.partition(":")[2].partition("@")
    return unquote(room), unquote(user)


def password(secret: str, username: str) -> str:
    """Return the password of a username: base64 of its HMAC-SHA1."""
    return b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()
