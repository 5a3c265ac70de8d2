"""The promises of a model provider, as tests that its author inherits.

    class TestEcho(ProviderConformance):
        spec = echo.register_ai_providers()[0]
        chat_model = "echo-1"

        def config(self):
            return {"api_key": "made-up-key"}

        def transport(self):
            return httpx.MockTransport(answer_like_echo)

The fake upstream must answer with something that depends on the question (repeat its words), or else two
answers that got mixed up could not be told apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import get_args

import httpx

from folkmoot_sdk.chat import (
    ChatEvent,
    ChatRequest,
    Finish,
    FinishReason,
    Message,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from folkmoot_sdk.errors import (
    AuthenticationFailed,
    BadResponse,
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)
from folkmoot_sdk.providers import EmbedRequest, ModelInfo, ProviderSpec
from folkmoot_sdk.testing.harness import (
    NOW,
    Handler,
    LogCapture,
    Reply,
    SpecConformance,
    Upstream,
    told,
    watched_sockets,
)

_JSON = {"content-type": "application/json"}
_BROKEN = (BadResponse, Unavailable)


def _lost(error: type[httpx.TransportError]) -> Handler:
    return Reply(raises=lambda request: error("the line is dead", request=request))


class ProviderConformance(SpecConformance):
    """Subclass it in a test file, say what is tested, and learn which promise is broken."""

    spec: ProviderSpec
    chat_model: str | None = None
    """The model to chat with; None if the provider has no chat models."""
    embedding_model: str | None = None

    def request(self, text: str) -> ChatRequest:
        """A question whose answer depends on `text`."""
        return ChatRequest(model=self.chat_model or "", messages=(Message(role="user", content=(TextPart(text),)),))

    def failures(self) -> dict[str, Handler]:
        """How this upstream words its failures, to replace the kit's plain ones or to add to them.

        Keys: `unauthorized`, `forbidden`, `unknown-model`, `too-long`, `rate-limited`,
        `rate-limited-until` (Retry-After as a date), `quota-exhausted`, `server-error`, `bad-gateway`,
        `overloaded`, `html`, `garbage`, `error-in-200`. `quota-exhausted` and `error-in-200` are tested
        only if they are here, for every service words them in its own way.
        """
        return {}

    def test_models_lists_the_tested_models_and_each_once(self) -> None:
        async def promise() -> None:
            async with self.connection(self.transport()) as connection:
                models: list[ModelInfo] = await connection.models()
            names = [(model.kind, model.name) for model in models]
            assert len(names) == len(set(names)), f"models() lists a model twice: {sorted(names)}"
            for kind, name in (("chat", self.chat_model), ("embedding", self.embedding_model)):
                assert name is None or (kind, name) in names, (
                    f"models() does not list {name!r} as a {kind} model, only {names}"
                )

        self.run(promise)

    def test_nothing_connects_past_the_lent_client(self) -> None:
        with watched_sockets() as seen:
            try:
                self.run(self._use_everything)
            except (OSError, ProviderError):
                assert seen, "an ordinary call failed: see the other tests"
        assert not seen, f"the plugin opened a connection of its own: {seen}"

    def test_a_chat_ends_with_its_one_finish(self) -> None:
        events = self._answer("Say hello.")
        for event in events:
            assert isinstance(event, ChatEvent), f"{event!r} is not a ChatEvent"
        ends = [place for place, event in enumerate(events) if isinstance(event, Finish)]
        assert ends == [len(events) - 1], f"exactly one Finish must come, last: {events[-3:]}"
        reason = events[-1].reason if isinstance(events[-1], Finish) else ""
        assert reason in get_args(FinishReason), f"{reason!r} is not one of {get_args(FinishReason)}"

    def test_no_delta_of_text_is_empty(self) -> None:
        texts = [event.text for event in self._answer("Say hello.") if isinstance(event, TextDelta)]
        assert texts, "the answer has no TextDelta at all"
        assert all(texts), "an empty TextDelta was sent"

    def test_usage_is_plausible_and_tool_calls_begin_before_they_go_on(self) -> None:
        started: set[int] = set()
        for event in self._answer("Say hello."):
            if isinstance(event, Usage):
                assert 0 <= event.cached_input_tokens <= event.input_tokens, f"impossible counts: {event}"
                assert 0 <= event.reasoning_tokens <= event.output_tokens, f"impossible counts: {event}"
            elif isinstance(event, ToolCallStarted):
                assert event.index not in started, f"tool call {event.index} began twice"
                started.add(event.index)
            elif isinstance(event, ToolCallDelta):
                assert event.index in started, f"arguments for tool call {event.index}, which never began"

    def test_closing_the_iterator_closes_the_upstream_request(self) -> None:
        async def close(events: AsyncIterator[ChatEvent]) -> None:
            await events.aclose()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

        self._leaves_early(close)

    def test_cancelling_a_chat_closes_the_upstream_request(self) -> None:
        async def cancel(events: AsyncIterator[ChatEvent]) -> None:
            rest = asyncio.ensure_future(self._drain(events))
            await asyncio.sleep(0.01)
            rest.cancel()
            await asyncio.wait([rest])

        self._leaves_early(cancel)

    def test_two_chats_at_once_do_not_mix(self) -> None:
        if self.chat_model is None:
            return

        async def promise() -> None:
            async with self.connection(self._upstream()) as connection:
                apart = [await self._text(connection.chat(self.request(text))) for text in ("Ada", "Bo")]
                both = [self._text(connection.chat(self.request(text))) for text in ("Ada", "Bo")]
                together = await asyncio.gather(*both)
            assert apart[0] != apart[1], (
                f"request('Ada') and request('Bo') got the same answer {apart[0]!r}: "
                "make transport() repeat the question"
            )
            assert list(together) == apart, f"two answers at once are {together}, one by one {apart}"

        self.run(promise)

    def test_one_call_is_one_upstream_request(self) -> None:
        upstream = self._upstream()
        if upstream is None or self.chat_model is None:
            return

        async def promise() -> None:
            async with self.connection(upstream) as connection:
                before = upstream.requests
                await self._drain(connection.chat(self.request("Say hello.")))
            sent = upstream.requests - before
            assert sent == 1, f"one chat made {sent} upstream requests, not 1"
            assert upstream.open == 0, "the response stayed open after the last event"

        self.run(promise)

    def test_a_failure_is_not_tried_again(self) -> None:
        self._fails("overloaded", Reply(503, _JSON, b'{"error":{"message":"busy"}}'), ProviderError, once=True)
        self._fails("no connection", _lost(httpx.ConnectError), ProviderError, once=True)

    def test_refused_credentials_are_authentication_failed(self) -> None:
        for name, status in (("unauthorized", 401), ("forbidden", 403)):
            self._fails(name, Reply(status, _JSON, b'{"error":{"message":"no"}}'), AuthenticationFailed)

    def test_an_unknown_model_is_model_not_found(self) -> None:
        body = b'{"error":{"message":"The model does not exist","code":"model_not_found"}}'
        self._fails("unknown-model", Reply(404, _JSON, body), ModelNotFound)

    def test_a_request_that_is_too_long_is_an_invalid_request(self) -> None:
        body = b'{"error":{"message":"maximum context length is 8 tokens","code":"context_length_exceeded"}}'
        self._fails("too-long", Reply(400, _JSON, body), InvalidRequest)

    def test_rate_limits_say_how_long_to_wait(self) -> None:
        until = format_datetime(NOW + timedelta(seconds=30), usegmt=True)
        body = b'{"error":{"message":"slow down"}}'
        for name, wait, seconds in (("rate-limited", "7", 7.0), ("rate-limited-until", until, 30.0)):
            error = self._fails(name, Reply(429, {**_JSON, "retry-after": wait}, body), RateLimited)
            told_to_wait = getattr(error, "retry_after", seconds)
            assert told_to_wait is not None and abs(told_to_wait - seconds) <= 1, (
                f"Retry-After: {wait} must become retry_after={seconds} by the lent clock, not {told_to_wait}"
            )

    def test_an_empty_account_is_quota_exhausted(self) -> None:
        self._fails("quota-exhausted", None, QuotaExhausted)

    def test_trouble_on_the_other_side_is_unavailable(self) -> None:
        for name, status in (("server-error", 500), ("bad-gateway", 502), ("overloaded", 503)):
            self._fails(name, Reply(status, {}, b"<html>oops</html>"), Unavailable)
        self._fails("no connection", _lost(httpx.ConnectError), Unavailable)
        self._fails("time-out", _lost(httpx.ReadTimeout), Unavailable)

    def test_an_answer_that_is_none_is_a_bad_response(self) -> None:
        page = b"<!doctype html><html><body>Please sign in to the wifi</body></html>"
        self._fails("html", Reply(200, {"content-type": "text/html"}, page), *_BROKEN)
        self._fails("garbage", Reply(200, _JSON, b'\x00\xff{"cho'), *_BROKEN)
        self._fails("nothing", Reply(200, _JSON, b""), *_BROKEN)

    def test_an_error_inside_a_200_is_raised(self) -> None:
        self._fails("error-in-200", None, ProviderError)

    def test_an_answer_cut_off_is_not_a_whole_one(self) -> None:
        for keep, lose in ((0.5, False), (0.5, True), (0.7, False)):
            upstream = self._upstream()
            if upstream is not None:
                upstream.keep, upstream.lose = keep, lose
                self._raises(f"a stream cut after {keep:.0%} (line lost: {lose})", upstream, *_BROKEN)

    def test_errors_and_logs_hide_the_secrets(self) -> None:
        for secret in self.secrets():
            body = b'{"error":{"message":"Incorrect API key provided: %b"}}' % secret.encode()
            with LogCapture().listening() as capture:
                for reply in (Reply(401, _JSON, body), Reply(400, _JSON, body), Reply(200, _JSON, body)):
                    error = self._raises(None, httpx.MockTransport(reply), ProviderError)
                    assert error is None or secret not in told(error), f"a secret stands in: {error!r}"
                self._answer("Say hello.")
            assert not any(secret in line for line in capture.lines), "a secret stands in the log"

    def test_embeddings_come_one_a_text_and_in_order(self) -> None:
        if self.embedding_model is None:
            return

        async def promise() -> None:
            texts = ("a red apple", "the council meets on Tuesdays", "snow")
            async with self.connection(self._upstream()) as connection:
                request = EmbedRequest(model=self.embedding_model or "", texts=texts)
                vectors = (await connection.embed(request)).vectors
                assert len(vectors) == 3, f"three texts, but {len(vectors)} vectors"
                assert len({len(vector) for vector in vectors}) == 1, "vectors of different dimensions"
                for text, vector in zip(texts, vectors, strict=True):
                    alone = await connection.embed(EmbedRequest(model=request.model, texts=(text,)))
                    near = max(abs(a - b) for a, b in zip(vector, alone.vectors[0], strict=True))
                    assert near < 1e-3, f"the vector of {text!r} is not the one it has alone: order is lost"

        self.run(promise)

    def test_embedding_nothing_asks_nobody(self) -> None:
        if self.embedding_model is None:
            return
        upstream = self._upstream()

        async def promise() -> None:
            async with self.connection(upstream) as connection:
                before = upstream.requests if upstream else 0
                got = await connection.embed(EmbedRequest(model=self.embedding_model or "", texts=()))
                assert got.vectors == [], "no texts, so no vectors"
                assert upstream is None or upstream.requests == before, "no texts, yet the upstream was asked"

        self.run(promise)

    def test_embedding_fails_as_chatting_does(self) -> None:
        if self.embedding_model is None or self.transport() is None:
            return
        html = Reply(200, {"content-type": "text/html"}, b"<html></html>")
        for reply, kinds in ((Reply(401, _JSON, b"{}"), (AuthenticationFailed,)), (html, _BROKEN)):
            self._raises("embed", httpx.MockTransport(reply), *kinds, embed=True)

    def _upstream(self) -> Upstream | None:
        inner = self.transport()
        return None if inner is None else Upstream(inner)

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
            if self.chat_model is not None:
                await self._drain(connection.chat(self.request("Say hello.")))
            if self.embedding_model is not None:
                await connection.embed(EmbedRequest(model=self.embedding_model, texts=("one",)))

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
        embed: bool = False,
        once: bool = False,
    ) -> ProviderError | None:
        """The error of a chat over `transport`; with a name, that it came and is one of `kinds` is asserted."""
        if self.chat_model is None or self.transport() is None:
            return None
        upstream = transport if isinstance(transport, Upstream) else Upstream(transport)
        wanted = " or ".join(kind.__name__ for kind in kinds)

        async def promise() -> ProviderError | None:
            try:
                async with self.connection(upstream) as connection:
                    if embed:
                        await connection.embed(EmbedRequest(model=self.embedding_model or "", texts=("one",)))
                    else:
                        await self._drain(connection.chat(self.request("Say hello.")))
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
