"""The groups somebody is in, directly and through other groups."""

from __future__ import annotations

import logging
from typing import Any

from ldap3.utils.conv import escape_filter_chars

from folkmoot_auth_ldap.config import LdapConfig

MOST_GROUPS = 500
DEEPEST = 20
AT_ONCE = 30
"""How many groups one search asks about."""


def groups_of(connection: Any, config: LdapConfig, dn: str, log: logging.Logger) -> tuple[str, ...]:
    """Names of groups, sorted. A group that is in itself, in a circle of any length, is met once."""
    if not config.group_base_dn:
        return ()
    met: dict[str, str] = {}
    asking = [dn]
    for _ in range(DEEPEST if config.nested_groups else 1):
        found: dict[str, str] = {}
        for start in range(0, len(asking), AT_ONCE):
            found |= _holding(connection, config, asking[start : start + AT_ONCE])
        asking = [name for name in found if name not in met]
        met |= found
        if len(met) > MOST_GROUPS:
            log.warning("somebody is in more than %s groups: only so many are taken", MOST_GROUPS)
            break
        if not asking:
            break
    return tuple(sorted({name for name in met.values() if name})[:MOST_GROUPS])


def _holding(connection: Any, config: LdapConfig, members: list[str]) -> dict[str, str]:
    """Groups that have one of `members` in them: their names by DN."""
    one = [config.group_filter.replace("{dn}", escape_filter_chars(member)) for member in members]
    query = one[0] if len(one) == 1 else f"(|{''.join(one)})"
    entries = connection.search(
        config.group_base_dn, query, attributes=[config.group_name_attribute], size=MOST_GROUPS + 1
    )
    return {entry["dn"]: _name(entry, config.group_name_attribute) for entry in entries}


def _name(entry: dict[str, Any], attribute: str) -> str:
    for name, values in entry["raw_attributes"].items():
        if name.lower() == attribute.lower() and values:
            return values[0].decode("utf-8", "replace")[:200]
    return ""
