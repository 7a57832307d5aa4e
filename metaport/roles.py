"""The twelve roles, and the one table of what each of them may do.

Who did a thing does not confirm it: what the site representative writes goes through the
supervisor and is confirmed by the confirming manager; the admin, who may give roles, is none of
these. `may` answers for the claims of a token, whose other words (`guest`, `listener`) are no roles
and permit nothing.
"""

from collections.abc import Collection
from enum import StrEnum

from metaport.language import Say


class Role(StrEnum):
    """What a person is to the service, in the words of the task order."""

    VISITOR = "visitor"
    MEMBER = "member"
    HOST = "host"
    MODERATOR = "moderator"
    CONTENT_MANAGER = "content_manager"
    OPERATOR = "operator"
    SITE_REPRESENTATIVE = "site_representative"
    AGENCY_CONTACT = "agency_contact"
    CONFIRMING_MANAGER = "confirming_manager"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    ADMIN = "admin"


TITLES = {
    Role.VISITOR: Say("방문자", "Visitor"),
    Role.MEMBER: Say("회원", "Member"),
    Role.HOST: Say("진행자", "Host"),
    Role.MODERATOR: Say("중재자", "Moderator"),
    Role.CONTENT_MANAGER: Say("콘텐츠 담당자", "Content manager"),
    Role.OPERATOR: Say("운영자", "Operator"),
    Role.SITE_REPRESENTATIVE: Say("현장대리인", "Site representative"),
    Role.AGENCY_CONTACT: Say("담당자", "Agency contact"),
    Role.CONFIRMING_MANAGER: Say("운용부서 책임자", "Confirming manager"),
    Role.SUPERVISOR: Say("감독관", "Supervisor"),
    Role.AUDITOR: Say("감사자", "Auditor"),
    Role.ADMIN: Say("관리자", "Administrator"),
}


class Permission(StrEnum):
    """What an operation may ask for."""

    STATUS_READ = "status.read"
    MEDIA_READ = "media.read"
    MEDIA_CONTROL = "media.control"
    ROOMS_MANAGE = "rooms.manage"
    ROOMS_INVITE = "rooms.invite"
    SPACES_MANAGE = "spaces.manage"
    SPACES_SHOW = "spaces.show"
    ROOMS_MODERATE = "rooms.moderate"
    ROOMS_SPEAK = "rooms.speak"
    MODERATION_READ = "moderation.read"
    TOKENS_REVOKE = "tokens.revoke"
    WEBHOOKS_MANAGE = "webhooks.manage"
    USAGE_READ = "usage.read"
    APPS_MANAGE = "apps.manage"
    USERS_READ = "users.read"
    USERS_MANAGE = "users.manage"
    USERS_APPROVE = "users.approve"
    ROLES_CONFIRM = "roles.confirm"
    PERSONAL_DATA = "personal_data"
    AUDIT_READ = "audit.read"


_OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
# Those who write, watch over, confirm or examine the month all read the figures it is made of.
_READERS_OF_FIGURES = _OPERATORS | {
    Role.SITE_REPRESENTATIVE,
    Role.AGENCY_CONTACT,
    Role.CONFIRMING_MANAGER,
    Role.SUPERVISOR,
    Role.AUDITOR,
}

# What the admin asks for is approved by the agency, or by another admin.
_APPROVING = frozenset({Role.ADMIN, Role.SUPERVISOR, Role.CONFIRMING_MANAGER})

PERMITTED: dict[Permission, frozenset[Role]] = {
    Permission.STATUS_READ: _OPERATORS | {Role.SITE_REPRESENTATIVE, Role.SUPERVISOR},
    Permission.MEDIA_READ: _OPERATORS,
    Permission.MEDIA_CONTROL: _OPERATORS,
    Permission.ROOMS_MANAGE: _OPERATORS,
    Permission.SPACES_MANAGE: _OPERATORS,
    Permission.SPACES_SHOW: _OPERATORS | {Role.CONTENT_MANAGER},
    # A host only where their token names the room: see `metaport.api.moderation`.
    Permission.ROOMS_MODERATE: _OPERATORS | {Role.MODERATOR, Role.HOST},
    Permission.ROOMS_SPEAK: _OPERATORS | {Role.HOST},
    Permission.ROOMS_INVITE: _OPERATORS | {Role.HOST},
    Permission.MODERATION_READ: _OPERATORS | {Role.MODERATOR, Role.SUPERVISOR, Role.AUDITOR},
    Permission.TOKENS_REVOKE: _OPERATORS,
    Permission.WEBHOOKS_MANAGE: frozenset({Role.ADMIN}),
    Permission.USAGE_READ: _READERS_OF_FIGURES,
    Permission.APPS_MANAGE: frozenset({Role.ADMIN}),
    Permission.USERS_READ: _APPROVING | {Role.AUDITOR},
    Permission.USERS_MANAGE: frozenset({Role.ADMIN}),
    Permission.USERS_APPROVE: _APPROVING,
    Permission.ROLES_CONFIRM: _APPROVING,
    Permission.PERSONAL_DATA: frozenset({Role.ADMIN}),
    # Not the operator: what operators do is what stands there.
    Permission.AUDIT_READ: frozenset({Role.AUDITOR, Role.SUPERVISOR, Role.ADMIN}),
}


def may(roles: Collection[str], permission: Permission) -> bool:
    """Tell whether somebody with these roles is permitted something."""
    return not PERMITTED[permission].isdisjoint(roles)
