"""A toy that keeps every promise passes the kit; a toy that breaks one fails just that one."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    PluginContext,
    ProviderSpec,
    QuotaExhausted,
    RateLimited,
    Secret,
    TextDelta,
    Unavailable,
    Usage,
)
from folkmoot_sdk.testing.harness import Reply
from folkmoot_sdk.testing.providers import ProviderConformance

BREAKS: set[str] = set()
"""Which promises the toy breaks at the moment."""


class ToyConfig(msgspec.Struct, frozen=True):
    token: Secret


class ToyPlainConfig(msgspec.Struct, frozen=True):
    token: str


class Toy:
    """Speaks a protocol of one JSON string a line, `null` at the end."""

    def __init__(self, config: ToyConfig, context: PluginContext) -> None:
        self.config = config
        self.context = context
        self.last = ""

    async def models(self) -> list[ModelInfo]:
        if "socket" in BREAKS:
            with suppress(OSError):
                socket.create_connection(("192.0.2.1", 9), timeout=0.01)
        models = [ModelInfo("toy", "chat"), ModelInfo("toy-embed", "embedding")]
        return models * 2 if "models" in BREAKS else models

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        self.last = request.messages[-1].text
        try:
            async with self._ask(self.last) as response:
                if "buffer" in BREAKS:
                    await response.aread()
                async for event in self._events(response):
                    yield event
        except httpx.TransportError as error:
            raise Unavailable(f"the toy does not answer: {error}") from error

    @asynccontextmanager
    async def _ask(self, text: str) -> AsyncIterator[httpx.Response]:
        request = self.context.http.build_request("POST", "https://toy.example/chat", content=text)
        response = await self.context.http.send(request, stream=True)
        if "retry" in BREAKS and response.status_code == 503:
            await response.aclose()
            response = await self.context.http.send(request, stream=True)
        try:
            if response.status_code != 200:
                await self._raise(response)
            yield response
        finally:
            if "leak" not in BREAKS:
                await response.aclose()

    async def _events(self, response: httpx.Response) -> AsyncIterator[ChatEvent]:
        heard = False
        async for line in response.aiter_lines():
            try:
                word = json.loads(line)
            except ValueError:
                if heard and "cut" in BREAKS:
                    break
                raise BadResponse("the toy's answer is not JSON") from None
            heard = True
            if isinstance(word, dict):
                raise BadResponse("the toy sent an error")
            if word is None:
                yield Usage(3, 2)
                yield Finish("stop")
                if "finish-twice" in BREAKS:
                    yield Finish("stop")
                return
            if "empty" in BREAKS:
                yield TextDelta("")
            yield TextDelta(self.last + word if "mix" in BREAKS else word)
        if heard and "cut" in BREAKS:
            yield Finish("stop")
            return
        raise BadResponse("the toy's answer was cut off")

    async def _raise(self, response: httpx.Response) -> None:
        body = (await response.aread()).decode()
        status = response.status_code
        if "log" in BREAKS:
            self.context.log.warning("refused with %s", self.config.token.reveal())
        if status == 401 or (status == 403 and "auth" not in BREAKS):
            raise AuthenticationFailed("the toy does not know this token")
        if status == 404:
            raise ModelNotFound("the toy has no such model")
        if status == 429 and "quota" in body:
            raise QuotaExhausted("the toy's account is empty")
        if status == 429:
            raise RateLimited("slow down", self._wait(response.headers["retry-after"]))
        if status >= 500:
            raise Unavailable(f"the toy failed with {status}")
        raise InvalidRequest("the toy does not take this request")

    def _wait(self, value: str) -> float:
        if value.isdigit():
            return float(value)
        until = parsedate_to_datetime(value)
        now = datetime.now(until.tzinfo) if "clock" in BREAKS else self.context.clock.now()
        return (until - now).total_seconds()

    async def embed(self, request: EmbedRequest) -> Embeddings:
        if not request.texts and "embed-nothing" not in BREAKS:
            return Embeddings([])
        try:
            response = await self.context.http.post("https://toy.example/embed", json=list(request.texts))
        except httpx.TransportError as error:
            raise Unavailable("the toy does not answer") from error
        if response.status_code != 200:
            await self._raise(response)
        try:
            vectors = response.json()
        except ValueError:
            raise BadResponse("the toy's vectors are not JSON") from None
        return Embeddings(sorted(vectors) if "embed-order" in BREAKS else vectors)


@asynccontextmanager
async def connect(config: ToyConfig, context: PluginContext) -> AsyncIterator[Toy]:
    yield Toy(config, context)


def upstream(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/embed":
        return httpx.Response(200, json=[[-float(len(text)), 1.0] for text in json.loads(request.content)])
    words = ["Hello ", "å ", request.content.decode(), None]
    return httpx.Response(200, text="".join(json.dumps(word, ensure_ascii=False) + "\n" for word in words))


class TestToy(ProviderConformance):
    spec = ProviderSpec(kind="toy", title="Toy", config=ToyConfig, connect=connect)
    chat_model = "toy"
    embedding_model = "toy-embed"

    def config(self) -> dict[str, str]:
        return {"token": "made-up-token"}

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(upstream)

    def failures(self):
        return {
            "quota-exhausted": Reply(429, {"retry-after": "1"}, b"quota"),
            "error-in-200": Reply(200, {}, b'{"error": "no"}\n'),
        }


def promises() -> list[str]:
    return [name for name in dir(ProviderConformance) if name.startswith("test_")]


def broken(conformance: ProviderConformance) -> dict[str, str]:
    """Which promises fail, and with what words."""
    failed: dict[str, str] = {}
    for name in promises():
        try:
            getattr(conformance, name)()
        except AssertionError as error:
            failed[name] = str(error)
    return failed


@pytest.fixture
def breaks():
    BREAKS.clear()
    yield BREAKS
    BREAKS.clear()


@pytest.mark.parametrize(
    ("fault", "promise", "words"),
    [
        ("models", "test_models_lists_the_tested_models_and_each_once", "lists a model twice"),
        ("socket", "test_nothing_connects_past_the_lent_client", "connection of its own"),
        ("finish-twice", "test_a_chat_ends_with_its_one_finish", "exactly one Finish"),
        ("empty", "test_no_delta_of_text_is_empty", "empty TextDelta"),
        ("mix", "test_two_chats_at_once_do_not_mix", "two answers at once"),
        ("retry", "test_a_failure_is_not_tried_again", "asked 2 times"),
        ("auth", "test_refused_credentials_are_authentication_failed", "should be AuthenticationFailed"),
        ("clock", "test_rate_limits_say_how_long_to_wait", "by the lent clock"),
        ("cut", "test_an_answer_cut_off_is_not_a_whole_one", "as if all were well"),
        ("log", "test_errors_and_logs_hide_the_secrets", "in the log"),
        ("embed-order", "test_embeddings_come_one_a_text_and_in_order", "order is lost"),
        ("embed-nothing", "test_embedding_nothing_asks_nobody", "the upstream was asked"),
    ],
)
def test_a_broken_promise_fails_its_own_test_and_no_other(breaks, fault, promise, words):
    breaks.add(fault)
    failed = broken(TestToy())
    assert list(failed) == [promise]
    assert words in failed[promise]


def test_an_upstream_request_left_open_is_found(breaks):
    breaks.add("leak")
    failed = broken(TestToy())
    assert set(failed) == {
        "test_closing_the_iterator_closes_the_upstream_request",
        "test_cancelling_a_chat_closes_the_upstream_request",
        "test_one_call_is_one_upstream_request",
    }


def test_an_answer_read_whole_before_its_first_event_is_found(breaks, monkeypatch):
    monkeypatch.setattr(TestToy, "timeout", 0.5)
    breaks.add("buffer")
    failed = broken(TestToy())
    assert "must stream" in failed["test_closing_the_iterator_closes_the_upstream_request"]


def test_a_secret_that_is_plain_text_is_found():
    class Plain(TestToy):
        spec = ProviderSpec(
            kind="Toy One", title="", config=msgspec.defstruct("P", [("api_key", str)]), connect=connect
        )

        def config(self):
            return {"api_key": "made-up-key"}

    for promise, words in (
        ("test_the_configuration_has_a_json_schema_with_write_only_secrets", "sounds like a secret"),
        ("test_the_kind_is_well_formed", "lower-case"),
    ):
        with pytest.raises(AssertionError, match=words):
            getattr(Plain(), promise)()
