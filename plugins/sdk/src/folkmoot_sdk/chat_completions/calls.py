"""The calls of the Chat Completions dialect, over a `Service`.

Each is one request (only `embed` sends several, one a batch), and each raises `ProviderError`. `path` is for
services that put a deployment's name into it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from folkmoot_sdk.chat import ChatEvent, TextDelta
from folkmoot_sdk.chat_completions.events import AnswerReader, count
from folkmoot_sdk.chat_completions.wire import Chunk, ListedModel, chunk_decoder, models_decoder, vectors_decoder
from folkmoot_sdk.errors import BadResponse, InvalidRequest, ModelNotFound, ProviderError
from folkmoot_sdk.http import Asked, Service, drain, read_body, read_error
from folkmoot_sdk.providers import Embeddings, EmbedRequest

_DONE = b"[DONE]"
_LIST_LIMIT = 16 * 1024 * 1024
_VECTORS_LIMIT = 256 * 1024 * 1024


async def stream_chat(
    service: Service, body: dict[str, Any], asked: Asked, *, path: str = "/chat/completions"
) -> AsyncGenerator[ChatEvent]:
    """The events of one answer; `body` as `chat_body` makes it.

    Return this generator from `chat()` as it is: closing it closes the request.
    """
    reader = AnswerReader()
    async with service.open("POST", path, json=body, asked=asked) as response:
        pieces = response.aiter_bytes()
        done = False
        try:
            async with aclosing(service.batches(pieces)) as batches:
                async for batch in batches:
                    events, done, failure = _read(service, batch, asked, reader)
                    for event in events:
                        yield event
                    if failure is not None:
                        raise failure
                    if done:
                        break
        except (httpx.HTTPError, httpx.StreamError):
            if reader.finish_reason is None:
                raise
        if done:
            # Before the end is told: whoever hears it may close us, and the connection would go with the response.
            await drain(pieces)
        for event in reader.end():
            yield event


async def embed(
    service: Service,
    request: EmbedRequest,
    asked: Asked,
    *,
    path: str = "/embeddings",
    batch: int = 256,
    prefix: str = "",
) -> Embeddings:
    """One vector a text, in order. `batch` is the most texts that go in one request; `prefix` stands before each."""
    vectors: list[list[float]] = []
    tokens: int | None = None
    for start in range(0, len(request.texts), batch):
        # OpenAI refuses a whole batch for one empty text.
        texts = [prefix + (text if text.strip() else " ") for text in request.texts[start : start + batch]]
        body: dict[str, Any] = {"model": request.model, "input": texts, "encoding_format": "float"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        got, counted = await _embed_batch(service, path, body, asked)
        vectors += got
        tokens = counted if tokens is None else tokens + (counted or 0)
    if len({len(vector) for vector in vectors}) > 1:
        raise BadResponse(f"{service.where} sent vectors of different lengths for {request.model!r}")
    return Embeddings(vectors, tokens)


async def list_models(service: Service, *, path: str = "/models") -> list[ListedModel]:
    """What the service lists, in its own order. Raises `BadResponse` for an answer that is no list."""
    body = await _list_body(service, path)
    listed = _read_list(body)
    if listed is None:
        raise BadResponse(
            f"{service.where} answers {path} with something else than a list of models: check the "
            "connection's address, or name the models in its configuration",
            field=service.fields.address,
        )
    return listed


async def list_models_if_any(service: Service, *, path: str = "/models") -> list[ListedModel]:
    """As `list_models`, but nothing from a service that has no list. A wrong key and a web page still raise."""
    try:
        body = await _list_body(service, path)
    except InvalidRequest as error:
        if type(error) is not InvalidRequest:
            raise
        return []
    return _read_list(body) or []


def check_named(service: Service, names: Sequence[str], listed: Sequence[ListedModel], field: str) -> None:
    """Raises `ModelNotFound` naming `field` if a model named in the configuration is not on the service's list.

    A list that is empty says nothing. A tag (`:latest`, `:free`) may be on either side, and a row that ends
    in `*` stands for all that begin so.
    """
    known = {model.id for model in listed} | {model.id.split(":", 1)[0] for model in listed}
    stems = tuple(model.id[:-1] for model in listed if model.id.endswith("*"))
    for name in names:
        if listed and name not in known and name.split(":", 1)[0] not in known and not name.startswith(stems):
            raise ModelNotFound(
                f"{service.where} does not list {name!r}: correct the name in {field}, or empty {field} to be "
                "offered what the service lists",
                field=field,
            )


def _read(
    service: Service, batch: Sequence[bytes], asked: Asked, reader: AnswerReader
) -> tuple[list[ChatEvent], bool, ProviderError | None]:
    """(the events in what came together, text that follows on text as one; whether that was all; what went wrong)."""
    events: list[ChatEvent] = []
    done, failure = False, None
    for data in batch:
        if data == _DONE:
            done = True
            break
        try:
            events += reader.read(_chunk(service, data, asked, reader))
        except ProviderError as error:
            failure = error
            break
    if len(events) < 2:
        return events, done, failure
    joined: list[ChatEvent] = []
    said: list[str] = []
    for event in events:
        if isinstance(event, TextDelta):
            said.append(event.text)
            continue
        if said:
            joined.append(TextDelta("".join(said)))
            said = []
        joined.append(event)
    if said:
        joined.append(TextDelta("".join(said)))
    return joined, done, failure


def _chunk(service: Service, data: bytes, asked: Asked, reader: AnswerReader) -> Chunk:
    try:
        chunk = chunk_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if reader.finish_reason is not None:
            return Chunk()
        said = read_body(data)
        if said is not None and (said.sentence or said.codes):
            raise service.inside(said, asked) from None
        raise BadResponse(f"{service.where} sent something that is not a chunk of an answer") from None
    if chunk.error:
        raise service.inside(read_error({"error": chunk.error}), asked)
    bare = chunk.choices is None and chunk.usage is None
    if bare and (chunk.object == "error" or (chunk.message and (chunk.code or "error" in str(chunk.type)))):
        error = {"message": chunk.message, "code": chunk.code, "type": chunk.type}
        raise service.inside(read_error(error), asked)
    return chunk


async def _embed_batch(
    service: Service, path: str, body: dict[str, Any], asked: Asked
) -> tuple[list[list[float]], int | None]:
    async with service.open("POST", path, json=body, asked=asked) as response:
        raw = await service.whole(response, limit=_VECTORS_LIMIT, asked=asked)
    try:
        answer = vectors_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadResponse(f"{service.where} answers {path} with something else than vectors") from None
    if answer.error:
        raise service.inside(read_error(answer.error), asked)
    data = answer.data or []
    indexes = [place if vector.index is None else vector.index for place, vector in enumerate(data)]
    wanted = len(body["input"])
    if sorted(indexes) != list(range(wanted)) or not all(vector.embedding for vector in data):
        raise BadResponse(f"{service.where} sent {len(data)} vectors for {wanted} texts, or misnumbered them")
    ordered = [vector for _, vector in sorted(zip(indexes, (v.embedding for v in data), strict=True))]
    return ordered, count(answer.usage, "prompt_tokens") or count(answer.usage, "total_tokens") or None


async def _list_body(service: Service, path: str) -> bytes:
    async with service.open("GET", path) as response:
        return await service.whole(response, limit=_LIST_LIMIT)


def _read_list(body: bytes) -> list[ListedModel] | None:
    try:
        listed = models_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return [model for model in (listed if isinstance(listed, list) else listed.data) if model.id]
