"""Models, from outside."""

from __future__ import annotations

from uuid import UUID

from folkmoot.ai.models import Connection, Model
from folkmoot.kit.structs import Struct


class ModelOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    title: str
    kind: str
    """`chat`, `embedding`, `rerank` or `transcription`."""
    provider: str
    """Kind of the provider."""
    connection: str
    """Name of the connection."""
    context_window: int | None
    default: bool
    """Used where nothing else is chosen."""

    @classmethod
    def of(cls, model: Model, connection: Connection, *, default: bool) -> ModelOut:
        return cls(
            id=model.id,
            name=model.name,
            title=model.info.get("title") or model.name,
            kind=model.kind,
            provider=connection.kind,
            connection=connection.name,
            context_window=model.info.get("context_window"),
            default=default,
        )
