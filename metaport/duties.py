"""Separation of duties: who did a thing does not confirm it, and sides that check each other part.

One table, `RULES`, says who may do a step after whom; `refusal` asks it. The database holds the
same for accounts and grants (checks of `metaport.db.tables.account`), so that a program that
forgets to ask is refused there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

from metaport.language import Say
from metaport.roles import Role


class DutyRefused(Exception):
    """A duty is not this person's; `say` tells why."""

    def __init__(self, say: Say) -> None:
        self.say = say
        super().__init__(say.en)


class Step(StrEnum):
    """A step that somebody else has to have prepared."""

    APPROVE_ACCOUNT = "account.approve"
    CONFIRM_ROLE = "role.confirm"


class Part(StrEnum):
    """What somebody has to do with the thing a step is about."""

    SUBJECT = "subject"
    """It is about them."""
    ASKED = "asked"
    """They asked for it, made it or wrote it."""
    WITNESSED = "witnessed"


class Rule(NamedTuple):
    """Who may not take a step, and the sentence that tells them."""

    excluded: frozenset[Part]
    say: Say


RULES: dict[Step, Rule] = {
    Step.APPROVE_ACCOUNT: Rule(
        frozenset({Part.SUBJECT, Part.ASKED}),
        Say(
            "계정은 신청하거나 만든 사람이 아닌 다른 사람이 승인합니다",
            "an account is approved by somebody other than who asked for it or made it",
        ),
    ),
    Step.CONFIRM_ROLE: Rule(
        frozenset({Part.SUBJECT, Part.ASKED}),
        Say(
            "역할은 받을 사람도 신청한 사람도 아닌 다른 사람이 확인합니다",
            "a role is confirmed by somebody other than who gets it or asked for it",
        ),
    ),
}

# Those who do the work, and those who watch over it and confirm it for the agency.
OPERATOR_SIDE = frozenset(
    {Role.OPERATOR, Role.SITE_REPRESENTATIVE, Role.CONTENT_MANAGER, Role.MODERATOR, Role.ADMIN}
)
AGENCY_SIDE = frozenset({Role.AGENCY_CONTACT, Role.CONFIRMING_MANAGER, Role.SUPERVISOR})
# The auditor examines both and is of neither.
STAFF = OPERATOR_SIDE | AGENCY_SIDE | {Role.AUDITOR}
# What the backend of an app may say of its users, and an admin give alone.
PLAIN = frozenset({Role.VISITOR, Role.MEMBER, Role.HOST})
APP_ROLES = PLAIN | {Role.MODERATOR}

_APART = Say(
    "운영 쪽 역할과 발주기관 쪽 역할, 감사 역할은 한 사람이 함께 가질 수 없습니다",
    "roles of the operator's side, of the agency's side and the auditor's exclude one another",
)


def refusal(step: Step, actor: str, parts: Mapping[Part, str | None]) -> Say | None:
    """Say why `actor` may not take a step, None when they may.

    `parts` names who had which part in the thing.
    """
    rule = RULES[step]
    if any(parts.get(part) == actor for part in rule.excluded):
        return rule.say
    return None


def needs_another(role: str) -> bool:
    """Tell whether a grant of this role holds only once somebody else has confirmed it."""
    return role not in PLAIN


def clash(held: Collection[str], wanted: str) -> Say | None:
    """Say why somebody who holds some roles cannot have another, None when they can."""
    sides = (OPERATOR_SIDE, AGENCY_SIDE, frozenset({Role.AUDITOR}))
    of_wanted = [side for side in sides if wanted in side]
    if of_wanted and any(role in STAFF - of_wanted[0] for role in held):
        return _APART
    return None
