"""An ICE-lite agent (RFC 8445 section 2.5) for many peers behind one UDP port; sans-IO.

1. `IceAgent.open` makes a session with fresh credentials, which signalling sends to the peer.
2. `IceAgent.receive_check` takes each STUN datagram: the local half of USERNAME finds the session,
   MESSAGE-INTEGRITY proves that the peer read our description, USE-CANDIDATE selects the path.
   The caller sends the returned answer back on the path it came from.
3. `IceAgent.find` tells whose datagram arrived on a path; media is sent to `session.selected`.
4. `IceSession.expires_at` passes when consent ends (RFC 7675): the caller closes the session.

**Nothing is ever sent to an address that did not prove it knows a session's password**, so that no
stranger can use the port to reflect traffic, and media from other addresses never reaches SRTP. A
lite agent sends no checks of its own: a participant who can forge sender addresses can point their
own stream at another address, until 30 s after the last forged check.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import NamedTuple

from sfu.errors import StunError
from sfu.stun import SocketAddress, parse_check

# RFC 7675 section 5.1: consent expires 30 s after the last authenticated check.
CONSENT_S = 30.0
# Browsers check the path in use every 2.5 to 5 s. Until it was silent for longer, nobody else is
# believed to be there: whoever can forge sender addresses could take the media of others away.
HELD_S = 6.0
# A peer that gathers on every interface of a laptop checks from about six; the rest is churn.
PATHS_PER_SESSION = 16


class Path(NamedTuple):
    """A way to a peer: which of our sockets, and the peer's address as that socket sees it."""

    local: int
    address: SocketAddress


class Credentials(NamedTuple):
    """The ICE username fragment and password of one side (RFC 8839 section 5.4)."""

    ufrag: str
    password: str


class IceSession:
    """One peer of the agent."""

    __slots__ = (
        "expires_at",
        "heard_at",
        "local",
        "nominated",
        "paths",
        "previous",
        "remote",
        "selected",
    )

    def __init__(self, local: Credentials, now: float) -> None:
        self.local = local
        # Still honoured after a restart, until the first check with the new ones.
        self.previous: Credentials | None = None
        self.remote: Credentials | None = None
        self.paths: dict[Path, None] = {}
        self.selected: Path | None = None
        self.nominated = False
        # The last authenticated check.
        self.heard_at = now
        self.expires_at = now + CONSENT_S

    def touch(self, now: float) -> None:
        """Wait for the peer for another consent period, after a new description was sent."""
        self.expires_at = now + CONSENT_S


class Answer(NamedTuple):
    """What to send back on the path of a check, and whether the peer's selected path moved."""

    session: IceSession
    datagram: bytes
    moved: bool


class IceAgent:
    """All ICE sessions of one process. `random(n)` gives n random bytes."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._by_ufrag: dict[str, IceSession] = {}
        self._by_path: dict[Path, IceSession] = {}

    def __len__(self) -> int:
        return len(set(map(id, self._by_ufrag.values())))

    def open(self, now: float) -> IceSession:
        """Make a session that waits for its peer's first check."""
        session = IceSession(self._fresh_credentials(), now)
        self._by_ufrag[session.local.ufrag] = session
        return session

    def restart(self, session: IceSession, now: float) -> Credentials:
        """Give the session new credentials (RFC 8445 section 9); media goes on meanwhile."""
        if session.previous is not None:
            # Restarted again before the peer came back: it never saw the ones in between,
            # or has them now; either way the working ones are `previous`.
            del self._by_ufrag[session.local.ufrag]
        else:
            session.previous = session.local
        session.local = self._fresh_credentials()
        self._by_ufrag[session.local.ufrag] = session
        session.touch(now)
        return session.local

    def close(self, session: IceSession) -> None:
        """Forget the session. Doing it twice is harmless."""
        for credentials in (session.local, session.previous):
            if credentials is not None:
                self._by_ufrag.pop(credentials.ufrag, None)
        self.forget_paths(session)

    def forget_paths(self, session: IceSession) -> None:
        """Stop trusting every address of the session: it must check again."""
        for path in session.paths:
            if self._by_path.get(path) is session:
                del self._by_path[path]
        session.paths.clear()
        session.selected = None
        session.nominated = False

    def find(self, path: Path) -> IceSession | None:
        """Return the session whose peer proved itself on `path`."""
        return self._by_path.get(path)

    def receive_check(self, data: bytes, path: Path, now: float) -> Answer:
        """Authenticate a connectivity check and answer it.

        Raises:
            StunError: malformed, for nobody here, with a wrong password, or from an address where
                another peer is. Send nothing.
        """
        check = parse_check(data)
        session = self._by_ufrag.get(check.local_ufrag)
        if session is None:
            raise StunError("stun_unknown_user")
        fresh = check.local_ufrag == session.local.ufrag
        credentials = session.local if fresh else session.previous
        if credentials is None or not check.authentic(credentials.password):
            raise StunError("stun_bad_integrity")
        if check.controlled:
            return Answer(session, check.role_conflict(credentials.password), moved=False)
        if self._is_held(path, session, now):
            raise StunError("stun_address_held")
        if fresh:
            self._retire_previous(session)
        session.heard_at = now
        session.expires_at = now + CONSENT_S
        self._learn(session, path)
        moved = self._select(session, path, nominated=check.nominates)
        return Answer(session, check.success(path.address, credentials.password), moved)

    def _is_held(self, path: Path, session: IceSession, now: float) -> bool:
        """Tell whether another peer is using the path."""
        other = self._by_path.get(path)
        if other is None or other is session:
            return False
        return other.selected == path and now - other.heard_at < HELD_S

    def _retire_previous(self, session: IceSession) -> None:
        if session.previous is not None:
            self._by_ufrag.pop(session.previous.ufrag, None)
            session.previous = None

    def _learn(self, session: IceSession, path: Path) -> None:
        # Whoever proved itself last owns the address: a browser reuses ports of peers that ended.
        other = self._by_path.get(path)
        if other is session:
            return
        if other is not None:
            other.paths.pop(path, None)
            if other.selected == path:
                other.selected = None
        self._by_path[path] = session
        session.paths[path] = None
        if len(session.paths) > PATHS_PER_SESSION:
            oldest = next(known for known in session.paths if known != session.selected)
            del session.paths[oldest]
            self._by_path.pop(oldest, None)

    def _select(self, session: IceSession, path: Path, *, nominated: bool) -> bool:
        """Follow the peer's nomination; before the first, answer on any path that works."""
        if path == session.selected:
            session.nominated |= nominated
            return False
        if not nominated and session.selected is not None:
            return False
        session.selected = path
        session.nominated = nominated
        return True

    def _fresh_credentials(self) -> Credentials:
        while True:
            # RFC 8839 section 5.4: 4 to 256 and 22 to 256 characters of base64's alphabet.
            ufrag = b64encode(self._random(6)).decode()
            if ufrag not in self._by_ufrag:
                return Credentials(ufrag, b64encode(self._random(18)).decode())
