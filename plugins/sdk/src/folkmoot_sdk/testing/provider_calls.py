"""What the promises of a model provider are tested with: one ordinary call of each kind, and its failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from folkmoot_sdk.chat import ChatEvent, ChatRequest, Finish, Message, TextDelta, TextPart
from folkmoot_sdk.errors import BadResponse, ProviderError, Unavailable
from folkmoot_sdk.providers import EmbedRequest, ModelKind, ProviderSpec, RerankRequest, TranscribeRequest
from folkmoot_sdk.testing.harness import Handler, SpecConformance, Upstream

JSON = {"content-type": "application/json"}
BROKEN = (BadResponse, Unavailable)


class ProviderCalls(SpecConformance):
    """Base of the kit: what an author says of the provider, and how the kit calls it."""

    spec: ProviderSpec
    chat_model: str | None = None
    """The model to chat with; None if the provider has no chat models."""
    embedding_model: str | None = None
    rerank_model: str | None = None
    transcription_model: str | None = None
    names_fields: bool = False
    """Whether a wrong key must be told by `ProviderError.field`. Set it: people then see which field to correct."""

    def request(self, text: str) -> ChatRequest:
        """A question whose answer depends on `text`."""
        return ChatRequest(model=self.chat_model or "", messages=(Message(role="user", content=(TextPart(text),)),))

    def recording(self) -> TranscribeRequest:
        """A recording that the fake upstream takes."""
        return TranscribeRequest(model=self.transcription_model or "", audio=b"RIFF-made-up", media_type="audio/wav")

    def failures(self) -> dict[str, Handler]:
        """How this upstream words its failures, to replace the kit's plain ones or to add to them.

        Keys: `unauthorized`, `forbidden`, `unknown-model`, `too-long`, `rate-limited`,
        `rate-limited-until` (Retry-After as a date), `quota-exhausted`, `server-error`, `bad-gateway`,
        `overloaded`, `html`, `garbage`, `error-in-200`. `quota-exhausted` and `error-in-200` are tested
        only if they are here, for every service words them in its own way.
        """
        return {}

    def signs_in(self, request: httpx.Request) -> bool:
        """Whether a request only fetches a token: those do not count, and `transport()` always answers them."""
        del request
        return False

    def kinds(self) -> dict[ModelKind, str]:
        """The kinds that are tested, and with which model."""
        named: dict[ModelKind, str | None] = {
            "chat": self.chat_model,
            "embedding": self.embedding_model,
            "rerank": self.rerank_model,
            "transcription": self.transcription_model,
        }
        return {kind: model for kind, model in named.items() if model is not None}

    async def call(self, connection: Any, kind: ModelKind) -> Any:
        """One ordinary call; what it gives."""
        match kind:
            case "chat":
                return await self._drain(connection.chat(self.request("Say hello.")))
            case "embedding":
                return await connection.embed(EmbedRequest(model=self.embedding_model or "", texts=("one",)))
            case "rerank":
                texts = ("a red apple", "snow")
                return await connection.rerank(RerankRequest(model=self.rerank_model or "", query="red", texts=texts))
            case "transcription":
                return await connection.transcribe(self.recording())

    def _upstream(self) -> Upstream | None:
        inner = self.transport()
        return None if inner is None else self._watched(inner)

    def _watched(self, inner: httpx.AsyncBaseTransport) -> Upstream:
        return Upstream(inner, sign_in=self.signs_in, door=self.transport())

    def _answer(self, text: str) -> list[ChatEvent]:
        if self.chat_model is None:
            return [TextDelta("-"), Finish("stop")]

        async def promise() -> list[ChatEvent]:
            async with self.connection(self._upstream()) as connection:
                return await self._drain(connection.chat(self.request(text)))

        return self.run(promise)

    @staticmethod
    async def _drain(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
        return [event async for event in events]

    async def _text(self, events: AsyncIterator[ChatEvent]) -> str:
        return "".join([event.text async for event in events if isinstance(event, TextDelta)])

    async def _use_everything(self) -> None:
        async with self.connection(self.transport()) as connection:
            await connection.models()
            for kind in self.kinds():
                await self.call(connection, kind)

    def _leaves_early(self, leave: Callable[[AsyncIterator[ChatEvent]], object]) -> None:
        upstream = self._upstream()
        if upstream is None or self.chat_model is None:
            return
        upstream.hold = True

        async def promise() -> None:
            async with self.connection(upstream) as connection:
                upstream.closed.clear()
                events = connection.chat(self.request("Say hello."))
                try:
                    async with asyncio.timeout(self.timeout / 4):
                        await anext(events)
                except TimeoutError:
                    raise AssertionError("no event before the upstream's last bytes: chat() must stream") from None
                await leave(events)  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]
                try:
                    async with asyncio.timeout(0.1):
                        await upstream.closed.wait()
                except TimeoutError:
                    raise AssertionError("the upstream request was still open 100 ms after the end") from None

        self.run(promise)

    def _fails(
        self, name: str, plain: Handler | None, *kinds: type[ProviderError], once: bool = False
    ) -> ProviderError | None:
        handler = self.failures().get(name, plain)
        if handler is None:
            return None
        return self._raises(name, httpx.MockTransport(handler), *kinds, once=once)

    def _raises(
        self,
        name: str | None,
        transport: httpx.AsyncBaseTransport,
        *kinds: type[ProviderError],
        of: ModelKind | None = None,
        once: bool = False,
    ) -> ProviderError | None:
        """The error of a call over `transport`; with a name, that it came and is one of `kinds` is asserted.

        The call is `of` a kind, or else of the first kind that is tested.
        """
        kind = of or next(iter(self.kinds()), None)
        if kind is None or self.transport() is None:
            return None
        upstream = transport if isinstance(transport, Upstream) else self._watched(transport)
        wanted = " or ".join(kind.__name__ for kind in kinds)

        async def promise() -> ProviderError | None:
            try:
                async with self.connection(upstream) as connection:
                    await self.call(connection, kind)
            except ProviderError as error:
                assert name is None or isinstance(error, kinds), f"{name}: {error!r} should be {wanted}"
                return error
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(f"{name}: {error!r} is not a ProviderError; should be {wanted}") from error
            assert name is None, f"{name}: the call ended as if all were well; should be {wanted}"
            return None

        error = self.run(promise)
        assert not once or upstream.requests == 1, f"{name}: the plugin asked {upstream.requests} times, not once"
        return error
