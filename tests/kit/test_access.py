"""The matrix, against a table written by hand: a change of either must be meant."""

from itertools import pairwise, product

import pytest

from folkmoot.kit.access import (
    DEFAULT_SCOPES,
    GRANTABLE,
    ROLES,
    SPACE_ACCESS,
    Access,
    Permission,
    Principal,
    Scope,
    SpaceKind,
    SpaceRole,
    highest,
    permissions_of,
    roles_with,
    scope_of,
    space_access,
)
from folkmoot.kit.errors import Forbidden

ORGANISATION = """
                user  ai-configurator  owner
signed-in       yes   yes              yes
spaces          yes   yes              yes
spaces-create   yes   yes              yes
assistants      yes   yes              yes
collections     yes   yes              yes
keys            yes   yes              yes
models          -     yes              yes
commons         -     yes              yes
people          -     -                yes
audit           -     -                yes
admin           -     -                yes
platform        -     -                -
"""
SPACES = """
                      read  drafts  edit  publish  manage
shared/viewer         yes   -       -     -        -
shared/editor         yes   yes     yes   yes      -
shared/admin          yes   yes     yes   yes      yes
shared/owner          -     -       -     -        -
personal/viewer       -     -       -     -        -
personal/editor       -     -       -     -        -
personal/admin        -     -       -     -        -
personal/owner        yes   yes     yes   -        -
organisation/viewer   yes   -       -     -        -
organisation/editor   -     -       -     -        -
organisation/admin    yes   -       yes   -        yes
organisation/owner    -     -       -     -        -
"""
SCOPES = """
                READ      WRITE
signed-in       read      write
spaces          read      write
spaces-create   read      write
assistants      read      write
collections     read      write
keys            read      write
models          admin     admin
commons         admin     admin
people          admin     admin
audit           admin     admin
admin           admin     admin
platform        platform  platform
"""


def cells(table):
    head, *lines = (line.split() for line in table.strip().splitlines())
    return [(line[0], name, value) for line in lines for name, value in zip(head, line[1:], strict=True)]


@pytest.mark.parametrize(("permission", "role", "has"), cells(ORGANISATION))
def test_what_a_role_of_the_organisation_may_do(permission, role, has):
    assert (Permission(permission) in permissions_of([role])) == (has == "yes")


@pytest.mark.parametrize(("place", "access", "has"), cells(SPACES))
def test_what_a_role_in_a_space_may_do(place, access, has):
    kind, role = place.split("/")
    assert (Access(access) in space_access(kind, role)) == (has == "yes")


@pytest.mark.parametrize(("permission", "method", "scope"), cells(SCOPES))
def test_which_scope_a_route_needs(permission, method, scope):
    for verb in ("GET", "HEAD") if method == "READ" else ("POST", "PUT", "PATCH", "DELETE"):
        assert scope_of(Permission(permission), verb) is Scope(scope)


def test_the_tables_above_leave_nothing_out():
    assert {(row, column) for row, column, _ in cells(ORGANISATION)} == {*product(Permission, ROLES)}
    places = {f"{kind}/{role}" for kind in SpaceKind for role in SpaceRole}
    assert {(row, column) for row, column, _ in cells(SPACES)} == {*product(places, Access)}
    assert {row for row, _, _ in cells(SCOPES)} == set(Permission)


def test_a_higher_role_may_all_that_a_lower_one_may():
    granted = list(ROLES.values())
    assert all(lower <= higher for lower, higher in pairwise(granted))
    for kind, table in SPACE_ACCESS.items():
        ranks = [table[role] for role in SpaceRole if role in table]
        assert all(lower <= higher for lower, higher in pairwise(ranks)), kind


@pytest.mark.parametrize(
    ("roles", "counts"),
    [
        ([], None),
        (["viewer"], SpaceRole.VIEWER),
        (["viewer", "editor"], SpaceRole.EDITOR),
        (["admin", "viewer", "editor"], SpaceRole.ADMIN),
        (["editor", "editor"], SpaceRole.EDITOR),
    ],
)
def test_the_highest_role_counts(roles, counts):
    assert highest(roles) is counts


def test_queries_know_who_sees_drafts():
    assert roles_with(Access.DRAFTS) == {SpaceRole.EDITOR, SpaceRole.ADMIN, SpaceRole.OWNER}


def test_roles_and_single_permissions_add_up_and_unknown_names_give_nothing():
    assert permissions_of(["user", "king"], ["audit", "everything"]) == permissions_of(["user"]) | {Permission.AUDIT}
    assert permissions_of([]) == permissions_of(["king"]) == {Permission.SIGNED_IN}


def test_the_platform_is_never_granted_by_a_role():
    assert set(Permission) - {Permission.SIGNED_IN, Permission.PLATFORM} == GRANTABLE
    assert Permission.PLATFORM not in permissions_of([*ROLES], [*Permission])
    assert Permission.PLATFORM in permissions_of(["user"], platform=True)


def test_a_key_made_without_thought_administers_nothing():
    assert set(DEFAULT_SCOPES).isdisjoint({Scope.ADMIN, Scope.PLATFORM})


def test_nobody_may_anything():
    nobody = Principal()
    for permission in Permission:
        with pytest.raises(Forbidden):
            nobody.require(permission)
    for part in ("tenant", "user"):
        with pytest.raises(Forbidden):
            getattr(nobody, part)
