"""Reranking as Cohere's and Jina's services do it, which vLLM, llama.cpp and Infinity follow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from folkmoot_sdk import BadResponse, Ranked, RerankRequest
from folkmoot_sdk.http import Asked, Service, read_error

_LIMIT = 64 * 1024 * 1024


class Rank(msgspec.Struct):
    index: int
    relevance_score: float | None = None
    score: float | None = None
    """TEI's name for it, and of llama.cpp's for a while."""


class _Answer(msgspec.Struct):
    results: list[Rank] | None = None
    data: list[Rank] | None = None
    """Infinity's name for them, in releases before it had Cohere's."""
    error: msgspec.Raw | None = None


_decoder = msgspec.json.Decoder(_Answer)


async def rerank(service: Service, path: str, request: RerankRequest, *, batch: int) -> list[Ranked]:
    """The texts by how well they answer the query, best first, `batch` of them in a request. Raises `ProviderError`.

    A model scores each text by itself, so scores of several requests can stand beside each other.
    """
    asked = Asked(request.model)
    ranked: list[Ranked] = []
    for start in range(0, len(request.texts), batch):
        texts = request.texts[start : start + batch]
        body = {"model": request.model, "query": request.query, "documents": texts, "return_documents": False}
        async with service.open("POST", path, json=body, asked=asked) as response:
            raw = await service.whole(response, limit=_LIMIT, asked=asked)
        try:
            answer = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadResponse(f"{service.where} answers {path} with something else than ranks") from None
        if answer.error is not None and bytes(answer.error) != b"null":
            raise service.inside(read_error(msgspec.json.decode(answer.error)), asked)
        found = in_order(answer.results or answer.data or [], len(texts), service.where)
        ranked += [Ranked(start + one.index, one.score) for one in found]
    return sorted(ranked, key=lambda one: -one.score)


def in_order(ranks: Sequence[Rank], wanted: int, where: str) -> list[Ranked]:
    """One score for each of `wanted` texts, in the order of the texts. Raises `BadResponse` for anything else."""
    scores: dict[int, float] = {}
    for rank in ranks:
        score = rank.score if rank.relevance_score is None else rank.relevance_score
        if score is not None and math.isfinite(score):
            scores[rank.index] = score
    if len(ranks) != wanted or set(scores) != set(range(wanted)):
        raise BadResponse(f"{where} ranked {len(scores)} texts of {wanted}, or misnumbered them: ask again")
    return [Ranked(index, scores[index]) for index in range(wanted)]
