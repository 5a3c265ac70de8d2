"""Nobody raises themself: the rule about giving and taking rights, once for people, groups and roles.

It speaks of sets of permissions only, so it can be tried out as a table. Three sentences:

1. One gives only what one holds, and does not take from, shut out, reset or delete somebody who holds more.
2. One does not change what one is: one's own role, grants, state, or place in a group that has rights.
3. What reaches oneself through a group or role that one edits must be one's own already, by one's predefined role:
   that alone cannot be lost by what one set up oneself.
"""

from __future__ import annotations

from collections.abc import Iterable

from folkmoot.kit.access import ROLES, Permission
from folkmoot.kit.errors import Forbidden

Permissions = frozenset[Permission]


def may_give(own: Permissions, given: Permissions, what: str) -> None:
    """Raise `Forbidden` (`more-than-you-have`) if `what` would give a permission that the giver lacks."""
    if missing := given - own:
        raise Forbidden(
            f"{what} has {_named(missing)}, which you do not have yourself: ask somebody who does",
            code="more-than-you-have",
        )


def may_touch(own: Permissions, target: Permissions, what: str) -> None:
    """Raise `Forbidden` (`more-than-you-have`) if `what` has a permission that the caller lacks."""
    if missing := target - own:
        raise Forbidden(
            f"{what} has {_named(missing)} and you do not, so this is not yours to change: ask somebody who does",
            code="more-than-you-have",
        )


def not_oneself(oneself: bool, what: str) -> None:
    """Raise `Forbidden` (`cannot-raise-yourself`) if the caller is the one to be changed."""
    if oneself:
        raise Forbidden(
            f"nobody changes {what} of their own: ask a colleague who administers people", code="cannot-raise-yourself"
        )


def may_add(
    own: Permissions, own_role: str, before: Permissions, after: Permissions, what: str, *, holds: bool
) -> None:
    """Whether the caller may change `what` from holding `before` to holding `after`; `holds`: they have it themself.

    Raises `Forbidden`: `more-than-you-have`, or `cannot-raise-yourself` for an addition that comes back to them.
    """
    may_touch(own, before, what)
    added = after - before
    if holds and added - ROLES.get(own_role, frozenset()):
        raise Forbidden(
            f"you have {what} yourself, so adding to it would raise you: ask a colleague who administers people",
            code="cannot-raise-yourself",
        )
    may_give(own, after, what)


def _named(permissions: Iterable[Permission]) -> str:
    names = sorted(f"{permission.value!r}" for permission in permissions)
    return f"the permission{'s' if len(names) > 1 else ''} {', '.join(names)}"
