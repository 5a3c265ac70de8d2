"""How often a model is asked again, how long in between, and how long it may be silent."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from folkmoot_sdk import ChatEvent, ProviderError, RateLimited, Unavailable

from folkmoot.ai.guard import guarded
from folkmoot.kit.log import get_logger

log = get_logger(__name__)

ATTEMPTS = 3
"""Of the last model of a route; those before it are tried twice, since somebody else can answer."""
FIRST_EVENT_SECONDS = 120.0
IDLE_SECONDS = 60.0
PAUSE_SECONDS = 0.6
"""About how long before the second attempt; twice as long before the third."""
LOOK_SECONDS = 1.0
MOST_PATIENCE = 30.0
"""A provider that asks for more is left alone."""
SHORT_PATIENCE = 2.0
"""The same, where another model can answer."""


class Attempts:
    """How often one model is asked, and how long in between."""

    def __init__(self, model: str, *, last: bool) -> None:
        self._model, self._last = model, last
        self._made = 1

    async def again(self, error: ProviderError) -> bool:
        """Wait, if asking again may help; False if not."""
        most = ATTEMPTS if self._last else ATTEMPTS - 1
        if not error.retryable or self._made >= most:
            return False
        wanted = (error.retry_after or 0.0) if isinstance(error, RateLimited) else 0.0
        if math.isnan(wanted):
            wanted = 0.0
        if wanted > (MOST_PATIENCE if self._last else SHORT_PATIENCE):
            return False
        pause = max(wanted, PAUSE_SECONDS * 2 ** (self._made - 1) * random.uniform(0.5, 1.5))
        log.warning("provider.retry", model=self._model, attempt=self._made, error=error.code, seconds=round(pause, 2))
        self._made += 1
        await asyncio.sleep(pause)
        return True


async def timed(
    chat: Callable[[], AsyncIterator[ChatEvent]], model: str, secrets: Sequence[str] = ()
) -> AsyncGenerator[ChatEvent]:
    """The events that a plugin's `chat` gives, with a limit on the silence before the first and between any two.

    One timer looks now and then when the last event came: a time-out of its own around each of a hundred
    tokens a second would cost more than reading them.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    last, limit, waiting, silent = loop.time(), FIRST_EVENT_SECONDS, True, False

    def look() -> None:
        nonlocal silent, timer
        if waiting and loop.time() - last > limit and task is not None:
            silent = True
            task.cancel()
            return
        timer = loop.call_later(LOOK_SECONDS, look)

    timer = loop.call_later(LOOK_SECONDS, look)
    events: AsyncIterator[ChatEvent] | None = None
    try:
        with guarded(model, secrets):
            events = chat()
            async for event in events:
                limit, waiting = IDLE_SECONDS, False
                yield event
                last, waiting = loop.time(), True
    except asyncio.CancelledError:
        if not silent or (task is not None and task.uncancel() > 0):
            raise
        raise Unavailable(f"{model} was silent for {limit:.0f} seconds") from None
    finally:
        timer.cancel()
        close = getattr(events, "aclose", None)
        if close is not None:
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - the answer is over, however the plugin takes that
                log.error("provider.not_closed", model=model, error=type(error).__name__)
