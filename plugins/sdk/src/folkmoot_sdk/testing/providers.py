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
from collections.abc import AsyncIterator
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
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)
from folkmoot_sdk.providers import ModelInfo, TokenCounter
from folkmoot_sdk.testing.harness import NOW, Handler, LogCapture, Reply, told, watched_sockets
from folkmoot_sdk.testing.provider_calls import BROKEN, JSON
from folkmoot_sdk.testing.provider_kinds import OtherKinds


def _lost(error: type[httpx.TransportError]) -> Handler:
    return Reply(raises=lambda request: error("the line is dead", request=request))


class ProviderConformance(OtherKinds):
    """Subclass it in a test file, say what is tested, and learn which promise is broken."""

    def test_models_lists_the_tested_models_and_each_once(self) -> None:
        async def promise() -> None:
            async with self.connection(self.transport()) as connection:
                models: list[ModelInfo] = await connection.models()
            names = [(model.kind, model.name) for model in models]
            assert len(names) == len(set(names)), f"models() lists a model twice: {sorted(names)}"
            for kind, name in self.kinds().items():
                assert (kind, name) in names, f"models() does not list {name!r} as a {kind} model, only {names}"

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

    def test_a_count_of_tokens_is_one_and_grows_with_the_text(self) -> None:
        async def promise() -> None:
            async with self.connection(self._upstream()) as connection:
                if self.chat_model is None or not isinstance(connection, TokenCounter):
                    return
                counts: list[int] = []
                for text in ("Say hello.", "Say hello to each of them by name, one after the other. " * 20):
                    turn = Message(role="user", content=(TextPart(text),))
                    try:
                        told = await connection.count_tokens(ChatRequest(model=self.chat_model, messages=(turn,)))
                    except ProviderError:
                        return  # the fake that it is tested with does not count
                    if told is None:
                        return
                    assert type(told) is int, f"a count is a whole number, or None, not {told!r}"
                    counts.append(told)
                assert 0 < counts[0] < counts[1], f"a longer text has more tokens, but it counts {counts}"

        self.run(promise)

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
        self._fails("overloaded", Reply(503, JSON, b'{"error":{"message":"busy"}}'), ProviderError, once=True)
        self._fails("no connection", _lost(httpx.ConnectError), ProviderError, once=True)

    def test_refused_credentials_are_authentication_failed(self) -> None:
        for name, status in (("unauthorized", 401), ("forbidden", 403)):
            self._fails(name, Reply(status, JSON, b'{"error":{"message":"no"}}'), AuthenticationFailed)

    def test_an_error_names_only_fields_that_the_configuration_has(self) -> None:
        fields = self.configured().__struct_fields__
        replies = {
            "unauthorized": Reply(401, JSON, b'{"error":{"message":"no"}}'),
            "unknown-model": Reply(404, JSON, b'{"error":{"message":"no such model","code":"model_not_found"}}'),
            "html": Reply(200, {"content-type": "text/html"}, b"<html></html>"),
            "no connection": _lost(httpx.ConnectError),
        }
        for name, plain in replies.items():
            error = self._fails(name, plain, ProviderError)
            named = error.field if error is not None else None
            assert named is None or named in fields, f"{name}: the error names {named!r}; there are only {fields}"
            if self.names_fields and name == "unauthorized" and error is not None and self.secrets():
                assert named is not None, "a key was refused, and the error does not name the field that holds it"

    def test_listing_models_tells_of_a_wrong_key_too(self) -> None:
        if self.transport() is None:
            return
        upstream = self._watched(httpx.MockTransport(self.failures().get("unauthorized", Reply(401, JSON, b"{}"))))

        async def promise() -> None:
            async with self.connection(upstream) as connection:
                try:
                    await connection.models()
                except AuthenticationFailed:
                    return
                except ProviderError as error:
                    raise AssertionError(f"a refused key became {error!r}, not AuthenticationFailed") from error

        self.run(promise)

    def test_an_unknown_model_is_model_not_found(self) -> None:
        body = b'{"error":{"message":"The model does not exist","code":"model_not_found"}}'
        self._fails("unknown-model", Reply(404, JSON, body), ModelNotFound)

    def test_a_request_that_is_too_long_is_an_invalid_request(self) -> None:
        body = b'{"error":{"message":"maximum context length is 8 tokens","code":"context_length_exceeded"}}'
        self._fails("too-long", Reply(400, JSON, body), InvalidRequest)

    def test_rate_limits_say_how_long_to_wait(self) -> None:
        until = format_datetime(NOW + timedelta(seconds=30), usegmt=True)
        body = b'{"error":{"message":"slow down"}}'
        for name, wait, seconds in (("rate-limited", "7", 7.0), ("rate-limited-until", until, 30.0)):
            error = self._fails(name, Reply(429, {**JSON, "retry-after": wait}, body), RateLimited)
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
        self._fails("html", Reply(200, {"content-type": "text/html"}, page), *BROKEN)
        self._fails("garbage", Reply(200, JSON, b'\x00\xff{"cho'), *BROKEN)
        self._fails("nothing", Reply(200, JSON, b""), *BROKEN)

    def test_an_error_inside_a_200_is_raised(self) -> None:
        self._fails("error-in-200", None, ProviderError)

    def test_an_answer_cut_off_is_not_a_whole_one(self) -> None:
        for keep, lose in ((0.5, False), (0.5, True), (0.7, False)):
            upstream = self._upstream()
            if upstream is not None:
                upstream.keep, upstream.lose = keep, lose
                self._raises(f"a stream cut after {keep:.0%} (line lost: {lose})", upstream, *BROKEN)

    def test_errors_and_logs_hide_the_secrets(self) -> None:
        for secret in self.secrets():
            body = b'{"error":{"message":"Incorrect API key provided: %b"}}' % secret.encode()
            with LogCapture().listening() as capture:
                for reply in (Reply(401, JSON, body), Reply(400, JSON, body), Reply(200, JSON, body)):
                    error = self._raises(None, httpx.MockTransport(reply), ProviderError)
                    assert error is None or secret not in told(error), f"a secret stands in: {error!r}"
                self._answer("Say hello.")
            assert not any(secret in line for line in capture.lines), "a secret stands in the log"
