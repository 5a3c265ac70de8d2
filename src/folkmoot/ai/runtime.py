"""The one door to models: who answers a call, retries before the first event only, fallbacks, limits, and the bill.

A connection to a provider lives as long as the process and its row stay as they are. Nothing here holds a
database connection while a provider talks. What a call costs is reserved before it and settled after it, however it
ends, so nobody who calls a model can forget to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ChatEvent,
    ChatModel,
    ChatRequest,
    ContextTooLong,
    Embedder,
    Embeddings,
    EmbedRequest,
    Finish,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    Ranked,
    RateLimited,
    Reranker,
    RerankRequest,
    Transcriber,
    TranscribeRequest,
    Transcript,
    Unavailable,
    Usage,
)

from folkmoot.ai.attempts import FIRST_EVENT_SECONDS, MOST_PATIENCE, Attempts, timed
from folkmoot.ai.batch import Batcher
from folkmoot.ai.breaker import Breaker
from folkmoot.ai.counting import count
from folkmoot.ai.guard import guarded
from folkmoot.ai.meter import Meter, counted, expected, tokens_of
from folkmoot.ai.open import OpenConnections, OpenModel
from folkmoot.ai.route import Choice, Route
from folkmoot.ai.slots import Busy, Slots
from folkmoot.kit.log import get_logger
from folkmoot.usage.ledger import Account, Ledger

log = get_logger(__name__)
T = TypeVar("T")

SLOT_SECONDS = 20.0
"""How long a call waits for its turn at a connection with a limit of calls at the same time."""
SHORT_SLOT_SECONDS = 2.0
"""The same, where another model can answer."""
ELSEWHERE = (AuthenticationFailed, QuotaExhausted, ModelNotFound)
"""Asking the same provider again cannot help, asking another may."""
ACCOUNT = (AuthenticationFailed.code, QuotaExhausted.code)


@dataclass(frozen=True)
class Answering:
    """The model that answers; comes once, before its first event."""

    model: OpenModel


Build = Callable[[ModelInfo], ChatRequest]
"""The request for one model: how much fits depends on who answers."""


@dataclass(frozen=True)
class Embedded:
    model: OpenModel
    vectors: list[list[float] | ProviderError]
    """One for each text, in order: its vector, or why this text alone was refused."""
    input_tokens: int
    estimated: bool = False
    """Whether the tokens are our estimate, since the provider gave none."""

    def whole(self) -> list[list[float]]:
        """The vectors. Raises the `ProviderError` of the first text that was refused."""
        out: list[list[float]] = []
        for vector in self.vectors:
            if isinstance(vector, ProviderError):
                raise vector
            out.append(vector)
        return out


class Runtime:
    """Opens models and calls them. Lives as long as the process."""

    def __init__(
        self,
        connections: OpenConnections,
        ledger: Ledger,
        breaker: Breaker,
        slots: Slots,
        batcher: Batcher,
    ) -> None:
        self.connections = connections
        self._ledger, self._breaker, self._slots, self._batcher = ledger, breaker, slots, batcher

    async def chat(self, route: Route, account: Account, build: Build) -> AsyncGenerator[ChatEvent | Answering]:
        """The events of an answer: `Answering`, then the model's own, `Finish` last.

        Closing the iterator closes the request to the provider. Raises `ProviderError` of the last model that was
        tried, and `TooManyRequests` (`budget-exhausted`) before anything is sent.
        """
        shortest = 0
        failure: ProviderError | None = None
        for choice, last in _in_order(route):
            if isinstance(failure, ContextTooLong) and (choice.info.context_window or 0) <= shortest:
                continue
            begun = False
            try:
                async with aclosing(self._chat_one(route, choice, account, build, last=last)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except ProviderError as error:
                if begun or not _may_go_elsewhere(error):
                    raise
                failure, shortest = error, choice.info.context_window or 0
                if not last:
                    log.warning("provider.fallback", model=choice.model.name, error=error.code)
        raise failure or Unavailable("no model answers: try again in a moment")

    async def count(self, route: Route, request: ChatRequest) -> int | None:
        """The tokens of a request as the first model of the route counts them; None if it does not, or not in time.

        Raises what `Route.confirm` raises: the text may go out of the house for it.
        """
        choice = route.first
        if self._breaker.why_not(choice.connection.id)[0] > 0:
            return None
        await route.confirm(choice)
        try:
            return await count(await self.connections.open(choice), request)
        except ProviderError:
            return None  # whoever calls the model hears of it

    async def _chat_one(
        self, route: Route, choice: Choice, account: Account, build: Build, *, last: bool
    ) -> AsyncGenerator[ChatEvent | Answering]:
        model = await self._ready(choice, last=last)
        connection = model.connection
        if not isinstance(connection, ChatModel):
            await self._breaker.let_go(choice.connection.id)
            raise InvalidRequest(f"{model.name} cannot chat: choose another model")
        attempts = Attempts(model.name, last=last)
        while True:
            begun = False
            try:
                request = build(model.info)
                meter = Meter(choice, request)
                async with self._slot(choice, last=last):
                    await route.confirm(choice)
                    reserved = await self._ledger.reserve(account, expected(choice, request))
                    try:
                        chat = partial(connection.chat, request)
                        async with aclosing(timed(chat, model.name, model.secrets)) as events:
                            async for event in events:
                                if not begun:
                                    begun = True
                                    meter.began()
                                    await self._breaker.succeeded(choice.connection.id)
                                    yield Answering(model)
                                told = counted(event) if isinstance(event, Usage) else event
                                meter.see(told)
                                yield told
                                if isinstance(event, Finish):
                                    return
                        raise BadResponse(f"{model.name} stopped without saying that it had finished")
                    except ProviderError as error:
                        meter.failed(error)
                        raise
                    except asyncio.CancelledError:
                        meter.left()
                        raise
                    finally:
                        await _shielded(self._ledger.settle(reserved, meter.spent()))
            except ProviderError as error:
                await self._breaker.failed(choice.connection.id, error)
                if begun or not await self._again(choice, attempts, error):
                    raise
            except BaseException:
                await self._breaker.let_go(choice.connection.id)
                raise

    async def embed(
        self,
        route: Route,
        account: Account,
        texts: list[str],
        *,
        query: bool = False,
        dimensions: int | None = None,
    ) -> Embedded:
        """Vectors for `texts`, in batches as large as the model takes.

        Raises `ProviderError` if the model cannot be reached at all; a text that it refuses fails alone.
        """
        choice = route.first
        model = await self._ready(choice, last=True)
        if not isinstance(model.connection, Embedder):
            await self._breaker.let_go(choice.connection.id)
            raise InvalidRequest(f"{model.name} cannot embed: choose another model")
        meter = Meter(choice, texts=texts)
        turn = _InTurn(model.connection, partial(self._slot, choice, last=True), model)
        try:
            reserved = await self._ledger.reserve(account, expected(choice, texts=texts))
            try:
                outcome = await self._batcher.embed(
                    f"{choice.connection.id}:{choice.connection.revision}",
                    model.name,
                    turn,
                    texts,
                    max_batch=model.info.max_batch or 64,
                    max_tokens=model.info.max_batch_tokens,
                    purpose="query" if query else "document",
                    dimensions=dimensions,
                )
                refused = [vector for vector in outcome.vectors if isinstance(vector, ProviderError)]
                if refused and len(refused) == len(texts):
                    raise refused[0]
                meter.embedded(sum(outcome.tokens), estimated=outcome.estimated)
            except ProviderError as error:
                meter.failed(error)
                raise
            except asyncio.CancelledError:
                if turn.sent:
                    meter.left()
                raise
            finally:
                await _shielded(self._ledger.settle(reserved, meter.spent()))
        except ProviderError as error:
            await self._breaker.failed(choice.connection.id, error)
            raise
        except BaseException:
            await self._breaker.let_go(choice.connection.id)
            raise
        await self._breaker.succeeded(choice.connection.id)
        return Embedded(model, outcome.vectors, sum(outcome.tokens), outcome.estimated)

    async def rerank(self, route: Route, account: Account, query: str, texts: list[str]) -> list[Ranked]:
        """The texts by how well they answer the query, best first. Raises `ProviderError`."""

        async def ask(model: OpenModel, meter: Meter) -> list[Ranked]:
            if not isinstance(model.connection, Reranker):
                raise InvalidRequest(f"{model.name} cannot rerank: choose another model")
            ranked = await model.connection.rerank(RerankRequest(model.name, query, tuple(texts)))
            meter.embedded(tokens_of(query) * len(texts) + sum(tokens_of(text) for text in texts), estimated=True)
            if len({item.index for item in ranked}) != len(ranked) or any(
                not 0 <= item.index < len(texts) for item in ranked
            ):
                raise BadResponse(f"{model.name} ranks texts that it was not given")
            return ranked

        # The query counts with each text.
        return await self._once(route, account, [*[query] * len(texts), *texts], ask)

    async def transcribe(
        self, route: Route, account: Account, request: TranscribeRequest
    ) -> tuple[OpenModel, Transcript]:
        """Speech to text; `request.model` is filled in. Raises `ProviderError`."""

        async def ask(model: OpenModel, meter: Meter) -> tuple[OpenModel, Transcript]:
            if not isinstance(model.connection, Transcriber):
                raise InvalidRequest(f"{model.name} cannot transcribe: choose another model")
            told = await model.connection.transcribe(msgspec.structs.replace(request, model=model.name))
            meter.heard(told)
            return model, told

        return await self._once(route, account, [], ask, audio=len(request.audio))

    async def _once(
        self,
        route: Route,
        account: Account,
        texts: list[str],
        ask: Callable[[OpenModel, Meter], Awaitable[T]],
        audio: int = 0,
    ) -> T:
        """A call that answers all at once, by the first model of the route that can."""
        failure: ProviderError | None = None
        for choice, last in _in_order(route):
            try:
                return await self._once_by(route, choice, account, texts, ask, audio, last=last)
            except ProviderError as error:
                if not _may_go_elsewhere(error):
                    raise
                failure = error
        raise failure or Unavailable("no model answers: try again in a moment")

    async def _once_by(
        self,
        route: Route,
        choice: Choice,
        account: Account,
        texts: list[str],
        ask: Callable[[OpenModel, Meter], Awaitable[T]],
        audio: int,
        *,
        last: bool,
    ) -> T:
        model = await self._ready(choice, last=last)
        attempts = Attempts(model.name, last=last)
        while True:
            meter = Meter(choice, texts=texts, audio=audio)
            try:
                async with self._slot(choice, last=last):
                    await route.confirm(choice)
                    reserved = await self._ledger.reserve(account, expected(choice, texts=texts, audio=audio))
                    try:
                        async with asyncio.timeout(FIRST_EVENT_SECONDS):
                            with guarded(model.name, model.secrets):
                                answer = await ask(model, meter)
                    except TimeoutError:
                        error = Unavailable(f"{model.name} gave no answer in {FIRST_EVENT_SECONDS:.0f} seconds")
                        meter.failed(error)
                        raise error from None
                    except ProviderError as error:
                        meter.failed(error)
                        raise
                    except asyncio.CancelledError:
                        meter.left()
                        raise
                    finally:
                        await _shielded(self._ledger.settle(reserved, meter.spent()))
            except ProviderError as error:
                await self._breaker.failed(choice.connection.id, error)
                if not await self._again(choice, attempts, error):
                    raise
            except BaseException:
                await self._breaker.let_go(choice.connection.id)
                raise
            else:
                await self._breaker.succeeded(choice.connection.id)
                return answer

    async def _ready(self, choice: Choice, *, last: bool) -> OpenModel:
        """Raises `Unavailable` while the connection is left alone after failures.

        Where no other model can answer, a provider that only asked for a little patience gets it, and one that refused
        our account is asked again: it says so quickly, and only it can say that all is well.
        """
        connection = choice.connection
        while not await self._breaker.allow(connection.id):
            seconds, code = self._breaker.why_not(connection.id)
            if last and code in ACCOUNT:
                break
            if not last or code != RateLimited.code or not 0 < seconds <= MOST_PATIENCE:
                raise Unavailable(
                    f"{connection.name} is left alone for a moment after its last failures ({code}): "
                    "try again soon, or choose another model"
                )
            await asyncio.sleep(seconds * random.uniform(1.0, 1.2))
        try:
            return await self.connections.open(choice)
        except BaseException:
            await self._breaker.let_go(connection.id)
            raise

    async def _again(self, choice: Choice, attempts: Attempts, error: ProviderError) -> bool:
        """Wait, if asking the same model again may help; False if not."""
        if isinstance(error, Busy):
            return False
        # Who asks for patience is asked again after it; who is down is left alone by this call too.
        if not isinstance(error, RateLimited) and not await self._breaker.allow(choice.connection.id):
            return False
        again = False
        try:
            again = await attempts.again(error)
        finally:
            if not again:
                await self._breaker.let_go(choice.connection.id)
        return again

    def _slot(self, choice: Choice, *, last: bool) -> AbstractAsyncContextManager[None]:
        wait = SLOT_SECONDS if last else SHORT_SLOT_SECONDS
        return self._slots.taken(choice.connection.id, choice.connection.max_concurrent, wait)


@dataclass
class _InTurn:
    """An embedder each of whose batches waits for its turn at the connection."""

    embedder: Embedder
    slot: Callable[[], AbstractAsyncContextManager[None]]
    model: OpenModel
    """Held for as long as a batch is under way."""
    sent: bool = False

    async def embed(self, request: EmbedRequest) -> Embeddings:
        async with self.slot():
            self.sent = True
            with guarded(self.model.name, self.model.secrets):
                return await self.embedder.embed(request)


def _in_order(route: Route) -> list[tuple[Choice, bool]]:
    """The models of a route, each with whether nobody comes after it."""
    return [(choice, place == len(route.choices)) for place, choice in enumerate(route.choices, start=1)]


def _may_go_elsewhere(error: ProviderError) -> bool:
    """Whether another model may do better. What one provider refuses to say, another is not asked to."""
    return error.retryable or isinstance(error, (*ELSEWHERE, ContextTooLong))


async def _shielded(settling: Awaitable[None]) -> None:
    """To its end, whoever goes away meanwhile: the provider has counted already."""
    task = asyncio.ensure_future(settling)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
