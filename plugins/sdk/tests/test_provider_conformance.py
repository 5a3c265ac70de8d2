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
    Ranked,
    RateLimited,
    RerankRequest,
    Secret,
    TextDelta,
    TranscribeRequest,
    Transcript,
    TranscriptSegment,
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
        models = [
            ModelInfo("toy", "chat"),
            ModelInfo("toy-embed", "embedding"),
            ModelInfo("toy-rank", "rerank"),
            ModelInfo("toy-hear", "transcription"),
        ]
        if "list-key" in BREAKS:
            response = await self.context.http.get("https://toy.example/models")
            if response.status_code != 200:
                raise InvalidRequest("the toy's list is not there")
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

    async def count_tokens(self, request: ChatRequest) -> int | None:
        words = len(request.messages[-1].text.split())
        return {"count-half": words / 2, "count-same": 7}.get(next(iter(BREAKS), ""), words)

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
            field = {"field": "api_key", "no-field": None}.get(next(iter(BREAKS), ""), "token")
            raise AuthenticationFailed("the toy does not know this token", field=field)
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
        vectors = await self._post("embed", json=list(request.texts))
        return Embeddings(sorted(vectors) if "embed-order" in BREAKS else vectors)

    async def rerank(self, request: RerankRequest) -> list[Ranked]:
        if not request.texts and "rank-nothing" not in BREAKS:
            return []
        scores = await self._post("rank", json=list(request.texts))
        ranks = [Ranked(index, score) for index, score in enumerate(scores)]
        if "rank-order" not in BREAKS:
            ranks.sort(key=lambda rank: -rank.score)
        return ranks[:-1] if "rank-loss" in BREAKS else ranks

    async def transcribe(self, request: TranscribeRequest) -> Transcript:
        words = await self._post("hear", content=request.audio)
        times = ((1.0, 2.0), (0.0, 1.0)) if "times" in BREAKS else ((0.0, 1.0), (1.0, 2.0))
        segments = tuple(TranscriptSegment(start, end, words) for start, end in times)
        return Transcript(" " if "mute" in BREAKS else words, segments)

    async def _post(self, path, **body):
        try:
            response = await self.context.http.post(f"https://toy.example/{path}", **body)
        except httpx.TransportError as error:
            raise Unavailable("the toy does not answer") from error
        if response.status_code != 200:
            await self._raise(response)
        try:
            answer = response.json()
        except ValueError:
            raise BadResponse("the toy's answer is not JSON") from None
        if isinstance(answer, dict):
            raise BadResponse("the toy sent an error")
        return answer


@asynccontextmanager
async def connect(config: ToyConfig, context: PluginContext) -> AsyncIterator[Toy]:
    yield Toy(config, context)


def upstream(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/embed":
        return httpx.Response(200, json=[[-float(len(text)), 1.0] for text in json.loads(request.content)])
    if request.url.path == "/rank":
        return httpx.Response(200, json=[1 / len(text) for text in json.loads(request.content)])
    if request.url.path == "/hear":
        return httpx.Response(200, json=f"{len(request.content)} bytes of noise")
    if request.url.path == "/models":
        return httpx.Response(200)
    words = ["Hello ", "å ", request.content.decode(), None]
    return httpx.Response(200, text="".join(json.dumps(word, ensure_ascii=False) + "\n" for word in words))


class TestToy(ProviderConformance):
    spec = ProviderSpec(kind="toy", title="Toy", config=ToyConfig, connect=connect)
    chat_model = "toy"
    embedding_model = "toy-embed"
    rerank_model = "toy-rank"
    transcription_model = "toy-hear"
    names_fields = True

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
        ("rank-order", "test_ranks_name_each_text_once_best_first", "best must come first"),
        ("rank-loss", "test_ranks_name_each_text_once_best_first", "three texts"),
        ("rank-nothing", "test_reranking_nothing_asks_nobody", "the upstream was asked"),
        ("mute", "test_a_transcript_has_a_text_and_times_that_go_forward", "no text"),
        ("times", "test_a_transcript_has_a_text_and_times_that_go_forward", "follow each other"),
        ("field", "test_an_error_names_only_fields_that_the_configuration_has", "there are only"),
        ("no-field", "test_an_error_names_only_fields_that_the_configuration_has", "does not name the field"),
        ("count-half", "test_a_count_of_tokens_is_one_and_grows_with_the_text", "a whole number"),
        ("count-same", "test_a_count_of_tokens_is_one_and_grows_with_the_text", "has more tokens"),
        ("list-key", "test_listing_models_tells_of_a_wrong_key_too", "not AuthenticationFailed"),
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


def test_a_provider_without_chat_is_tested_by_what_it_does(breaks):
    class Ranker(TestToy):
        chat_model = None
        embedding_model = None
        transcription_model = None

        def failures(self):
            return {"quota-exhausted": Reply(429, {"retry-after": "1"}, b"quota")}

    assert not broken(Ranker())
    breaks.add("auth")
    assert list(broken(Ranker())) == ["test_refused_credentials_are_authentication_failed"]


def test_a_provider_that_names_no_field_is_not_bound_to(breaks):
    class Silent(TestToy):
        names_fields = False

    breaks.add("no-field")
    assert not broken(Silent())
