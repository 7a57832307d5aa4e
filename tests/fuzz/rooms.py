"""Targets for what is said of rooms: claims of tokens, settings, and who stands behind proxies."""

import json
import re
from collections.abc import Iterable
from ipaddress import ip_network

import msgspec

from chatd.grants import MAX_GRANTS, Grant, Rights, read_grants, read_subscriptions, rights_in
from chatd.room_book import MemoryRoomBook, RoomSettings, direct_room, fault_of
from metaport.api.bodies import decode_json
from metaport.api.forwarded import Proxies, network_of, read_address
from metaport.api.problems import Problem
from metaport.api.rooms import RoomPatch, RoomRequest, asked_for, patched
from metaport.room_file import read_line
from tests.fuzz.campaign import Target

_ROOMS = ("hall", "world/1/lobby", "a//b", "/", "광장/동쪽", "a-a/a.a", "x" * 128)
# Longer ones would keep the oracle busy until the end of time: that is why there is none of it.
_ORACLE_STARS = 5


def _attempt_claims(data: bytes) -> object:
    """Read the claims of a token body; what they grant is what regular expressions say."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(body, dict):
        return "no map"
    try:
        grants = read_grants(body.get("rooms"))
        rooms = read_subscriptions(body.get("subscribe", []))
    except ValueError as error:
        return "refused", str(error)
    assert len(grants) <= MAX_GRANTS
    assert len(set(rooms)) == len(rooms)
    for room in (*_ROOMS, *rooms):
        rights = rights_in(room, grants)
        fitting = [g.rights for g in grants if g.covers(room)]
        assert all(each in rights for each in fitting)
        assert bool(rights) == any(each is not Rights.NONE for each in fitting)
        for grant in grants:
            if grant.pattern.count("*") <= _ORACLE_STARS:
                assert grant.covers(room) == _fits(grant, room), (grant, room)
    return len(grants) > 1, len(rooms) > 1, tuple(sorted({g.rights.value for g in grants}))


def _fits(grant: Grant, room: str) -> bool:
    segments = (
        "[^/]*(?:/[^/]*)*" if s == "**" else "[^/]*".join(map(re.escape, s.split("*")))
        for s in grant.pattern.split("/")
    )
    return re.fullmatch("/".join(segments), room) is not None


_NETWORKS = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/48")))


def _attempt_forwarded(data: bytes) -> object:
    """Find the client; whatever is written, what a trusted proxy adds on the right counts."""
    value = data.decode("latin-1")
    told = []
    for standard in (False, True):
        proxies = Proxies(_NETWORKS, standard)
        assert proxies.client_of("198.51.100.9", [value]) == "198.51.100.9"
        found = proxies.client_of("10.0.0.2", [value])
        assert read_address(found) is not None, found
        assert network_of(found) == network_of(network_of(found).partition("/")[0])
        added = "for=203.0.113.7" if standard else "203.0.113.7"
        if '"' not in value:
            assert proxies.client_of("10.0.0.2", [value, added]) == "203.0.113.7"
        told.append((found == "10.0.0.2", ":" in found, value.count(",") > 1))
    return tuple(told)


def _attempt_settings(data: bytes) -> object:
    """Ask for a room, and change one: what is laid down makes sense and comes back the same."""
    line = read_line(data)
    if line is not None:
        return "line", line[1] is None
    try:
        wanted = asked_for(decode_json(data, RoomRequest))
    except Problem as problem:
        return _kind(problem), _attempt_patch(data)
    assert fault_of(wanted) is None
    book = MemoryRoomBook(wanted)
    subscribed = all(wanted.room in book.subscriptions(user) for user in wanted.users)
    assert subscribed or not wanted.subscribed
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=RoomSettings) == wanted
    return "wanted", wanted.kind, bool(wanted.users), wanted.capacity is None


def _attempt_patch(data: bytes) -> object:
    before = RoomSettings("office", "private", users=("ann",))
    try:
        after = patched(before, decode_json(data, RoomPatch))
    except Problem as problem:
        return _kind(problem)
    assert after.room == before.room
    assert fault_of(after) is None
    return after.kind, bool(after.users)


def _kind(problem: Problem) -> str:
    """Tell kinds of refusal apart, without what they quote."""
    assert problem.reason == "bad-request"
    said = re.sub(r"`.*?`|'.*?'|\$.*", "", problem.detail, flags=re.DOTALL)
    return " ".join(re.findall(r"[a-z]{2,}", said)[:3])


_PAIR = {"kind": "direct", "users": ["ann", "ben"]}
_CLAIMS = (
    {"rooms": ["hall", "world/*/lobby", "**"], "subscribe": ["hall", "광장"]},
    {"rooms": [{"room": "news/**", "can": ["read"]}, {"room": "a*b*", "can": []}]},
    {"rooms": [{"room": "**/a/**", "can": ["read", "send", "publish"]}]},
    {"rooms": []},
)
_SETTINGS = (
    {"room": "상담/1", "kind": "private", "users": ["ann", "ben"], "capacity": 5},
    _PAIR,
    _PAIR | {"room": direct_room("ann", "ben"), "subscribed": False},
    {"room": "fair", "persistent": False, "guests": False},
    {"capacity": None, "guests": False},
    {"kind": "public", "users": []},
    {"settings": {"room": "hall", "capacity": 3}},
    {"removed": "hall"},
)
_HOPS = (
    b"198.51.100.1, 10.0.0.7",
    b"[2001:db8::1]:4711, 10.1.1.1:80",
    b'for=198.51.100.1;proto=https, for="[2001:db8:1::5]:80";by=_x',
    b'for="unknown, for=1.1.1.1", For=10.0.0.3',
)
# Pieces of each format, apart by spaces.
_CLAIM_WORDS = (
    b'* ** /**/ / " [ { {"room": "can": ["read"] , "rooms": "subscribe": null \\u0301 "a" a/'
)
_HOP_WORDS = (
    b'for= " \\ , ; = [ ] : ::ffff: 10.0.0.1 %eth0 unknown _hidden 2001:db8:1:: for=10.0.0.1,'
)
_SETTING_WORDS = (
    b'"room": "users": "kind":"direct" "kind":"private" "capacity": null "direct/x" '
    b'[ ] { } , "ann" 0 -1 1e9 true \xff'
)


def _json(bodies: Iterable[object]) -> list[bytes]:
    return [json.dumps(body, ensure_ascii=False).encode() for body in bodies]


TARGETS = (
    Target("claims", _json(_CLAIMS), [*_CLAIM_WORDS.split(), "광".encode()], _attempt_claims),
    Target("forwarded", _HOPS, [*_HOP_WORDS.split(), b" ", b"\t", b"\xff"], _attempt_forwarded),
    Target("rooms", _json(_SETTINGS), _SETTING_WORDS.split(), _attempt_settings),
)
