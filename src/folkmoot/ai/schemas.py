"""Models and connections, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from folkmoot_sdk import Price
from msgspec import UNSET, Meta, UnsetType

from folkmoot.ai.models import Connection, ModelPrice
from folkmoot.ai.route import Choice
from folkmoot.kit.structs import Input, Name, Struct

Moment = Annotated[datetime, Meta(tz=True, examples=["2036-11-22T09:30:00Z"])]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2.", examples=["SE"])]
Kind = Annotated[str, Meta(min_length=1, max_length=100, examples=["openai"])]
Config = Annotated[
    dict[str, Any],
    Meta(
        description="By the provider's `config_schema`. Secrets are write-only.",
        examples=[{"api_key": "sk-…", "base_url": "https://api.openai.com/v1"}],
    ),
]
AtOnce = Annotated[int, Meta(ge=1, le=100_000, description="Most calls at the same time.", examples=[20])]
Micros = Annotated[int, Meta(ge=0, le=10**12, description="Millionths of the currency.", examples=[2_500_000])]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000, examples=[128_000])]


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
    vision: bool
    tools: bool
    reasoning: bool
    country: str | None
    """Where it stands, as far as an administrator has said."""
    clearance_id: UUID | None
    """The most confidential data class that it may see."""
    deprecated: bool
    """Not to be chosen any more; what uses it goes on."""
    default: bool
    """Used where nothing else is chosen."""

    @classmethod
    def of(cls, choice: Choice, *, default: bool) -> ModelOut:
        info = choice.info
        return cls(
            id=choice.model.id,
            name=choice.model.name,
            title=info.title or choice.model.name,
            kind=choice.model.kind,
            provider=choice.connection.kind,
            connection=choice.connection.name,
            context_window=info.context_window,
            vision=info.vision,
            tools=info.tools,
            reasoning=info.reasoning,
            country=choice.standing.country,
            clearance_id=choice.standing.clearance.id if choice.standing.clearance else None,
            deprecated=choice.model.deprecated_at is not None,
            default=default,
        )


class PriceOut(Struct, frozen=True, kw_only=True):
    """Millionths of `currency`, for a million tokens unless it says otherwise."""

    id: UUID
    valid_from: datetime
    currency: str
    """US dollars for a provider's list, which counts by the organisation's `usd_rate`; else the organisation's own."""
    input: int
    output: int
    cached_input: int | None
    """Null: as `input`."""
    cache_write: int | None
    """Null: as `input`."""
    request: int
    """For each call."""
    audio_minute: int
    source: str
    """`provider` for the list that its plugin brings, `manual` for what an administrator said."""
    as_of: str
    """The date of that list."""

    @classmethod
    def of(cls, row: ModelPrice) -> PriceOut:
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class PriceCreate(Input, frozen=True, kw_only=True):
    valid_from: Moment | None = None
    """Null: from now on. Not in the past: what was spent stays as it was counted."""
    input: Micros
    output: Micros = 0
    cached_input: Micros | None = None
    cache_write: Micros | None = None
    request: Micros = 0
    audio_minute: Micros = 0


class ModelDetailOut(Struct, frozen=True, kw_only=True):
    """A model as its administrators see it."""

    id: UUID
    name: str
    title: str
    kind: str
    connection_id: UUID
    enabled: bool
    offered: bool
    """Whether the provider still lists it."""
    usable: bool
    """Enabled, offered, and so is its connection."""
    default: bool
    country: str | None
    """Null: as its connection."""
    clearance_id: UUID | None
    """Null: as its connection."""
    context_window: int | None
    max_output_tokens: int | None
    vision: bool
    tools: bool
    reasoning: bool
    json_schema: bool
    retires_on: str | None
    """The day on which the provider takes it away, if its plugin knows."""
    overrides: dict[str, Any]
    """What administrators said instead of the provider."""
    fallback_ids: list[UUID] | None
    """Who answers when it cannot; null: the next by order."""
    deprecated_at: datetime | None
    replacement_id: UUID | None
    price: Price | None
    """What holds now; null: nobody knows, and it is counted at a ceiling."""
    revision: int

    @classmethod
    def of(cls, choice: Choice, *, default: bool) -> ModelDetailOut:
        model, info = choice.model, choice.info
        return cls(
            id=model.id,
            name=model.name,
            title=info.title or model.name,
            kind=model.kind,
            connection_id=model.connection_id,
            enabled=model.enabled,
            offered=model.offered,
            usable=choice.usable,
            default=default,
            country=model.country,
            clearance_id=model.clearance_id,
            context_window=info.context_window,
            max_output_tokens=info.max_output_tokens,
            vision=info.vision,
            tools=info.tools,
            reasoning=info.reasoning,
            json_schema=info.json_schema,
            retires_on=info.retires_on,
            overrides=model.overrides,
            fallback_ids=model.fallback_ids,
            deprecated_at=model.deprecated_at,
            replacement_id=model.replacement_id,
            price=choice.price,
            revision=model.revision,
        )


