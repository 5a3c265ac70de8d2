"""Embedding spaces: vectors of one model, in one version, of one length, which can be compared with each other.

A collection is searched in one of them and its documents get their vectors there, whatever model is the default
meanwhile; another one is a move (`move.py`). A space is opened when the first vector of a model comes, because nobody
else is sure to know its length. If the model behind a name begins to give vectors of another length, its old space is
outdated: it is not searched any more, the words answer, and the collection can be moved to the same model anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, and_, any_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import aliased
from uuid_utils.compat import uuid7

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Route
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotAvailable
from folkmoot.kit.work import Work
from folkmoot.knowledge.embedding.models import EmbeddingMove
from folkmoot.knowledge.models import Collection, EmbeddingSpace
from folkmoot.spaces.models import Space


@dataclass(frozen=True)
class Searched:
    """A space, and those of the collections in question that are searched in it."""

    id: UUID
    model_id: UUID
    dimensions: int
    collection_ids: list[UUID]


@dataclass
class Target:
    """Where vectors of a collection go."""

    collection_id: UUID
    model_id: UUID | None
    """None: the default of those that may see the text."""
    version: str = ""
    space_id: UUID | None = None
    """None until the first vector has come."""
    dimensions: int | None = None
    searched: bool = True
    """Whether the collection is searched there, or is to be; False for where it is being moved to."""

    @property
    def key(self) -> tuple[UUID | None, UUID | None, str]:
        return (self.space_id, None if self.space_id else self.model_id, self.version)


class ModelChanged(Exception):
    """The model gives vectors of another length than those in the space."""

    def __init__(self, was: int, now: int) -> None:
        self.was, self.now = was, now
        super().__init__(f"the embedding model gave {was} numbers for each text before, and gives {now} now")


@dataclass(frozen=True)
class Aim:
    """Where the vectors of a collection go, and whose text they are made of."""

    targets: list[Target] = field(default_factory=list[Target])
    class_ids: list[UUID | None] = field(default_factory=list[UUID | None])


def _described(space: type[EmbeddingSpace]) -> list[Any]:
    return [space.id, space.model_id, space.version, space.dimensions, space.outdated_at]


_HERE, _THERE = aliased(EmbeddingSpace), aliased(EmbeddingSpace)
# Built once: each document asks it twice.
_AIM = (
    select(Collection.embeds, Space.data_class_id, *_described(_HERE), EmbeddingMove.id, *_described(_THERE))
    .join(Space, Space.id == Collection.space_id)
    .outerjoin(_HERE, _HERE.id == Collection.embedding_space_id)
    .outerjoin(EmbeddingMove, and_(EmbeddingMove.collection_id == Collection.id, EmbeddingMove.state == "filling"))
    .outerjoin(_THERE, _THERE.id == EmbeddingMove.to_space_id)
    .where(Collection.id == bindparam("collection", type_=Uuid()))
)


async def aim_of(work: Work, collection_id: UUID) -> Aim:
    """Where a collection is searched and where it is being moved to, with its data class, in one question."""
    row = (await work.session.execute(_AIM, {"collection": collection_id})).one_or_none()
    if row is None:
        return Aim()
    embeds, class_id, space_id, model_id, version, dimensions, outdated_at, move_id, *aimed = row
    found: list[Target] = []
    if space_id is not None and outdated_at is None:
        found.append(Target(collection_id, model_id, version, space_id, dimensions))
    if move_id is None:
        if space_id is None and embeds:
            found.append(Target(collection_id, None))
    elif aimed[0] not in (None, space_id):
        found.append(Target(collection_id, aimed[1], aimed[2], aimed[0], aimed[3], searched=False))
    return Aim(found, [class_id])


_COLLECTIONS = any_(bindparam("collections", type_=ARRAY(PG_UUID(as_uuid=True))))
_SEARCHED = (
    select(EmbeddingSpace.id, EmbeddingSpace.model_id, EmbeddingSpace.dimensions, func.array_agg(Collection.id))
    .join(Collection, Collection.embedding_space_id == EmbeddingSpace.id)
    .where(Collection.id == _COLLECTIONS, EmbeddingSpace.outdated_at.is_(None))
    .group_by(EmbeddingSpace.id)
    .order_by(EmbeddingSpace.id)
)
_CLASSES = (
    select(Space.data_class_id)
    .where(
        or_(
            Space.id.in_(select(Collection.space_id).where(Collection.id == _COLLECTIONS)),
            Space.id == bindparam("space", type_=Uuid()),
        )
    )
    .distinct()
)


async def searched_spaces(work: Work, collection_ids: Sequence[UUID]) -> list[Searched]:
    """The spaces that these collections are searched in; none for those without vectors, or with outdated ones."""
    rows = await work.session.execute(_SEARCHED, {"collections": list(collection_ids)})
    return [Searched(*row) for row in rows]


async def classes_of(work: Work, collection_ids: Sequence[UUID], space_id: UUID | None = None) -> list[UUID | None]:
    """The data classes of the spaces that these collections lie in, and of one space more; None: none of its own."""
    rows = await work.session.scalars(_CLASSES, {"collections": list(collection_ids), "space": space_id})
    return list(rows)


async def route_to(app: App, tenant_id: UUID, class_ids: Sequence[UUID | None], model_id: UUID | None = None) -> Route:
    """The model that embeds text of these classes. Raises what `Snapshot.route` does if it may not, or is not there."""
    snapshot = await app.part(Catalogue).of(tenant_id, classes=class_ids)
    return snapshot.route("embedding", snapshot.text_of(class_ids), model_id)


async def embedding_route(app: App, tenant_id: UUID, class_ids: Sequence[UUID | None]) -> Route | None:
    """Who embeds text of these classes by default; None if nobody may, or nobody is there."""
    try:
        return await route_to(app, tenant_id, class_ids)
    except NotAvailable:
        return None


async def newest_version(work: Work, model_id: UUID) -> str:
    """Of the spaces of a model, in which new collections are begun."""
    newest = select(EmbeddingSpace.version).where(EmbeddingSpace.model_id == model_id)
    return (await work.session.scalar(newest.order_by(EmbeddingSpace.created_at.desc()).limit(1))) or ""


async def next_version(work: Work, space: EmbeddingSpace | None, model_id: UUID) -> str:
    """The version after the one that a collection is in: others may have been moved to it before."""
    before = space.version if space is not None and space.model_id == model_id else await newest_version(work, model_id)
    return str(int(before or 0) + 1)


async def open_space(work: Work, model_id: UUID, version: str, dimensions: int) -> UUID:
    """The space of a model, made if it is not there."""
    values = {"model_id": model_id, "version": version, "dimensions": dimensions}
    await work.session.execute(
        insert(EmbeddingSpace)
        .values(id=uuid7(), tenant_id=work.principal.tenant, **values)
        .on_conflict_do_nothing(index_elements=list(values))
    )
    found = select(EmbeddingSpace.id).where(
        EmbeddingSpace.model_id == model_id, EmbeddingSpace.version == version, EmbeddingSpace.dimensions == dimensions
    )
    space_id = (await work.session.scalars(found)).one()
    # The model may have gone back to what it was.
    await work.session.execute(
        update(EmbeddingSpace)
        .where(EmbeddingSpace.id == space_id, EmbeddingSpace.outdated_at.is_not(None))
        .values(outdated_at=None)
    )
    return space_id


async def outdate(work: Work, space_id: UUID, dimensions: int) -> None:
    """Say that the model of a space gives vectors of `dimensions` numbers now."""
    done = await work.session.execute(
        update(EmbeddingSpace)
        .where(EmbeddingSpace.id == space_id, EmbeddingSpace.outdated_at.is_(None))
        .values(outdated_at=datetime.now(UTC))
        .returning(EmbeddingSpace.model_id, EmbeddingSpace.dimensions)
    )
    if (row := done.first()) is not None:
        told = {"model_id": str(row[0]), "was": row[1], "now": dimensions}
        work.record("embedding_space.outdated", "embedding_space", space_id, data=told)
