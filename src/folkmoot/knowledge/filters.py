"""Which documents a search or a list is about: by date, kind, language, and people's own names and values.

Row-level security holds back every operator that is not leakproof until a row is known to be the tenant's, and none of
those on JSON are, so a GIN index on metadata would never be used. Its values stand in a table of their own beside it
(`DocumentFact`), as text, which an ordinary index finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from msgspec import Meta
from msgspec.structs import replace
from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from folkmoot.kit.errors import NotFound
from folkmoot.kit.structs import Input
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import LONGEST_FACT, Document, DocumentFact

MOST_IDS = 1_000
MOST_NAMES = 50
MOST_VALUES = 100
MOST_CHARACTERS = 16_384

MetadataName = Annotated[str, Meta(min_length=1, max_length=100)]
Word = Annotated[str, Meta(max_length=1_000, examples=["planning"])]
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Moment = Annotated[datetime, Meta(tz=True)]
MetadataValue = Word | Whole | float | bool | Annotated[list[Word], Meta(max_length=MOST_VALUES)]
Metadata = Annotated[dict[MetadataName, MetadataValue], Meta(max_length=MOST_NAMES)]


def check_text(values: object, name: str, room: int = MOST_CHARACTERS) -> None:
    """Raise `ValueError` for what PostgreSQL's text cannot hold, or for more characters than `room` in all."""
    used = sum(len(word) for word in _words(values, name))
    if used > room:
        raise ValueError(f"{name} has {used:,} characters in all: {room:,} are allowed")


def _words(value: object, name: str) -> Iterable[str]:
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError(f"{name} has a character that text may not have (NUL or half a surrogate pair)")
        yield value
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _words(key, name)
            yield from _words(item, name)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[object]", value):
            yield from _words(item, name)


class Range(Input, frozen=True, kw_only=True):
    """From one value to another, both included; numbers by size, text and ISO dates by order of characters."""

    gte: Word | Whole | float | None = None
    lte: Word | Whole | float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gte is None and self.lte is None:
            raise ValueError("a range needs `gte`, `lte` or both")
        if self.gte is not None and self.lte is not None and isinstance(self.gte, str) != isinstance(self.lte, str):
            raise ValueError("`gte` and `lte` are both numbers or both text")


OneOf = Annotated[list[Word | Whole | float | bool], Meta(max_length=MOST_VALUES)]
Wanted = Word | Whole | float | bool | OneOf | Range


