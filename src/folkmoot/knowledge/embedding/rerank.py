"""Putting the best passages into order by a model that reads question and passage together.

It is done where the organisation has a reranking model that may see the text, and left out where it has none, where the
model fails, or where it takes too long: then the order of the search stays.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from uuid import UUID

from folkmoot_sdk import ProviderError, Ranked

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.log import get_logger
from folkmoot.knowledge.chunk import reach
from folkmoot.knowledge.embedding import tokens
from folkmoot.usage.ledger import Account

log = get_logger(__name__)
MOST = 30
"""Passages that are worth reading again; those after them seldom come first."""
SECONDS = 3.0
"""How long a search waits for it."""
USUAL_ROOM = 400
"""Tokens of a passage, for a model that does not say how much it reads."""


async def rerank(
    app: App, account: Account, class_ids: Sequence[UUID | None], query: str, texts: Sequence[str]
) -> list[float] | None:
    """How well each of the first `MOST` texts answers the query, from 0 to 1; None: leave the order as it is.

    `class_ids` are of all that the texts come from, and of where it is asked. Raises nothing: searching goes on.
    """
    texts = texts[:MOST]
    if len(texts) < 2:
        return None
    snapshot = await app.part(Catalogue).of(account.tenant_id, classes=class_ids)
    if not snapshot.usable("rerank"):
        return None
    try:
        route = snapshot.route("rerank", snapshot.text_of(class_ids))
        # All that may answer in its place read the same.
        room = min(tokens.room(choice.info, None) or USUAL_ROOM for choice in route.choices)
        asked = query[: reach(query, 0, room // 2)]
        cut = [text[: reach(text, 0, room - room // 2)] for text in texts]
        async with asyncio.timeout(SECONDS):
            ranked = await app.part(Runtime).rerank(route, account, asked, cut)
    except AppError as error:
        log.info("search.not_reranked", error=error.code)
        return None
    except (ProviderError, TimeoutError) as error:
        log.warning("search.not_reranked", error=type(error).__name__)
        return None
    return scores(ranked, len(texts))


def scores(ranked: Sequence[Ranked], count: int) -> list[float] | None:
    """From 0 to 1, in the order of the texts; None if they say nothing.

    Some models give probabilities, others what comes before their sigmoid; what is beyond 0 to 1 is put through it.
    A text that the model left out counts as the least of those that it named.
    """
    if not ranked or not all(math.isfinite(item.score) for item in ranked):
        return None
    raw = any(not 0.0 <= item.score <= 1.0 for item in ranked)
    known = {item.index: _sigmoid(item.score) if raw else item.score for item in ranked}
    least = min(known.values())
    return [known.get(place, least) for place in range(count)]


def _sigmoid(value: float) -> float:
    value = max(-60.0, min(60.0, value))
    return 1.0 / (1.0 + math.exp(-value))
