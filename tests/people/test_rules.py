"""Nobody raises themself: the rule as a table, over every pair of sets of permissions."""

from itertools import combinations, product
from typing import get_args

import pytest

from folkmoot.kit.access import GRANTABLE, ROLES, Permission
from folkmoot.kit.errors import Forbidden
from folkmoot.people.roles import meanings
from folkmoot.people.rules import may_add, may_give, may_touch, not_oneself
from folkmoot.people.schemas import GrantablePermission, Predefined

WEIGHTY = [*sorted(GRANTABLE - ROLES["user"]), Permission.PLATFORM]
SETS = [frozenset(some) for size in range(len(WEIGHTY) + 1) for some in combinations(WEIGHTY, size)]
"""Every set of the permissions that a plain user lacks."""


def refusal(rule, *arguments, **named):
    try:
        rule(*arguments, **named)
    except Forbidden as error:
        return error.code
    return None


def test_one_gives_and_touches_exactly_what_one_holds():
    calls = 0
    for own, other in product(SETS, SETS):
        expected = None if other <= own else "more-than-you-have"
        assert refusal(may_give, own, other, "x") == expected, (own, other)
        assert refusal(may_touch, own, other, "x") == expected, (own, other)
        calls += 1
    assert calls == len(SETS) ** 2 == 4096


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("target", ROLES)
def test_predefined_roles_reach_up_to_themselves(role, target):
    order = list(ROLES)
    expected = None if order.index(target) <= order.index(role) else "more-than-you-have"
    assert refusal(may_touch, ROLES[role], ROLES[target], "x") == expected


def test_nobody_but_the_platform_touches_who_administers_it():
    administrator = ROLES["owner"] | {Permission.PLATFORM}
    assert refusal(may_touch, ROLES["owner"], administrator, "x") == "more-than-you-have"
    assert refusal(may_touch, administrator, administrator, "x") is None


def test_what_one_edits_never_ends_up_with_more_than_one_holds():
    for own, before, after in product(SETS, SETS, SETS):
        allowed = refusal(may_add, own, "owner", before, after, "x", holds=False) is None
        assert allowed == (before <= own and after <= own)


def test_what_one_has_oneself_grows_only_by_what_ones_own_role_gives():
    for role, before, after in product(ROLES, SETS, SETS):
        everything = frozenset(Permission)
        found = refusal(may_add, everything, role, before, after, "x", holds=True)
        assert found == (None if after - before <= ROLES[role] else "cannot-raise-yourself"), (role, before, after)


def test_an_addition_to_oneself_is_named_as_such_even_if_one_lacks_it_too():
    own = ROLES["user"] | {Permission.PEOPLE}
    added = frozenset({Permission.ADMIN})
    assert refusal(may_add, own, "user", frozenset(), added, "x", holds=True) == "cannot-raise-yourself"
    assert refusal(may_add, own, "user", frozenset(), added, "x", holds=False) == "more-than-you-have"


def test_nobody_changes_themself():
    assert refusal(not_oneself, True, "role") == "cannot-raise-yourself"
    assert refusal(not_oneself, False, "role") is None


def test_a_refusal_names_what_is_missing():
    with pytest.raises(Forbidden, match="the permissions 'admin', 'audit', which you do not have"):
        may_give(frozenset(), frozenset({Permission.AUDIT, Permission.ADMIN}), "this role")


def test_the_description_of_the_api_names_what_can_be_granted():
    assert {Permission(name) for name in get_args(GrantablePermission)} == GRANTABLE
    assert list(get_args(get_args(Predefined)[0])) == list(ROLES)


def test_every_permission_says_what_it_opens():
    found = meanings()
    assert set(found) == set(Permission)
    assert all(meaning.endswith(".") for meaning in found.values())
