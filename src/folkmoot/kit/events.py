"""One append-only table of what happened: audit trail, outbox of the WebSocket, source of read models.

An event is written in the transaction of the change that it tells of, so neither can be without the other.
Readers follow it by (`xid`, `seq`) and stop below the oldest transaction that is still open: by `seq` alone
a reader would pass over a row whose transaction commits later than its neighbour's.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, FetchedValue, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Tenanted


class Event(Tenanted, Base):
    """The runtime role may insert and read these, never change or delete them."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_outbox", "tenant_id", "xid", "seq"),
        Index("ix_events_log", "tenant_id", "id"),
        Index("ix_events_actor", "tenant_id", "actor_id", "id"),
        Index("ix_events_action", "tenant_id", "action", "id"),
        Index("ix_events_object", "tenant_id", "object_id", "id"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, FetchedValue(), unique=True)
    """Order of writing."""
    xid: Mapped[int] = mapped_column(BigInteger, FetchedValue())
    """The transaction that wrote it."""
    actor_kind: Mapped[str]
    """`user`, `key`, `system`, `platform` or `nobody`."""
    actor_id: Mapped[UUID | None]
    """The person; of a key, its owner."""
    key_id: Mapped[UUID | None]
    """The API key that was used."""
    action: Mapped[str]
    """Past tense with its domain: `space.created`, `session.failed`."""
    object_type: Mapped[str]
    object_id: Mapped[UUID | None]
    space_id: Mapped[UUID | None]
    """Whose members may hear of it on the WebSocket."""
    user_id: Mapped[UUID | None]
    """Who alone may hear of it on the WebSocket, whatever the space."""
    request_id: Mapped[str] = mapped_column(default="")
    ip: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="", server_default="")
    data: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """What changed. Never a secret, never the text of a document or a conversation."""
