"""Texts to embed, gathered from all who want some into batches as full as the model takes.

Each kind of call (connection, model, purpose, dimensions) has a lane of its own. Knows nothing of tenants or money:
the key of a call keeps apart what must not be mixed.
"""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot_sdk import Embedder

from folkmoot.ai.lane import BatchOutcome, Call, Lane, Patience, Purpose

MOST_LANES = 1_000


class Batcher:
    """Lives as long as the process."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._lanes: dict[tuple[object, ...], Lane] = {}
        self._queries: set[Lane] = set()

    async def embed(
        self,
        key: str,
        model_name: str,
        embedder: Embedder,
        texts: Sequence[str],
        *,
        max_batch: int,
        max_tokens: int | None,
        purpose: Purpose = "document",
        dimensions: int | None = None,
    ) -> BatchOutcome:
        """A vector for each text, or the `ProviderError` that it meets.

        Calls with the same key, model, purpose and dimensions share batches of at most `max_batch` texts and
        `max_tokens` tokens. A query never waits for others. No `ProviderError` is raised; what a defect of the
        provider's plugin raises is raised as it is.
        """
        if not texts:
            return BatchOutcome([], [], estimated=False)
        lane = self._lane(key, model_name, purpose, dimensions)
        call = Call(embedder, texts)
        lane.add(call, max(1, max_batch), max_tokens)
        try:
            return await call.outcome
        except BaseException:
            lane.left()
            raise
        finally:
            self._queries.discard(lane)

    async def close(self) -> None:
        """Break off what is under way."""
        for lane in [*self._lanes.values(), *self._queries]:
            await lane.close()

    def _lane(self, key: str, model: str, purpose: Purpose, dimensions: int | None) -> Lane:
        if purpose == "query":
            lane = Lane(model, purpose, dimensions, self._patience)
            self._queries.add(lane)
            return lane
        name = (key, model, dimensions)
        if name not in self._lanes:
            if len(self._lanes) >= MOST_LANES:
                self._lanes = {each: lane for each, lane in self._lanes.items() if not lane.idle}
            self._lanes[name] = Lane(model, purpose, dimensions, self._patience)
        return self._lanes[name]
