"""Calls of one kind on their way to a provider, in batches: what goes, when, and what becomes of it.

What did not work goes back to the head of the lane: a batch that came too soon waits there until the provider takes
calls again, and one that the provider refuses comes back as its halves, until the text that it means is alone. So one
place decides how many batches are under way, whatever they have been through.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from folkmoot_sdk import (
    BadResponse,
    Embedder,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ProviderError,
    RateLimited,
    Unavailable,
)

from folkmoot.kit.log import get_logger

log = get_logger(__name__)
Purpose = Literal["document", "query"]

BYTES_PER_TOKEN = 3
"""Fewer than tokenizers take for European languages, and one character of Chinese: an estimate errs upwards."""
LONGEST_GATHERING = 5
"""After so many times the pause without newcomers, a batch leaves even if they keep coming."""
LEARNED_SECONDS = 600.0


@dataclass(frozen=True)
class Patience:
    """How lanes behave; times in seconds."""

    at_once: int = 4
    """Most batches under way in one lane."""
    gather: float = 0.02
    """A batch that is not full leaves when nobody came for so long."""
    tries: int = 3
    """How often a batch is sent that the provider fails at."""
    pause: float = 0.5
    """Before the second try; twice as long before the next, and so on."""
    longest_pause: float = 30.0
    limited: float = 120.0
    """A provider that takes no call for so long has all waiting texts fail."""
    limited_query: float = 10.0
    """The same, where somebody waits for the answer."""
    slow: float = 10.0
    """After it took no more calls, half as many go at once; one more each time that so long nothing was refused."""
    call: float = 120.0
    """Longest time of one call."""
    hopeless: int = 8
    """After so many texts that were refused alone and none that was taken, the shortest one decides for its batch: it
    is likely the request that is refused, and twice as many calls as texts would only say so again."""


@dataclass(frozen=True)
class BatchOutcome:
    vectors: list[list[float] | ProviderError]
    """One for each text, in order: its vector, or why this text has none."""
    tokens: list[int]
    """Of each text, its share of the provider's figures: over all texts of a batch they add up to them exactly."""
    estimated: bool
    """Whether the provider gave no figure for some of the texts."""


def tokens_of(text: str) -> int:
    """About how many tokens a text has, rather too many than too few; at least one."""
    return max(1, math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN))


def shared(total: int, weights: Sequence[int]) -> list[int]:
    """`total` divided by weight into whole numbers that add up to it (the largest-remainder method, Hamilton's)."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_rest[: total - sum(parts)]:
        parts[place] += 1
    return parts


class Call:
    """What one caller waits for."""

    def __init__(self, embedder: Embedder, texts: Sequence[str]) -> None:
        self.embedder = embedder
        self.outcome: asyncio.Future[BatchOutcome] = asyncio.get_running_loop().create_future()
        self.texts = [_Text(self, text, tokens_of(text)) for text in texts]
        self._left = len(self.texts)
        self._estimated = False

    @property
    def gone(self) -> bool:
        return self.outcome.done()

    def filled(self, *, estimated: bool = False) -> None:
        """One of its texts has what it gets."""
        self._estimated |= estimated
        self._left -= 1
        if not self._left and not self.gone:
            vectors, tokens = [text.got for text in self.texts], [text.counted for text in self.texts]
            self.outcome.set_result(BatchOutcome(vectors, tokens, self._estimated))


@dataclass(eq=False)
class _Text:
    call: Call
    text: str
    tokens: int
    """As estimated."""
    got: list[float] | ProviderError = field(default_factory=list[float])
    counted: int = 0

    def taken(self, vector: list[float], tokens: int, *, estimated: bool) -> None:
        self.got, self.counted = vector, tokens
        self.call.filled(estimated=estimated)

    def refused(self, error: ProviderError) -> None:
        self.got = error
        self.call.filled()


@dataclass(eq=False)
class _Split:
    """Halves of a batch that was refused. If both are taken, it was only too large."""

    missing: int = 2


@dataclass(eq=False)
class _Batch:
    texts: list[_Text]
    split: _Split | None = None
    """What it is a half of."""
    rest: list[_Text] = field(default_factory=list["_Text"])
    """Texts that its only one decides for."""
    failures: int = 0
    limits: int = 0
    not_before: float = 0.0
    """Of the loop's clock, as all times here."""
    sent: float = 0.0

    @property
    def all(self) -> list[_Text]:
        return [*self.texts, *self.rest]

    @property
    def gone(self) -> bool:
        return all(text.call.gone for text in self.all)

    def without_gone(self) -> _Batch:
        self.texts = [text for text in self.texts if not text.call.gone]
        self.rest = [text for text in self.rest if not text.call.gone]
        if not self.texts:
            self.texts, self.rest = self.rest, []
        return self


