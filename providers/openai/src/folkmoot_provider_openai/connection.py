"""One connected service: lists models, chats, embeds. Every call is one request, never repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
import msgspec
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ModelInfo,
    PluginContext,
    ProviderError,
    Unavailable,
)

from folkmoot_provider_openai import Config, catalogue
from folkmoot_provider_openai.events import AnswerReader
from folkmoot_provider_openai.failures import Said, cleaned, failure, inside_answer, read_body, read_error
from folkmoot_provider_openai.request import chat_body
from folkmoot_provider_openai.sse import LINE_LIMIT, EventParser, TooLong
from folkmoot_provider_openai.wire import Chunk, chunk_decoder, encoder, models_decoder, vectors_decoder

_DONE = b"[DONE]"
_ERROR_BODY_LIMIT = 64 * 1024
_WHOLE_BODY_LIMIT = 256 * 1024 * 1024
_DRAIN_SECONDS = 0.05


class Connection:
    """Follows `ChatModel` and `Embedder`."""

    def __init__(self, config: Config, context: PluginContext) -> None:
        self._config = config
        self._context = context
        self._url = _base(config.base_url)
        self._where = self._url.netloc.decode("ascii", "replace")
        self._is_openai = self._url.host == "openai.com" or self._url.host.endswith(".openai.com")
        self._key = config.api_key.reveal().strip() if config.api_key else ""
        self._max_batch = 256 if self._is_openai else 32

    async def models(self) -> list[ModelInfo]:
        """Raises `ProviderError`. Asks nobody if the configuration names the models."""
        config = self._config
        if config.chat_models or config.embedding_models:
            names = [*(("chat", n) for n in config.chat_models), *(("embedding", n) for n in config.embedding_models)]
            return [
                catalogue.describe(name, kind, max_batch=self._max_batch)  # pyright: ignore[reportArgumentType]
                for kind, name in dict.fromkeys(names)
            ]
        async with self._send("GET", "/models", None) as response:
            body = await self._whole(response, model="")
        try:
            listed = models_decoder.decode(body)
        except (msgspec.DecodeError, RecursionError):
            raise BadResponse(
                f"{self._where} answers /models with something else than a list of models: check the "
                "connection's address, or name the models in its configuration"
            ) from None
        models: dict[str, ModelInfo] = {}
        for model in listed if isinstance(listed, list) else listed.data:
            kind = "embedding" if model.type == "embedding" else catalogue.kind_of(model.id)
            sizes = (model.context_length, model.context_window, model.max_model_len, model.max_context_length)
            context = next((size for size in sizes if isinstance(size, int) and size > 0), None)
            if kind is not None and model.id:
                models[model.id] = catalogue.describe(model.id, kind, max_batch=self._max_batch, context=context)
        # Transcription is not offered: this connection is no Transcriber.
        return catalogue.preferred([model for model in models.values() if model.kind != "transcription"])

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer. Raises `ProviderError`."""
        body = chat_body(request, is_openai=self._is_openai, stream_usage=self._config.stream_usage)
        reader = AnswerReader()
        async with self._send("POST", "/chat/completions", body, model=request.model) as response:
            pieces = response.aiter_bytes()
            done = False
            try:
                async with aclosing(self._events(pieces)) as events:
                    async for data in events:
                        if data == _DONE:
                            done = True
                            break
                        for event in reader.read(self._chunk(data, request.model, reader)):
                            yield event
            except (httpx.HTTPError, httpx.StreamError):
                if reader.finish_reason is None:
                    raise
            for event in reader.end():
                yield event
            if done:
                await self._drain(pieces)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order; more than a batch goes in several requests. Raises `ProviderError`."""
        known = catalogue.embedding(request.model)
        prefix = known.query if request.purpose == "query" else known.document
        vectors: list[list[float]] = []
        tokens: int | None = None
        for start in range(0, len(request.texts), self._max_batch):
            # OpenAI refuses a whole batch for one empty text.
            batch = request.texts[start : start + self._max_batch]
            texts = [prefix + (text if text.strip() else " ") for text in batch]
            body: dict[str, Any] = {"model": request.model, "input": texts, "encoding_format": "float"}
            if request.dimensions is not None:
                body["dimensions"] = request.dimensions
            got, counted = await self._embed_batch(body, request.model)
            vectors += got
            tokens = counted if tokens is None else tokens + (counted or 0)
        if len({len(vector) for vector in vectors}) > 1:
            raise BadResponse(f"{self._where} sent vectors of different lengths for {request.model!r}")
        return Embeddings(vectors, tokens)

    async def _embed_batch(self, body: dict[str, Any], model: str) -> tuple[list[list[float]], int | None]:
        async with self._send("POST", "/embeddings", body, model=model) as response:
            raw = await self._whole(response, model=model)
        try:
            answer = vectors_decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            raise BadResponse(f"{self._where} answers /embeddings with something else than vectors") from None
        if answer.error:
            raise self._inside(read_error(answer.error), model)
        data = answer.data or []
        indexes = [place if vector.index is None else vector.index for place, vector in enumerate(data)]
        wanted = len(body["input"])
        if sorted(indexes) != list(range(wanted)) or not all(vector.embedding for vector in data):
            raise BadResponse(f"{self._where} sent {len(data)} vectors for {wanted} texts, or misnumbered them")
        ordered = [vector for _, vector in sorted(zip(indexes, (v.embedding for v in data), strict=True))]
        counted = (answer.usage or {}).get("prompt_tokens")
        return ordered, counted if isinstance(counted, int) else None

    async def _events(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The data of each event; a body that is one JSON document counts as one event."""
        parser = EventParser()
        head = b""
        whole: list[bytes] | None = None
        size = 0
        try:
            async for piece in pieces:
                if not head:
                    head = piece.lstrip()[:1]
                    if head in (b"{", b"["):
                        whole = []
                    elif head == b"<":
                        raise BadResponse(
                            f"{self._where} sent a web page in place of an answer: check the connection's address, "
                            "and whether a proxy or a sign-in page stands in between"
                        )
                if whole is None:
                    for data in parser.feed(piece):
                        yield data
                else:
                    size += len(piece)
                    if size > LINE_LIMIT:
                        raise TooLong
                    whole.append(piece)
        except TooLong:
            raise BadResponse(f"{self._where} sent more than {LINE_LIMIT} bytes in one event") from None
        for data in parser.end() if whole is None else [b"".join(whole)]:
            yield data

    def _chunk(self, data: bytes, model: str, reader: AnswerReader) -> Chunk:
        try:
            chunk = chunk_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if reader.finish_reason is not None:
                return Chunk()
            said = read_body(data)
            if said is not None and (said.sentence or said.codes):
                raise self._inside(said, model) from None
            raise BadResponse(f"{self._where} sent something that is not a chunk of an answer") from None
        if chunk.error:
            raise self._inside(read_error({"error": chunk.error}), model)
        if chunk.choices is None and chunk.usage is None and (chunk.object == "error" or chunk.message):
            error = {"message": chunk.message, "code": chunk.code, "type": chunk.type}
            raise self._inside(read_error(error), model)
        return chunk

    @asynccontextmanager
    async def _send(self, method: str, path: str, body: object, *, model: str = "") -> AsyncGenerator[httpx.Response]:
        """An open response that went well; whatever goes wrong while it is open is a `ProviderError`."""
        limit = self._config.silence_limit
        request = self._context.http.build_request(
            method,
            self._url.copy_with(path=self._url.path.rstrip("/") + path),
            headers=self._headers(),
            content=None if body is None else encoder.encode(body),
            timeout=httpx.Timeout(limit, connect=min(10.0, limit)),
        )
        try:
            response = await self._context.http.send(request, stream=True)
            try:
                if not response.is_success:
                    raise await self._refusal(response, model)
                yield response
            finally:
                await response.aclose()
        except httpx.ConnectTimeout:
            raise Unavailable(f"{self._where} does not take the connection: is the service running?") from None
        except httpx.TimeoutException:
            raise Unavailable(f"{self._where} said nothing for {limit:g} s: try again, or raise the limit") from None
        except httpx.DecodingError:
            raise BadResponse(f"{self._where} sent a body that does not unpack: is a proxy in between?") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            fact = cleaned(str(error) or type(error).__name__, self._key)
            raise Unavailable(f"the connection to {self._where} failed: {fact}. Try again later") from None

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "text/event-stream, application/json", "content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        if self._config.organization:
            headers["openai-organization"] = self._config.organization.strip()
        if self._config.project:
            headers["openai-project"] = self._config.project.strip()
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise AuthenticationFailed(
                    f"the {'API key' if name == 'authorization' else name} for {self._where} has characters that "
                    "no key has: copy it again"
                )
        return headers

    async def _refusal(self, response: httpx.Response, model: str) -> ProviderError:
        body = b""
        with suppress(httpx.HTTPError):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _ERROR_BODY_LIMIT:
                    break
        return failure(
            response.status_code,
            response.headers,
            read_body(body),
            where=self._where,
            model=model,
            clock=self._context.clock,
            key=self._key,
        )

    def _inside(self, said: Said, model: str) -> ProviderError:
        return inside_answer(said, where=self._where, model=model, clock=self._context.clock, key=self._key)

    async def _whole(self, response: httpx.Response, *, model: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > _WHOLE_BODY_LIMIT:
                raise BadResponse(f"{self._where} sent more than {_WHOLE_BODY_LIMIT} bytes")
            parts.append(piece)
        body = b"".join(parts)
        if body.lstrip()[:9] == b'{"error":' and (said := read_body(body)):
            raise self._inside(said, model)
        return body

    @staticmethod
    async def _drain(pieces: AsyncIterator[bytes]) -> None:
        """Read to the end of the body, which is nearly always here already.

        A response that is closed before its end takes its connection with it, and the next answer would pay
        for a new one.
        """
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in pieces:
                    pass


def _base(address: str) -> httpx.URL:
    """The service's address without what people paste along with it."""
    text = address.strip()
    for ending in ("/", "/chat/completions", "/embeddings", "/models"):
        text = text.removesuffix(ending)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidRequest(f"{cleaned(address)!r} is not the address of a service: it looks like https://host/v1")
    return url
