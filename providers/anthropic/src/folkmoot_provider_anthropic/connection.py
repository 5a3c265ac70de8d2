"""One connected service: lists models, chats. Every call is one request, never repeated."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

import httpx
import msgspec
from folkmoot_sdk import (
    BadResponse,
    ChatEvent,
    ChatRequest,
    ContentRefused,
    ContextTooLong,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    PluginContext,
    ProviderError,
    QuotaExhausted,
)
from folkmoot_sdk.http import ApiKey, Asked, Meant, Said, Service, drain, read_address, read_body, read_error

from folkmoot_provider_anthropic import Config
from folkmoot_provider_anthropic.catalogue import describe, preferred, same
from folkmoot_provider_anthropic.events import AnswerReader
from folkmoot_provider_anthropic.request import NO_SAMPLING_SINCE, chat_body, cites, count_body
from folkmoot_provider_anthropic.turns import source_of
from folkmoot_provider_anthropic.wire import Counted, Event, ListedModel, models_decoder, read_event

_ANTHROPIC = (".anthropic.com", ".claude.com")
_PAGE = 1000
"""Models in one page, the most there may be."""
_MOST_PAGES = 20
_LIST_LIMIT = 16 * 1024 * 1024
_COUNT_LIMIT = 64 * 1024

_NOTHING_LEFT = re.compile(r"credit balance|(usage|spend|spending) limits?\b|billing_error")
_TOO_LONG = re.compile(r"prompt is too long|exceeds? (the )?context (limit|window)|input length and `?max_tokens")
_REFUSED = re.compile(r"content filter")
_FIELDS = (("anthropic-version", "version"), ("anthropic-beta", "betas"))
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error inside a stream would have had outside."""


