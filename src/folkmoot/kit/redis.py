"""Connections to Redis."""

from __future__ import annotations

from typing import Any

import redis.asyncio

Redis = Any
"""A `redis.asyncio.Redis` that gives bytes. Its own types say `bytes | str | Unknown` of every answer."""


def connect(url: str, *, blocking: bool = False) -> Redis:
    """A pooled client. `blocking`: for reads that wait in the server, which must not time out here."""
    # RESP2: with RESP3 the same calls answer in other shapes.
    if blocking:
        return redis.asyncio.Redis.from_url(url, protocol=2, socket_timeout=None)  # pyright: ignore[reportUnknownMemberType]
    return redis.asyncio.Redis.from_url(url, protocol=2, health_check_interval=30, socket_connect_timeout=5)  # pyright: ignore[reportUnknownMemberType]
