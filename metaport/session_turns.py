"""When a refresh token is good: sessions, and the turn each of their refresh tokens has.

A refresh token names its session and a turn. The session knows the last turn told; the token of
that turn is good, once, and its use makes the next turn (RFC 9700, section 4.14.2). One that was
used already has been copied: whoever holds the newer one may be the thief, so the session ends.

An answer can get lost: within `GRACE_S` of a renewal the token before it gets the same turn told
again, which branches nothing. The state of a session is its last turn alone, so that what is stored
mints nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

# A client that lost an answer on a poor network asks again at once, or after its time-out.
GRACE_S = 30
SESSION_PREFIX = "s_"


class Session(NamedTuple):
    """One sign-in. Times are seconds since the Unix epoch; `device` is None if none was told."""

    id: str
    user_id: str
    app: str
    device: str | None
    turn: int
    turned_at_s: int
    created_at_s: int
    expires_at_s: int
    address: str
    ended_at_s: int | None = None
    end_reason: str | None = None


class Verdict(Enum):
    """What becomes of a refresh token."""

    TURN = "turn"
    """It is good; the session makes its next turn."""
    AGAIN = "again"
    """Its answer may have been lost: tell the last turn again."""
    REUSED = "reused"
    """It was used before: the session ends."""
    OVER = "over"
    """The session has ended."""


def judge(session: Session, turn: int, now: float) -> Verdict:
    """Say what becomes of the refresh token of a turn."""
    if session.ended_at_s is not None or now >= session.expires_at_s:
        return Verdict.OVER
    if turn == session.turn:
        return Verdict.TURN
    # Clocks of hubs differ: a renewal of the future is a renewal of now.
    if turn == session.turn - 1 and now < session.turned_at_s + GRACE_S:
        return Verdict.AGAIN
    # A turn never told would be forged; its signature says it is ours, so a database went back.
    return Verdict.REUSED if turn < session.turn else Verdict.TURN


def take(
    session: Session, turn: int, now: float, *, expires_at_s: int, address: str
) -> tuple[Verdict, Session]:
    """Take the refresh token of a turn; return what becomes of it, and of the session."""
    verdict = judge(session, turn, now)
    if verdict is Verdict.TURN:
        return verdict, session._replace(
            turn=max(session.turn, turn) + 1,
            turned_at_s=int(now),
            expires_at_s=expires_at_s,
            address=address,
        )
    if verdict is Verdict.REUSED:
        return verdict, session._replace(ended_at_s=int(now), end_reason="reused")
    return verdict, session