class Connection:
    """Follows `ChatModel` and `TokenCounter`."""

    def __init__(self, config: Config, context: PluginContext) -> None:
        self._config = config
        self._context = context
        self._service = self._at()
        self._is_anthropic = f".{self._service.url.host}".endswith(_ANTHROPIC)

    async def models(self) -> list[ModelInfo]:
        """What the service lists, or what the configuration names. Raises `ProviderError`, with the field to change."""
        named = self._config.chat_models
        try:
            found = {model.id: model for model in await self._listed() if model.id and model.lifecycle != "retired"}
        except InvalidRequest as error:
            if self._is_anthropic or not named or error.field in ("version", "betas"):
                raise
            found = {}  # a gateway without a list
        if named:
            found = {name: self._named(name, found) for name in named}
        native, priced = self._config.native_citations, self._is_anthropic
        return preferred([describe(model, passages=native, priced=priced) for model in found.values()])

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer. Raises `ProviderError`."""
        config = self._config
        body = chat_body(request, version=config.version, cache=config.cache_prompts, native=config.native_citations)
        sources = {source_of(passage): passage.n for passage in request.passages} if cites(request) else {}
        reader = AnswerReader(request.model, sources)
        asked = Asked(request.model, "chat_models" if config.chat_models else None)
        async with self._service.open("POST", "/messages", json=body, asked=asked) as response:
            pieces = response.aiter_bytes()
            try:
                async with aclosing(self._service.events(pieces)) as events:
                    async for data in events:
                        for event in reader.read(self._event(data, asked, reader)):
                            yield event
                        if reader.stopped:
                            break
            except (httpx.HTTPError, httpx.StreamError):
                if reader.stop_reason is None:
                    raise
            if reader.stopped:
                # Before the end is told: whoever hears it may close us, and the connection would go with the response.
                await drain(pieces)
            for event in reader.end():
                yield event

    async def count_tokens(self, request: ChatRequest) -> int:
        """By the service's own count, which costs nothing and has limits of its own. Raises `ProviderError`."""
        config = self._config
        body = chat_body(request, version=config.version, cache=False, native=config.native_citations)
        asked = Asked(request.model, "chat_models" if config.chat_models else None)
        async with self._service.open("POST", "/messages/count_tokens", json=count_body(body), asked=asked) as response:
            raw = await self._service.whole(response, limit=_COUNT_LIMIT, asked=asked)
        try:
            return msgspec.json.decode(raw, type=Counted).input_tokens
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(f"{self._service.where} answers count_tokens with something else than a count") from None

    async def _listed(self) -> list[ListedModel]:
        """All models, page after page."""
        models: list[ListedModel] = []
        after = ""
        for _ in range(_MOST_PAGES):
            service = self._at({"limit": str(_PAGE), **({"after_id": after} if after else {})})
            async with service.open("GET", "/models") as response:
                body = await service.whole(response, limit=_LIST_LIMIT)
            try:
                page = models_decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                page = None
            if page is not None and page.error:
                raise self._inside(read_error({"error": page.error}), Asked())
            if page is None or page.data is None:
                raise BadResponse(
                    f"{service.where} answers /v1/models with something else than a list of models: check the "
                    "connection's address, or name the models in its configuration",
                    field="base_url",
                )
            models += page.data
            if not page.has_more or not page.last_id or page.last_id == after:
                break
            after = page.last_id
        return models

    def _named(self, name: str, listed: Mapping[str, ListedModel]) -> ListedModel:
        """What the service says of a model that the configuration names, by its own name or that of a snapshot."""
        if not listed:
            return ListedModel(name)
        found = listed.get(name) or next((model for model in listed.values() if same(model.id, name)), None)
        if found is None:
            raise ModelNotFound(
                f"{self._service.where} offers no model {name!r}: look at its list, or leave the field empty to "
                "offer all of them",
                field="chat_models",
            )
        return msgspec.structs.replace(found, id=name)

    def _event(self, data: bytes, asked: Asked, reader: AnswerReader) -> Event:
        try:
            event = read_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if reader.stop_reason is not None:
                return Event()
            said = read_body(data)
            if said is not None and (said.sentence or said.codes):
                raise self._inside(said, asked) from None
            raise BadResponse(
                f"{self._service.where} sent something that is not an event of an answer: ask again"
            ) from None
        if event.type == "error" or event.error:
            raise self._inside(read_error({"error": event.error or "an error"}), asked)
        return event

    def _inside(self, said: Said, asked: Asked) -> ProviderError:
        """The error that came under a 200: its type says which status it would have had."""
        status = next((_STATUSES[code] for code in said.codes.split() if code in _STATUSES), said.status)
        return self._service.inside(said._replace(status=status), asked)

    def _at(self, query: dict[str, str] | None = None) -> Service:
        config = self._config
        # Each version of the official client shows the key in its own way, and gateways follow one or the other.
        plain = config.version < NO_SAMPLING_SINCE
        more = {"anthropic-version": config.version, "anthropic-beta": ",".join(config.betas)}
        key = ApiKey(
            config.api_key,
            header="x-api-key" if plain else "authorization",
            prefix="" if plain else "Bearer ",
            more=more,
        )
        return Service(
            self._context,
            _address(config.base_url),
            key,
            query=query,
            silence_limit=config.silence_limit,
            rules=(_kind,),
        )


def _address(given: str) -> str:
    """The service's address with the version, whatever of it was pasted."""
    url = read_address(given)
    path = url.path.rstrip("/").removesuffix("/messages").removesuffix("/v1")
    return str(url.copy_with(path=f"{path}/v1"))


def _kind(status: int, said: Said) -> type[ProviderError] | Meant | None:
    """What Anthropic's failures mean, where the common rules would not know."""
    words = said.all
    if status in (400, 403, 429) and _NOTHING_LEFT.search(words):
        return QuotaExhausted
    if status == 400:
        if _TOO_LONG.search(words):
            return ContextTooLong
        if _REFUSED.search(words):
            return ContentRefused
        field = next((field for header, field in _FIELDS if header in words), None)
        return Meant(InvalidRequest, field) if field else None
    if status == 404:
        # "model: claude-…" for a model, "Not found" for an address.
        return ModelNotFound if "model" in said.sentence.lower() else InvalidRequest
    return None
