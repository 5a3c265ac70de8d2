"""Exchanging a key for a new one without a moment in which neither works."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import aliased
from uuid_utils.compat import uuid7

from folkmoot.keys.mint import Minted, mint
from folkmoot.keys.models import ApiKey

KEPT = (
    "tenant_id",
    "user_id",
    "name",
    "kind",
    "assistant_id",
    "scopes",
    "addresses",
    "origins",
    "requests_per_minute",
    "tokens_per_month",
    "expires_at",
)


def successor(old: ApiKey, grace_seconds: int) -> tuple[ApiKey, Minted]:
    """A new key with the settings of `old`, which works for `grace_seconds` more, and never longer than it would."""
    minted = mint(old.kind)
    new = ApiKey(
        id=uuid7(), secret_hash=minted.secret_hash, hint=minted.hint, **{name: getattr(old, name) for name in KEPT}
    )
    end = datetime.now(UTC) + timedelta(seconds=grace_seconds)
    old.expires_at = end if old.expires_at is None else min(old.expires_at, end)
    old.replaced_by = new.id
    return new, minted


def family_of(key_id: Any) -> Select[UUID]:
    """The ids of a key, of those it replaced and of those that replaced it, as a sub-query.

    What one of them began is theirs together, and so is what they spend. `key_id` may be a parameter yet to be
    bound.
    """
    columns = (ApiKey.id, ApiKey.replaced_by, ApiKey.user_id)
    family = select(*columns).where(ApiKey.id == key_id).cte("family", recursive=True)
    other = aliased(ApiKey)
    family = family.union(
        select(other.id, other.replaced_by, other.user_id).join(
            family,
            # The owner is the same all along, and the index is by owner.
            (other.user_id == family.c.user_id)
            & or_(other.replaced_by == family.c.id, other.id == family.c.replaced_by),
        )
    )
    return select(family.c.id)