class Overrides(Input, frozen=True, kw_only=True):
    """What an administrator knows better than the provider; null takes the provider's word again."""

    title: Name | UnsetType | None = UNSET
    context_window: Tokens | UnsetType | None = UNSET
    max_output_tokens: Tokens | UnsetType | None = UNSET
    max_batch: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType | None = UNSET
    vision: bool | UnsetType | None = UNSET
    tools: bool | UnsetType | None = UNSET
    reasoning: bool | UnsetType | None = UNSET
    json_schema: bool | UnsetType | None = UNSET


class ModelUpdate(Input, frozen=True, kw_only=True):
    enabled: bool | UnsetType = UNSET
    default: Literal[True] | UnsetType = UNSET
    """Make it the one that is used where nothing else is chosen."""
    country: Country | UnsetType | None = UNSET
    clearance_id: UUID | UnsetType | None = UNSET
    fallback_ids: Annotated[list[UUID], Meta(max_length=20)] | UnsetType | None = UNSET
    """In order; null: the next by order; empty: nobody."""
    deprecated: bool | UnsetType = UNSET
    replacement_id: UUID | UnsetType | None = UNSET
    overrides: Overrides | UnsetType = UNSET


class ProviderOut(Struct, frozen=True, kw_only=True):
    """A kind of provider that can be connected."""

    kind: str
    title: str
    description: str
    in_process: bool
    """It sends text nowhere."""
    config_schema: dict[str, Any]
    """JSON Schema of its configuration; `writeOnly` fields are secrets."""


class ConnectionOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    kind: str
    config: dict[str, Any]
    """Secrets are masked."""
    enabled: bool
    country: str | None
    clearance_id: UUID | None
    max_concurrent: int | None
    checked_at: datetime | None
    check_code: str | None
    """Code of the error of the last check; null: it worked."""
    check_message: str | None
    state: str
    """`closed` while calls go there, `open` while it is left alone after failures, `half-open` while it is tried."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Connection, config: dict[str, Any], state: str) -> ConnectionOut:
        return cls(
            id=row.id,
            name=row.name,
            kind=row.kind,
            config=config,
            enabled=row.enabled,
            country=row.country,
            clearance_id=row.clearance_id,
            max_concurrent=row.max_concurrent,
            checked_at=row.checked_at,
            check_code=row.check_code or None,
            check_message=row.check_message or None,
            state=state,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class ConnectionCheck(Input, frozen=True, kw_only=True):
    kind: Kind
    config: Config = {}


class ConnectionCreate(Input, frozen=True, kw_only=True):
    kind: Kind
    name: Name
    config: Config = {}
    country: Country | None = None
    clearance_id: UUID | None = None
    max_concurrent: AtOnce | None = None


class ConnectionUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    config: Config | UnsetType = UNSET
    """Only the fields to change; a secret that is absent, or comes back masked, stays."""
    enabled: bool | UnsetType = UNSET
    country: Country | UnsetType | None = UNSET
    clearance_id: UUID | UnsetType | None = UNSET
    max_concurrent: AtOnce | UnsetType | None = UNSET


class CheckedModel(Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    title: str


class CheckOut(Struct, frozen=True, kw_only=True):
    """How a try went."""

    ok: bool
    code: str | None
    """Code of the error."""
    field: str | None
    """The field of the configuration that must change, as `config.api_key`, if it is known to be that one."""
    message: str
    models: list[CheckedModel]
    """What it offers."""
    tried: str | None
    """The model that was asked something, to be sure."""
    milliseconds: int | None
    """Until its first word."""


class ModelCheckOut(Struct, frozen=True, kw_only=True):
    ok: bool
    code: str | None
    message: str
    milliseconds: int | None


class WayOut(Struct, frozen=True, kw_only=True):
    """One model, and whether text may go there."""

    model_id: UUID
    name: str
    provider: str
    connection: str
    country: str | None
    allowed: bool
    reason: str | None
    """Why not."""


class EgressWay(Struct, frozen=True, kw_only=True):
    purpose: str
    """`answers`, `embeddings`, `reranking`, `transcription`, `titles`, `web search` or `tools`."""
    first: UUID | None
    """The model that would be called where nothing else is chosen; null: nothing is sent."""
    note: str
    """What happens, in words."""
    models: list[WayOut]


class EgressOut(Struct, frozen=True, kw_only=True):
    """Where text of a space could go. Nothing was sent to find out."""

    data_class_id: UUID | None
    data_class: str | None
    """The class that counts; null: none is set and there is no default."""
    ways: list[EgressWay]
