"""What Redis remembers of each log's end, so that nobody cuts it off unseen.

A chain shows what was changed inside of it, never that its end is missing. So the newest position and its
link stand in a second place; the log of the process, which usually goes to another machine, is the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import msgspec

from folkmoot.kit.redis import Redis

HEADS = "folkmoot:audit:heads"


@dataclass(frozen=True)
class Head:
    """The end of a log as it was seen."""

    number: int
    """Of the checkpoint."""
    position: int
    link: bytes


async def remember(redis: Redis, tenant_id: UUID, head: Head) -> None:
    await redis.hset(HEADS, str(tenant_id), msgspec.json.encode(head))


async def recall(redis: Redis, tenant_id: UUID) -> Head | None:
    """None if Redis never knew, or lost it."""
    found = await redis.hget(HEADS, str(tenant_id))
    return msgspec.json.decode(found, type=Head) if found else None


async def forget(redis: Redis, tenant_id: UUID) -> None:
    await redis.hdel(HEADS, str(tenant_id))


async def known(redis: Redis) -> set[UUID]:
    """The tenants whose logs are remembered."""
    return {UUID(key.decode()) for key in await redis.hkeys(HEADS)}
