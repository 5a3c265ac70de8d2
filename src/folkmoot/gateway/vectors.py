"""`/v1/embeddings`: vectors for texts."""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Literal

from folkmoot_sdk import BadResponse
from msgspec import Meta

from folkmoot.ai.runtime import Embedded, Runtime
from folkmoot.gateway.answers import EmbeddingData, EmbeddingList, EmbeddingUsage
from folkmoot.gateway.complete import account_of, choose
from folkmoot.gateway.errors import Refused
from folkmoot.gateway.schemas import ModelId
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.structs import Struct

MOST_TEXTS = 2_048


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    model: ModelId
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=MOST_TEXTS)]
    )
    """A text, or several. Tokens are refused: models do not share them."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    input_type: str | None = None
    """`query` for a question that looks for texts; some models embed it otherwise."""


async def embed(app: App, principal: Principal, sent: EmbeddingRequest) -> EmbeddingList:
    """Raises `Refused`, what `choose` raises, and `ProviderError`."""
    texts = _texts(sent)
    _, route = await choose(app, principal, sent.model, "embedding")
    found = await app.part(Runtime).embed(
        route,
        account_of(principal),
        texts,
        query=sent.input_type in ("query", "search_query"),
        dimensions=sent.dimensions,
    )
    return EmbeddingList(
        data=_data(found, packed=sent.encoding_format == "base64"),
        model=sent.model,
        usage=EmbeddingUsage(prompt_tokens=found.input_tokens, total_tokens=found.input_tokens),
    )


def _texts(sent: EmbeddingRequest) -> list[str]:
    given = [sent.input] if isinstance(sent.input, str) else sent.input
    texts: list[str] = []
    for number, text in enumerate(given):
        if not isinstance(text, str):
            raise Refused("input", "tokens are not read here, as models do not share them: send texts")
        if not text:
            raise Refused(f"input[{number}]", "an empty text has no vector: leave it out")
        texts.append(text)
    return texts


def _data(found: Embedded, *, packed: bool) -> list[EmbeddingData]:
    vectors = found.whole()
    if not packed:
        return [EmbeddingData(index=number, embedding=vector) for number, vector in enumerate(vectors)]
    try:
        return [EmbeddingData(index=number, embedding=pack(vector)) for number, vector in enumerate(vectors)]
    except (OverflowError, struct.error):
        raise BadResponse(f"{found.model.name} gave a vector with numbers that no vector has") from None


def pack(vector: list[float]) -> str:
    """32-bit floats, little-endian, in base64: what OpenAI's clients ask for unless told otherwise.

    Raises `OverflowError` for a number that is too large for that.
    """
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
