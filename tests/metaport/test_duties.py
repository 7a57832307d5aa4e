import pytest

from metaport import app_keys
from metaport.duties import APP_ROLES, RULES, STAFF, Part, Step, clash, needs_another, refusal
from metaport.roles import Role


@pytest.mark.parametrize("step", list(Step))
def test_who_did_a_thing_or_is_it_does_not_confirm_it(step):
    assert step in RULES
    parts = {Part.SUBJECT: "ann", Part.ASKED: "ben"}
    assert refusal(step, "ann", parts) is not None
    assert refusal(step, "ben", parts) is not None
    assert refusal(step, "cho", parts) is None


@pytest.mark.parametrize(
    ("held", "wanted", "clashes"),
    [
        ({Role.OPERATOR}, Role.SITE_REPRESENTATIVE, False),
        ({Role.OPERATOR}, Role.SUPERVISOR, True),
        ({Role.SUPERVISOR}, Role.OPERATOR, True),
        ({Role.CONFIRMING_MANAGER}, Role.SUPERVISOR, False),
        ({Role.ADMIN}, Role.CONFIRMING_MANAGER, True),
        ({Role.AUDITOR}, Role.OPERATOR, True),
        ({Role.SUPERVISOR}, Role.AUDITOR, True),
        ({Role.MEMBER, Role.HOST}, Role.SUPERVISOR, False),
        ({Role.SUPERVISOR}, Role.MEMBER, False),
        (set(), Role.ADMIN, False),
    ],
)
def test_the_operators_the_agency_and_the_auditor_exclude_one_another(held, wanted, clashes):
    assert (clash(held, wanted) is not None) is clashes


def test_every_role_is_plain_or_needs_another_person():
    assert {role for role in Role if needs_another(role)} == STAFF
    assert APP_ROLES <= app_keys.APP_ROLES
    assert not app_keys.APP_ROLES & (STAFF - {Role.MODERATOR})
