"""From claims to a person: the little that is taken over, and how much of it is believed."""

from __future__ import annotations

import re
from typing import Any, cast

from folkmoot_sdk import ExternalIdentity

from folkmoot_auth_oidc.config import Config
from folkmoot_auth_oidc.tokens import subject

MOST_GROUPS = 500
LONGEST_GROUP = 200
INCOMPLETE = "groups_incomplete"
"""Stands in `ExternalIdentity.claims`, as true, when the provider knows of more groups than it told."""

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,253}")
_PROTOCOL = frozenset(
    [
        "iss",
        "aud",
        "azp",
        "exp",
        "iat",
        "nbf",
        "jti",
        "nonce",
        "at_hash",
        "c_hash",
        "s_hash",
        "sid",
        "events",
        "_claim_names",
        "_claim_sources",
    ]
)
"""About the token, not the person."""


def person(
    config: Config, claims: dict[str, Any], more: dict[str, Any], logout_hint: str | None
) -> tuple[ExternalIdentity, list[str]]:
    """Who signed in, by the ID token's claims and, for what those lack, by userinfo; and what the log should say."""
    email, verified = find_email(config, claims)
    if email is None:
        # The address and whether it was verified come from one place, or a token could vouch for another's.
        email, verified = find_email(config, more)
    groups, remarks = find_groups(config, claims)
    if not groups and not remarks:
        groups, remarks = find_groups(config, more)
    told = {name: value for name, value in {**more, **claims}.items() if name not in _PROTOCOL and name != INCOMPLETE}
    if remarks:
        told[INCOMPLETE] = True
    session = claims.get("sid")
    identity = ExternalIdentity(
        issuer=config.issuer,
        subject=subject(claims, "ID token"),
        email=email,
        email_verified=verified,
        name=_name(claims) or _name(more),
        groups=groups,
        claims=told,
        session=session if isinstance(session, str) and 0 < len(session) <= 255 else None,
        logout_hint=logout_hint,
    )
    return identity, remarks


def lacks(config: Config, claims: dict[str, Any]) -> bool:
    """Whether userinfo could tell more than the ID token did."""
    groups, remarks = find_groups(config, claims)
    return find_email(config, claims)[0] is None or bool(config.groups_claim and not groups and not remarks)


def find_email(config: Config, claims: dict[str, Any]) -> tuple[str | None, bool]:
    """The address, and whether it is known to be the person's own."""
    email = find(claims, config.email_claim)
    if not isinstance(email, str) or not email.isprintable() or not _EMAIL.fullmatch(email := email.strip()):
        return None, False
    said = claims.get("email_verified") if config.email_claim == "email" else None
    if said is None:
        # Entra ID: an administrator has proved to own the domain; its bare `email` anybody may set to anything.
        edov = claims.get("xms_edov") if config.email_claim == "email" else None
        return email, config.email_always_verified or edov is True or edov in ("1", "true")
    return email, said is True or said == "true"


def find_groups(config: Config, claims: dict[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """The groups, and a remark for each reason why some are missing."""
    if not config.groups_claim:
        return (), []
    value = find(claims, config.groups_claim)
    elsewhere = claims.get("_claim_names")
    if value is None and isinstance(elsewhere, dict) and config.groups_claim in elsewhere:
        return (), [
            "the person is in more groups than fit into a token, and the provider (Entra ID) left all of them out: "
            "have it send only the groups that are assigned to the application"
        ]
    if value is None and (claims.get("hasgroups") is True or claims.get("hasgroups") == "true"):
        return (), ["the provider (Entra ID) says that there are groups and sends none"]
    items = cast("list[object]", value) if isinstance(value, list) else [value] if isinstance(value, str) else []
    usable = [item for item in items if isinstance(item, str) and 0 < len(item) <= LONGEST_GROUP and item.isprintable()]
    groups = tuple(dict.fromkeys(usable))
    remarks: list[str] = []
    if len(usable) < len(items) or (value is not None and not isinstance(value, list | str)):
        remarks.append(f"the claim {config.groups_claim!r} holds what is no name of a group; that was left out")
    if len(groups) > MOST_GROUPS:
        remarks.append(f"the provider names {len(groups)} groups; those after the first {MOST_GROUPS} were left out")
    return groups[:MOST_GROUPS], remarks


def find(claims: dict[str, Any], path: str) -> object:
    """The claim of this name or, a level deeper at each dot, where the path leads; names may have dots too."""
    if path in claims:
        return claims[path]
    dot = path.rfind(".")
    while dot > 0:
        inner = claims.get(path[:dot])
        if isinstance(inner, dict):
            found = find(cast("dict[str, Any]", inner), path[dot + 1 :])
            if found is not None:
                return found
        dot = path.rfind(".", 0, dot)
    return None


def _name(claims: dict[str, Any]) -> str | None:
    parts = [claims.get(name) for name in ("given_name", "family_name")]
    joined = " ".join(part for part in parts if isinstance(part, str))
    for found in (claims.get("name"), joined, claims.get("preferred_username")):
        if isinstance(found, str):
            shown = " ".join("".join(letter if letter.isprintable() else " " for letter in found[:1000]).split())
            if shown:
                return shown[:200]
    return None
