"""One Text Embeddings Inference server: one model, which embeds or reranks.

Its own API, since only that one can be told not to cut a text short.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import httpx
import msgspec
from folkmoot_sdk import (
    BadResponse,
    ContextTooLong,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    PluginContext,
    ProviderError,
    Ranked,
    RerankRequest,
    Unavailable,
)
from folkmoot_sdk.http import ApiKey, Asked, Said, Service

from folkmoot_provider_local import TeiConfig, names
from folkmoot_provider_local.addresses import local_address, not_this
from folkmoot_provider_local.ranks import Rank, in_order

_PRODUCT = "Text Embeddings Inference"
_EXAMPLE = "http://localhost:8080"
_ENDINGS = ("/embed", "/rerank", "/info", "/v1/embeddings", "/v1")
_LIMIT = 256 * 1024 * 1024
_REMEMBER_SECONDS = 60.0
T = TypeVar("T")


class Info(msgspec.Struct):
    """What `/info` tells."""

    model_id: str
    model_type: dict[str, Any] | str
    """`{"embedding": {"pooling": "mean"}}`, `{"reranker": …}` or `{"classifier": …}`."""
    max_input_length: int | None = None
    max_batch_tokens: int | None = None
    max_client_batch_size: int | None = None

    @property
    def kind(self) -> str:
        """`embedding`, `reranker`, or whatever else it is and we have no use for."""
        if isinstance(self.model_type, str):
            return self.model_type
        kind, more = next(iter(self.model_type.items()), ("unknown", None))
        sparse = isinstance(more, dict) and cast("dict[str, Any]", more).get("pooling") == "splade"
        return "sparse embedding" if sparse else kind

    @property
    def batch(self) -> int:
        """Most texts of one call; 32 is the default of the server."""
        return max(1, self.max_client_batch_size or 32)


_info_decoder = msgspec.json.Decoder(Info)
_vectors_decoder = msgspec.json.Decoder(list[list[float]])
_ranks_decoder = msgspec.json.Decoder(list[Rank])


class Tei:
    """Follows `Embedder` and `Reranker`; its one model is the one or the other."""

    def __init__(self, config: TeiConfig, context: PluginContext) -> None:
        self._config = config
        self._clock = context.clock
        self._service = Service(
            context,
            local_address(config.base_url, _PRODUCT, _EXAMPLE, _ENDINGS),
            ApiKey(config.api_key),
            silence_limit=config.silence_limit,
            rules=(_rule,),
        )
        self._known: tuple[float, Info] | None = None

    async def models(self) -> list[ModelInfo]:
        """The one model. Raises `ProviderError`."""
        try:
            info = await self._ask_info()
        except (InvalidRequest, BadResponse) as error:
            raise not_this(self._service.where, _PRODUCT, _EXAMPLE, error) from None
        if info.kind not in ("embedding", "reranker"):
            raise InvalidRequest(
                f"{self._service.where} runs {info.model_id!r}, a {info.kind} model, which is of no use here: give "
                "the address of a server with a model that embeds or reranks",
                field="base_url",
            )
        described = names.describe(
            info.model_id,
            "embedding" if info.kind == "embedding" else "rerank",
            context_window=info.max_input_length,
            max_batch=info.batch,
        )
        return [msgspec.structs.replace(described, max_batch_tokens=info.max_batch_tokens)]

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order; more than a batch goes in several requests. Raises `ProviderError`."""
        if not request.texts:
            return Embeddings([])
        info = await self._serving(request.model, "embedding")
        more, prefix = self._prompt(info, request)
        vectors: list[list[float]] = []
        tokens = 0
        for start in range(0, len(request.texts), info.batch):
            texts = [prefix + (text if text.strip() else " ") for text in request.texts[start : start + info.batch]]
            body = {"inputs": texts, "truncate": False, "normalize": True, **more}
            async with self._open("POST", "/embed", body, request.model) as response:
                counted = response.headers.get("x-compute-tokens", "")
                got = self._read(await self._whole(response, request.model), _vectors_decoder, "vectors")
            if len(got) != len(texts) or not all(got):
                raise BadResponse(f"{self._service.where} sent {len(got)} vectors for {len(texts)} texts: ask again")
            vectors += got
            tokens += int(counted) if counted.isascii() and counted.isdigit() and len(counted) < 10 else 0
        if len({len(vector) for vector in vectors}) > 1:
            raise BadResponse(f"{self._service.where} sent vectors of different lengths for {request.model!r}")
        return Embeddings(vectors, tokens or None)

    async def rerank(self, request: RerankRequest) -> list[Ranked]:
        """Best first; each score is between 0 and 1. Raises `ProviderError`.

        Here a text that is too long is cut by the server: its beginning is enough to rank it by.
        """
        if not request.texts:
            return []
        info = await self._serving(request.model, "reranker")
        ranked: list[Ranked] = []
        for start in range(0, len(request.texts), info.batch):
            texts = request.texts[start : start + info.batch]
            body = {"query": request.query, "texts": texts, "truncate": True, "raw_scores": False}
            async with self._open("POST", "/rerank", body, request.model) as response:
                got = self._read(await self._whole(response, request.model), _ranks_decoder, "ranks")
            ranked += [Ranked(start + one.index, one.score) for one in in_order(got, len(texts), self._service.where)]
        return sorted(ranked, key=lambda one: -one.score)

    def _prompt(self, info: Info, request: EmbedRequest) -> tuple[dict[str, Any], str]:
        """What goes beside the texts, and what stands before each."""
        config, query = self._config, request.purpose == "query"
        more: dict[str, Any] = {} if request.dimensions is None else {"dimensions": request.dimensions}
        name = (config.query_prompt_name if query else config.document_prompt_name).strip()
        if name:
            return more | {"prompt_name": name}, ""
        prefix = config.query_prefix if query else config.document_prefix
        return more, names.prefix(info.model_id, request.purpose) if prefix is None else prefix

    async def _serving(self, model: str, kind: str) -> Info:
        """What the server runs, as it said within the last minute. Raises `ModelNotFound` if it is another model.

        The server takes no model's name: after a change it would put vectors of one model among those of another.
        """
        now = self._clock.monotonic()
        if self._known is None or now - self._known[0] > _REMEMBER_SECONDS:
            self._known = (now, await self._ask_info())
        info = self._known[1]
        if info.model_id != model or info.kind != kind:
            self._known = None
            raise ModelNotFound(
                f"{self._service.where} runs {info.model_id!r} ({info.kind}), not {model!r}: refresh the model list"
            )
        return info

    async def _ask_info(self) -> Info:
        async with self._open("GET", "/info", None, "") as response:
            return self._read(await self._whole(response, ""), _info_decoder, "a description of its model")

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: object, model: str) -> AsyncGenerator[httpx.Response]:
        async with self._service.open(method, path, json=body, asked=Asked(model)) as response:
            yield response

    async def _whole(self, response: httpx.Response, model: str) -> bytes:
        return await self._service.whole(response, limit=_LIMIT, asked=Asked(model))

    def _read(self, raw: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(f"{self._service.where} sent something else than {what}") from None


def _rule(status: int, said: Said) -> type[ProviderError] | None:
    """TEI says 413 for whatever does not fit, and 424 both for a model that cannot and for one that broke."""
    if status == 413:
        return ContextTooLong if "must have less than" in said.all else InvalidRequest
    if status == 424:
        return InvalidRequest if "model is not" in said.all else Unavailable
    return None