class Lane:
    """All calls of one kind."""

    def __init__(self, model: str, purpose: Purpose, dimensions: int | None, patience: Patience) -> None:
        self._model, self._dimensions, self._patience = model, dimensions, patience
        self._purpose: Purpose = purpose
        self._gather = 0.0 if purpose == "query" else patience.gather
        self._loop = asyncio.get_running_loop()
        self._loose: deque[_Text] = deque()
        self._again: list[_Batch] = []
        self._running: dict[asyncio.Task[Embeddings], _Batch] = {}
        self._max_batch, self._max_tokens = 1, math.inf
        self._learned, self._learned_until = 0, 0.0
        self._at_once, self._more_at, self._halved_at = patience.at_once, 0.0, -math.inf
        self._first_came = self._last_came = self._paused_until = 0.0
        self._limited_since: float | None = None
        self._refused_alone = 0
        self._size: int | None = dimensions
        self._woken: asyncio.Handle | None = None

    @property
    def idle(self) -> bool:
        return not (self._loose or self._again or self._running)

    def add(self, call: Call, max_batch: int, max_tokens: int | None) -> None:
        now = self._loop.time()
        if self.idle:
            # Nobody is left to compare with: the model may be another one by now.
            self._size = self._dimensions
        if not self._loose:
            self._first_came = now
        self._last_came = now
        self._max_batch, self._max_tokens = max_batch, max_tokens or math.inf
        self._loose.extend(call.texts)
        # Not now: whoever else comes in this turn of the loop comes along.
        self._wake_at(now)

    def left(self) -> None:
        """A caller has its outcome, or went away without: then what only it waited for is broken off."""
        self._loose = deque(text for text in self._loose if not text.call.gone)
        for task, batch in self._running.items():
            if batch.gone:
                task.cancel()

    async def close(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        stopping = self._broken_off()
        self._fail([*self._loose, *(text for batch in self._again for text in batch.all)], stopping)
        self._loose.clear()
        self._again.clear()
        await asyncio.gather(*running, return_exceptions=True)
        if self._woken is not None:
            self._woken.cancel()

    def _wake_at(self, moment: float) -> None:
        if self._woken is not None:
            self._woken.cancel()
        self._woken = self._loop.call_at(moment, self._go)

    def _go(self) -> None:
        """Send what may go now, and wake up when more may."""
        self._woken = None
        now = self._loop.time()
        if self._at_once < self._patience.at_once and now >= self._more_at:
            self._at_once, self._more_at = self._at_once + 1, now + self._patience.slow
        self._again = [batch.without_gone() for batch in self._again if not batch.gone]
        while len(self._running) < self._at_once and now >= self._paused_until:
            batch = self._next(now)
            if batch is None:
                break
            batch.sent = now
            task = self._loop.create_task(self._send(batch))
            self._running[task] = batch
            task.add_done_callback(self._done)
        if len(self._running) < self._at_once and not (self._again == [] and not self._loose):
            moments = [batch.not_before for batch in self._again]
            if self._loose:
                moments.append(self._leaves_at())
            self._wake_at(max(min(moments), self._paused_until))

    def _leaves_at(self) -> float:
        return min(self._last_came + self._gather, self._first_came + LONGEST_GATHERING * self._gather)

    def _next(self, now: float) -> _Batch | None:
        for place, batch in enumerate(self._again):
            if batch.not_before <= now:
                return self._again.pop(place)
        if not self._loose:
            return None
        most = min(self._max_batch, self._learned) if now < self._learned_until else self._max_batch
        tokens, count, full = 0, 0, False
        for text in self._loose:
            full = count == most or (count > 0 and tokens + text.tokens > self._max_tokens)
            if full:
                break
            tokens, count = tokens + text.tokens, count + 1
        busy = bool(self._running or self._again)
        if not full and count < most and busy and now < self._leaves_at():
            return None
        taken = [self._loose.popleft() for _ in range(count)]
        self._first_came = self._last_came
        return _Batch(taken)

    async def _send(self, batch: _Batch) -> Embeddings:
        texts = batch.texts
        request = EmbedRequest(self._model, tuple(text.text for text in texts), self._purpose, self._dimensions)
        async with asyncio.timeout(self._patience.call):
            answer = await texts[0].call.embedder.embed(request)
        self._check(answer, len(texts))
        return answer

    def _done(self, task: asyncio.Task[Embeddings]) -> None:
        batch = self._running.pop(task)
        if task.cancelled():
            self._fail(batch.all, self._broken_off())
        else:
            self._judge(batch, task)
        self._wake_at(self._loop.time())

    def _judge(self, batch: _Batch, task: asyncio.Task[Embeddings]) -> None:
        match task.exception():
            case None:
                self._taken(batch, task.result())
            case RateLimited() as error:
                self._limited(batch, error)
            case InvalidRequest() as error:
                self._refused(batch, error)
            case Unavailable() | BadResponse() as error:
                self._failed(batch, error)
            case TimeoutError():
                self._failed(batch, Unavailable(f"{self._model} gave no vectors in {self._patience.call:g} seconds"))
            case ProviderError() as error:
                self._fail(batch.all, error)
            case error:
                for text in batch.all:
                    if not text.call.gone:
                        text.call.outcome.set_exception(error)

    def _broken_off(self) -> Unavailable:
        return Unavailable(f"the call to {self._model} was broken off before its end: try again")

    def _check(self, answer: Embeddings, count: int) -> None:
        """Raises `BadResponse` unless these are vectors that can be stored and compared with those before."""
        if len(answer.vectors) != count:
            raise BadResponse(f"{self._model} gave {len(answer.vectors)} vectors for {count} texts")
        size = self._size or len(answer.vectors[0])
        for vector in answer.vectors:
            if not vector or len(vector) != size:
                raise BadResponse(f"{self._model} gave a vector of {len(vector)} numbers where {size} were due")
            try:
                # One that is not finite makes the sum so, and a sum is twenty times quicker than looking at each.
                finite = math.isfinite(sum(vector))
            except (TypeError, OverflowError):
                finite = False
            if not finite:
                raise BadResponse(f"{self._model} gave a vector with something in it that is not a finite number")
        self._size = size

    def _taken(self, batch: _Batch, answer: Embeddings) -> None:
        told, weights = answer.input_tokens, [text.tokens for text in batch.texts]
        estimated = not isinstance(told, int) or told < 0
        tokens = weights if estimated else shared(told or 0, weights)
        for text, vector, count in zip(batch.texts, answer.vectors, tokens, strict=True):
            text.taken(vector, count, estimated=estimated)
        self._limited_since, self._refused_alone = None, 0
        if batch.split is not None:
            batch.split.missing -= 1
            if not batch.split.missing:
                self._learned, self._learned_until = len(batch.texts), self._loop.time() + LEARNED_SECONDS
        if batch.rest:
            self._again.append(_Batch(batch.rest))

    def _limited(self, batch: _Batch, error: RateLimited) -> None:
        now, patience = self._loop.time(), self._patience
        if batch.sent >= self._halved_at:
            # Those that were under way already when another was refused tell nothing new.
            self._at_once, self._halved_at = max(1, self._at_once // 2), now
        self._more_at = now + patience.slow
        batch.limits += 1
        wait = error.retry_after
        if wait is None or not math.isfinite(wait) or wait < 0:
            wait = min(patience.longest_pause, patience.pause * 2**batch.limits) * random.uniform(0.5, 1.0)
        wait *= random.uniform(1.0, 1.1)
        self._limited_since = self._limited_since or now
        most = patience.limited_query if self._purpose == "query" else patience.limited
        if now + wait > self._limited_since + most:
            waiting = [*batch.all, *(text for other in self._again for text in other.all), *self._loose]
            self._again.clear()
            self._loose.clear()
            self._limited_since = None
            self._fail(waiting, error)
            return
        log.info("embedding.limited", model=self._model, seconds=round(wait, 1), at_once=self._at_once)
        self._paused_until = max(self._paused_until, now + wait)
        self._again.insert(0, batch)

    def _refused(self, batch: _Batch, error: InvalidRequest) -> None:
        texts = batch.texts
        if len(texts) == 1:
            self._refused_alone += 1
            self._fail(batch.all, error)
        elif self._refused_alone >= self._patience.hopeless:
            shortest = min(texts, key=lambda text: text.tokens)
            self._again.insert(0, _Batch([shortest], rest=[text for text in texts if text is not shortest]))
        else:
            half, split = len(texts) // 2, _Split()
            self._again[:0] = [_Batch(texts[:half], split), _Batch(texts[half:], split)]

    def _failed(self, batch: _Batch, error: ProviderError) -> None:
        batch.failures += 1
        if batch.failures >= self._patience.tries:
            self._fail(batch.all, error)
            return
        pause = self._patience.pause * 2 ** (batch.failures - 1) * random.uniform(0.5, 1.5)
        log.info("embedding.again", model=self._model, error=error.code, seconds=round(pause, 2))
        batch.not_before = self._loop.time() + pause
        self._again.append(batch)

    @staticmethod
    def _fail(texts: Iterable[_Text], error: ProviderError) -> None:
        for text in texts:
            text.refused(error)
