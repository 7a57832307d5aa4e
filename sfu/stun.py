"""STUN binding requests as connectivity checks (RFC 8489, RFC 8445 section 7)."""

import struct
from typing import NamedTuple

from aioice import stun

from sfu.errors import StunError

# A socket address as `recvfrom` gives it: two fields for IPv4, four for IPv6.
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

ROLE_CONFLICT = (487, "Role Conflict")


class Check(NamedTuple):
    """A connectivity check that parsed; not yet authenticated."""

    local_ufrag: str
    nominates: bool
    controlled: bool
    message: stun.Message

    def authentic(self, password: str) -> bool:
        """Verify MESSAGE-INTEGRITY with our password, as RFC 8445 section 7.3 says."""
        return self.message.check_message_integrity(password.encode())

    def success(self, address: SocketAddress, password: str) -> bytes:
        """Build the success response that tells the peer its reflexive address."""
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=self.message.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": (address[0], address[1])},
        )
        response.add_message_integrity(password.encode())
        return bytes(response)

    def role_conflict(self, password: str) -> bytes:
        """Build the error that makes the peer take the controlling role: a lite agent cannot."""
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.ERROR,
            transaction_id=self.message.transaction_id,
            attributes={"ERROR-CODE": ROLE_CONFLICT},
        )
        response.add_message_integrity(password.encode())
        return bytes(response)


def parse_check(data: bytes) -> Check:
    """Read a connectivity check.

    Raises:
        StunError: not STUN, not a binding request, or without a `local:remote` USERNAME.
    """
    try:
        message = stun.parse_message(data)
    except (ValueError, IndexError, struct.error):
        raise StunError("stun_malformed") from None
    if message.message_class != stun.Class.REQUEST or message.message_method != stun.Method.BINDING:
        raise StunError("stun_not_a_check")
    local_ufrag, colon, _ = message.attributes.get("USERNAME", "").partition(":")
    if not colon:
        raise StunError("stun_no_username")
    return Check(
        local_ufrag,
        "USE-CANDIDATE" in message.attributes,
        "ICE-CONTROLLED" in message.attributes,
        message,
    )