class Filters(Input, frozen=True, kw_only=True):
    """All that are given must hold; each list holds if one of it does. Nothing given: all documents."""

    document_ids: Annotated[list[UUID], Meta(max_length=MOST_IDS)] | None = None
    created_after: Moment | None = None
    """Uploaded at this time or later."""
    created_before: Moment | None = None
    modified_after: Moment | None = None
    """Changed, as far as its source says, at this time or later; documents that do not say do not pass."""
    modified_before: Moment | None = None
    media_types: Annotated[list[Annotated[str, Meta(max_length=200, examples=["text/*"])]], Meta(max_length=50)] = []
    """As `application/pdf`, or `text/*` for all kinds of text."""
    languages: Annotated[list[Annotated[str, Meta(max_length=20, examples=["en"])]], Meta(max_length=50)] = []
    """ISO 639-1."""
    metadata: Annotated[dict[MetadataName, Wanted], Meta(max_length=20)] = {}
    """By name: a value, several of which one must be there, or `{"gte": …, "lte": …}`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text([self.media_types, self.languages], "media_types or languages")
        plain = {name: value for name, value in self.metadata.items() if not isinstance(value, Range)}
        check_text([plain, list(self.metadata)], "metadata")

    @property
    def any(self) -> bool:
        """Whether something is asked for."""
        return bool(
            self.document_ids is not None
            or self.created_after
            or self.created_before
            or self.modified_after
            or self.modified_before
            or self.media_types
            or self.languages
            or self.metadata
        )


async def allowed(work: Work, collection_ids: Sequence[UUID], filters: Filters | None) -> list[UUID] | None:
    """Ids of the documents in these collections that pass, in order; None if nothing is asked for.

    Checks no access to the collections. Raises `NotFound` if `document_ids` names one that is not in them.
    """
    if filters is None or not filters.any:
        return None
    if (found := await _by_facts(work, collection_ids, filters)) is not None:
        return found
    inside = Document.collection_id.in_(list(collection_ids))
    if filters.document_ids:
        wanted = set(filters.document_ids)
        found = set(await work.session.scalars(select(Document.id).where(inside, Document.id.in_(wanted))))
        if missing := wanted - found:
            raise NotFound(f"there is no document {min(missing)} in the collections that are searched")
    # One array and not a row for each: at 100,000 documents that is a tenth of the time.
    ids = func.array_agg(aggregate_order_by(Document.id, Document.id), type_=ARRAY(PG_UUID(as_uuid=True)))
    return list(await work.session.scalar(select(ids).where(inside, *conditions(filters, collection_ids))) or ())


async def _by_facts(work: Work, collection_ids: Sequence[UUID], filters: Filters) -> list[UUID] | None:
    """The documents, where one value of own metadata is all that is asked for: then the index of facts is enough."""
    ((name, wanted), *more) = filters.metadata.items() or [("", None)]
    if more or isinstance(wanted, list | Range | None) or replace(filters, metadata={}).any:
        return None
    if len(fact := _fact(wanted)) > LONGEST_FACT:
        return None
    ids = func.array_agg(
        aggregate_order_by(DocumentFact.document_id, DocumentFact.document_id), type_=ARRAY(PG_UUID(as_uuid=True))
    )
    query = select(ids).where(
        DocumentFact.collection_id.in_(list(collection_ids)), DocumentFact.name == name, DocumentFact.value == fact
    )
    return list(await work.session.scalar(query) or ())


def conditions(filters: Filters, collection_ids: Sequence[UUID]) -> list[ColumnElement[bool]]:
    """What a row of `documents` in these collections must fulfil."""
    made: list[ColumnElement[bool]] = []
    if filters.document_ids is not None:
        made.append(Document.id.in_(filters.document_ids))
    for column, after, before in (
        (Document.created_at, filters.created_after, filters.created_before),
        (Document.modified_at, filters.modified_after, filters.modified_before),
    ):
        if after is not None:
            made.append(column >= after)
        if before is not None:
            made.append(column < before)
    if filters.media_types:
        made.append(of_media_types(filters.media_types))
    if filters.languages:
        made.append(Document.language.in_([language.lower() for language in filters.languages]))
    made += [_has(name, wanted, collection_ids) for name, wanted in filters.metadata.items()]
    return made


def of_media_types(wanted: Sequence[str]) -> ColumnElement[bool]:
    """One of these media types; `text/*` is every one that begins with `text/`."""
    names = [name.strip().lower() for name in wanted]
    whole = [name for name in names if not name.endswith("/*")]
    kinds = [Document.media_type.startswith(name[:-1], autoescape=True) for name in names if name.endswith("/*")]
    return or_(Document.media_type.in_(whole), *kinds)


def _has(name: str, wanted: object, collection_ids: Sequence[UUID]) -> ColumnElement[bool]:
    """A name with such a value; a document that has several values passes if one of them fits."""
    metadata = cast("Any", Document.metadata_)
    if isinstance(wanted, Range):
        value = metadata[name]
        kind = "string" if isinstance(wanted.gte if wanted.gte is not None else wanted.lte, str) else "number"
        # Compared as JSON, by which nothing needs to be cast: no row can make the query fail.
        parts: list[ColumnElement[bool]] = [func.jsonb_typeof(value) == kind]
        if wanted.gte is not None:
            parts.append(value >= func.to_jsonb(wanted.gte))
        if wanted.lte is not None:
            parts.append(value <= func.to_jsonb(wanted.lte))
        return and_(*parts)
    values = cast("list[object]", wanted) if isinstance(wanted, list) else [wanted]
    short = [fact for fact in map(_fact, values) if len(fact) <= LONGEST_FACT]
    # By an index, which row-level security keeps the operators of JSON from.
    having = select(DocumentFact.document_id).where(
        DocumentFact.collection_id.in_(list(collection_ids)), DocumentFact.name == name, DocumentFact.value.in_(short)
    )
    long = [shape for value in values if len(_fact(value)) > LONGEST_FACT for shape in ({name: value}, {name: [value]})]
    found = Document.id.in_(having)
    return or_(found, *(metadata.contains(shape) for shape in long)) if long else found


async def keep_facts(work: Work, document: Document) -> None:
    """Write a document's metadata anew into what filters look at. Call it wherever the metadata changes."""
    facts = {
        (name, fact)
        for name, value in document.metadata_.items()
        for fact in map(_fact, cast("list[object]", value) if isinstance(value, list) else [value])
        if len(fact) <= LONGEST_FACT
    }
    of_document = DocumentFact.document_id == document.id
    await work.session.execute(delete(DocumentFact).where(of_document))
    if facts:
        of = {"tenant_id": document.tenant_id, "collection_id": document.collection_id, "document_id": document.id}
        rows = [{**of, "name": name, "value": value} for name, value in sorted(facts)]
        await work.session.execute(insert(DocumentFact), rows)


def _fact(value: object) -> str:
    """A value as JSON, with one form for each number."""
    if isinstance(value, float):
        return format(Decimal(repr(value)).normalize(), "f")
    return msgspec.json.encode(value).decode()
