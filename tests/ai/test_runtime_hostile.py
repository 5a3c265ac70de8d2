"""Whatever a provider does, a call ends with words, is entered once for what it came to, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import math
import time
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ChatRequest,
    InvalidRequest,
    Message,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    TextDelta,
    TextPart,
    Unavailable,
    Usage,
)
from sqlalchemy import text

from folkmoot.ai import attempts
from folkmoot.ai.breaker import Breaker
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.connect import connect
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Answering, Runtime
from folkmoot.kit.access import Principal
from folkmoot.usage.ledger import Account
from folkmoot.usage.models import Budget
from tests.support.hostile_upstream import WORDS, HostileUpstream
from tests.support.openai_stub import OpenAIStub

TEXT = "".join(WORDS)
SECONDS = 60
KINDS = ["openai", "anthropic"]


@dataclass
class Told:
    """How a call ended."""

    events: list = field(default_factory=list)
    error: ProviderError | None = None
    seen: float = 0.0
    """When it ended, by `time.monotonic`."""

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def models(self) -> list[str]:
        return [event.model.name for event in self.events if isinstance(event, Answering)]

    @property
    def usages(self) -> list[tuple[int, int]]:
        return [(event.input_tokens, event.output_tokens) for event in self.events if isinstance(event, Usage)]


class Calling:
    """One organisation whose only language model is hostile."""

    def __init__(self, app, superuser, person, kind):
        self.app, self.superuser, self.person, self.kind = app, superuser, person, kind
        self.account = Account(tenant_id=person.tenant_id, purpose="answer", user_id=person.user.id)

    async def connected(self, upstream, name="Hostile", rank=0, kind=None):
        kind = kind or self.kind
        base = upstream.url.removesuffix("/v1") if kind == "anthropic" else upstream.url
        config = {"api_key": "k", "base_url": base}
        assert await connect(self.app, self.person.tenant_id, kind=kind, name=name, config=config, rank=rank)

    async def route(self, kind="chat", alone=True) -> Route:
        snapshot = await self.app.part(Catalogue).of(self.person.tenant_id)
        route = snapshot.route(kind, ())
        return Route(route.choices[:1]) if alone else route

    async def chat(self, question="Hej", route=None, events=None) -> Told:
        route = route or await self.route()
        told = Told() if events is None else Told(events)

        def build(info):
            return ChatRequest(model=info.name, messages=(Message("user", (TextPart(question),)),))

        try:
            async with asyncio.timeout(SECONDS):
                async with aclosing(self.app.part(Runtime).chat(route, self.account, build)) as answer:
                    async for event in answer:
                        told.events.append(event)
        except ProviderError as error:
            told.error = error
        told.seen = time.monotonic()
        return told

    async def entries(self) -> list:
        """What the ledger holds, in order."""
        statement = text("SELECT * FROM usage_entries WHERE tenant_id = :tenant ORDER BY id")
        async with self.superuser.connect() as connection:
            rows = await connection.execute(statement, {"tenant": self.person.tenant_id})
            return list(rows)

    async def reserved(self) -> int:
        statement = text("SELECT count(*) FROM usage_reservations WHERE tenant_id = :tenant")
        async with self.superuser.connect() as connection:
            return await connection.scalar(statement, {"tenant": self.person.tenant_id})


@pytest.fixture
async def upstream():
    async with HostileUpstream() as server:
        yield server


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """No long pauses between attempts."""
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(attempts, "LOOK_SECONDS", 0.01)


@pytest.fixture(params=KINDS)
async def calling(app, superuser, owner, upstream, request):
    """With a budget, so that every call is reserved."""
    made = Calling(app, superuser, owner, request.param)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        work.session.add(Budget(tenant_id=owner.tenant_id, kind="tenant", period="month", amount=10**12))
    await made.connected(upstream)
    upstream.requests.clear()
    return made


@pytest.fixture
async def openai(app, superuser, owner, upstream):
    made = Calling(app, superuser, owner, "openai")
    await made.connected(upstream)
    upstream.requests.clear()
    return made


async def nothing_is_left(calling, upstream):
    await upstream.until(lambda upstream: not upstream.open)
    assert await calling.reserved() == 0


async def test_when_all_is_well_the_providers_own_figures_are_entered(calling, upstream):
    told = await calling.chat()
    assert (told.text, told.error, told.usages[-1:]) == (TEXT, None, [(10, 8)])
    [entry] = await calling.entries()
    assert (entry.input_tokens, entry.output_tokens) == (10, 8)
    assert (entry.estimated, entry.error, entry.priced, entry.purpose) == (False, "", "ceiling", "answer")
    assert entry.cost > 0
    assert entry.first_ms <= entry.total_ms
    await nothing_is_left(calling, upstream)


# before the first event: nothing was said, so the call is made again, and nothing is charged

BEFORE = {
    "cut=before": Unavailable,
    "cut=head": Unavailable,
    "status=500": Unavailable,
    "status=502 html": Unavailable,
    "status=503 retry-after=0": Unavailable,
    "status=529": Unavailable,
    "status=429": RateLimited,
    "status=429 retry-after=0.01": RateLimited,
    "status=429 retry-date=-1": RateLimited,
    "error-in-200": (Unavailable, BadResponse),
    "html": BadResponse,
    "empty": BadResponse,
    "endless-headers": (Unavailable, BadResponse),
}


@pytest.mark.parametrize("failure", BEFORE)
async def test_what_fails_before_the_first_word_is_tried_again_and_costs_nothing(calling, upstream, failure):
    upstream.failing = failure
    told = await calling.chat()
    assert isinstance(told.error, BEFORE[failure]), repr(told.error)
    assert str(told.error)
    assert told.events == []
    assert len(upstream.requests) == 3
    entries = await calling.entries()
    assert [(entry.error, entry.cost, entry.input_tokens) for entry in entries] == [(told.error.code, 0, 0)] * 3
    await nothing_is_left(calling, upstream)


@pytest.mark.parametrize("failure", BEFORE)
async def test_and_nobody_notices_if_the_second_try_works(calling, upstream, failure):
    upstream.script = [failure, ""]
    told = await calling.chat()
    assert (told.text, told.error) == (TEXT, None)
    assert [entry.error != "" for entry in await calling.entries()] == [True, False]
    await nothing_is_left(calling, upstream)


NEVER = {
    "status=400": InvalidRequest,
    "status=401": AuthenticationFailed,
    "status=403": AuthenticationFailed,
    "status=402": QuotaExhausted,
    "status=422": InvalidRequest,
}


@pytest.mark.parametrize("failure", NEVER)
async def test_what_cannot_succeed_is_not_tried_again(calling, upstream, failure):
    upstream.failing = failure
    told = await calling.chat()
    assert isinstance(told.error, NEVER[failure]), repr(told.error)
    assert len(upstream.requests) == 1
    [entry] = await calling.entries()
    assert (entry.error, entry.cost) == (told.error.code, 0)
    await nothing_is_left(calling, upstream)


async def test_a_redirect_into_the_network_is_not_followed(calling, upstream):
    async with OpenAIStub() as inside:
        upstream.failing = f"redirect={inside.url}/chat/completions"
        told = await calling.chat()
        assert told.error is not None
        assert inside.requests == []
    await nothing_is_left(calling, upstream)


async def test_a_long_retry_after_is_not_sat_through(calling, upstream):
    upstream.failing = "status=429 retry-after=86400"
    told = await calling.chat()
    assert isinstance(told.error, RateLimited)
    assert len(upstream.requests) == 1
    again = await calling.chat()
    assert isinstance(again.error, Unavailable)
    assert len(upstream.requests) == 1, "the provider is left alone"


async def test_where_no_other_model_can_answer_a_short_rest_is_waited_for(calling, upstream):
    upstream.script = ["status=429 retry-after=2.2"]
    resting = asyncio.create_task(calling.chat())
    await upstream.until(lambda upstream: upstream.requests and not upstream.open)
    route = await calling.route()
    async with asyncio.timeout(SECONDS):
        while await calling.app.part(Breaker).allow(route.first.connection.id):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    told = await calling.chat(route=route)
    assert (told.text, told.error) == (TEXT, None)
    assert (await resting).text == TEXT


@pytest.mark.parametrize("failure", ["status=401", "status=402"])
async def test_an_account_that_is_refused_is_passed_over_only_where_somebody_else_can_answer(openai, upstream, failure):
    async with HostileUpstream(model="hostile-second") as second:
        await openai.connected(second, name="Second", rank=1)
        upstream.script = [failure]
        both, alone = await openai.route(alone=False), await openai.route()
        for _ in range(3):
            assert (await openai.chat(route=both)).models == ["hostile-second"]
        assert len(upstream.requests) == 1
        assert (await openai.chat(route=alone)).models == ["hostile-chat"], "it was put right"
        assert (await openai.chat(route=both)).models == ["hostile-chat"]


# after the first event: what was said stays said, and is entered as an estimate

MIDWAY = {
    "cut=body": Unavailable,
    "cut=chunk": Unavailable,
    "cut-utf8": BadResponse,
    "bad-chunk": (Unavailable, BadResponse),
    "error-midway": (Unavailable, BadResponse),
    "no-end": BadResponse,
}


@pytest.mark.parametrize("failure", MIDWAY)
async def test_what_fails_after_the_first_word_is_told_and_never_said_twice(calling, upstream, failure):
    upstream.failing = failure
    told = await calling.chat()
    assert isinstance(told.error, MIDWAY[failure]), repr(told.error)
    assert TEXT.startswith(told.text)
    assert told.text
    assert len(upstream.requests) == 1
    [entry] = await calling.entries()
    assert (entry.error, entry.estimated) == (told.error.code, True)
    assert entry.input_tokens > 0
    assert entry.output_tokens > 0
    assert entry.cost > 0
    await nothing_is_left(calling, upstream)


@pytest.mark.parametrize("failure", ["long-line=100000000", "gzip-bomb=1000000000"])
async def test_more_than_anybody_should_read_is_not_read(calling, upstream, failure):
    upstream.failing = failure
    told = await calling.chat()
    assert isinstance(told.error, BadResponse)
    assert upstream.sent < 3 * 80_000_000, "it was broken off"
    await nothing_is_left(calling, upstream)


# silence


@pytest.mark.parametrize("failure", ["wait=600", "stall=600", "stall=600 beats"])
async def test_silence_ends(calling, upstream, failure, monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_EVENT_SECONDS", 0.3)
    monkeypatch.setattr(attempts, "IDLE_SECONDS", 0.3)
    upstream.failing = failure
    told = await calling.chat()
    assert isinstance(told.error, Unavailable)
    assert "silent" in str(told.error)
    begun = failure != "wait=600"
    assert told.text == (WORDS[0] if begun else "")
    entries = await calling.entries()
    assert [(entry.error, entry.estimated) for entry in entries] == [(told.error.code, begun)] * (1 if begun else 3)
    assert len(upstream.left) == len(entries), "the provider is told each time"
    await nothing_is_left(calling, upstream)


async def test_a_slow_answer_is_not_a_silent_one(calling, upstream, monkeypatch):
    monkeypatch.setattr(attempts, "IDLE_SECONDS", 0.5)
    upstream.delay = 0.1
    told = await calling.chat()
    assert (told.text, told.error) == (TEXT, None)


@pytest.mark.parametrize("failure", ["wait=600", "stall=600", "stall=600 beats", "endless"])
async def test_stopping_reaches_the_provider_within_100_ms(calling, upstream, failure):
    upstream.failing = failure
    route, took = await calling.route(), []
    for number in range(3):
        events = []
        asking = asyncio.create_task(calling.chat(route=route, events=events))
        await upstream.until(lambda upstream: upstream.open)
        async with asyncio.timeout(SECONDS):
            while failure != "wait=600" and not any(isinstance(event, TextDelta) for event in events):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        stopped = time.monotonic()
        asking.cancel()
        await upstream.until(lambda upstream, number=number: len(upstream.left) > number)
        took.append(upstream.left[number] - stopped)
        await asyncio.gather(asking, return_exceptions=True)
    assert min(took) < 0.1
    entries = await calling.entries()
    assert [(entry.error, entry.estimated) for entry in entries] == [("", True)] * 3
    await nothing_is_left(calling, upstream)


async def test_whoever_stops_reading_stops_the_provider_too(calling, upstream):
    upstream.failing = "endless"

    def build(info):
        return ChatRequest(model=info.name, messages=(Message("user", (TextPart("Hej"),)),))

    answer = calling.app.part(Runtime).chat(await calling.route(), calling.account, build)
    async for event in answer:
        if isinstance(event, TextDelta):
            break
    await answer.aclose()
    await upstream.until(lambda upstream: upstream.left)
    [entry] = await calling.entries()
    assert entry.estimated
    assert entry.output_tokens > 0
    await nothing_is_left(calling, upstream)


# what a provider says about itself


@pytest.mark.parametrize("failure", ["split-utf8", "unknown-events", "usage-twice"])
async def test_what_is_odd_but_right_is_understood(calling, upstream, failure):
    upstream.failing = failure
    told = await calling.chat()
    assert (told.text, told.error) == (TEXT, None)
    [entry] = await calling.entries()
    assert (entry.input_tokens, entry.output_tokens, entry.estimated) == (10, 8, False)


@pytest.mark.parametrize("failure", ["no-usage", "usage-nonsense"])
async def test_without_figures_there_is_an_estimate(calling, upstream, failure):
    upstream.failing = failure
    told = await calling.chat("How high may a fence be?")
    assert (told.text, told.error) == (TEXT, None)
    [entry] = await calling.entries()
    assert entry.estimated
    assert 5 < entry.input_tokens < 100
    assert 5 < entry.output_tokens < 100
    assert 0 < entry.cost < 10**9


# fallback


async def test_somebody_else_answers_when_one_cannot(calling, upstream):
    async with HostileUpstream(model="hostile-second") as second:
        await calling.connected(second, name="Second", rank=1)
        upstream.failing = "status=500"
        told = await calling.chat(route=await calling.route(alone=False))
        assert (told.text, told.models, told.error) == (TEXT, ["hostile-second"], None)
        assert len(upstream.requests) == 2, "where another can answer, one is tried twice"
        entries = await calling.entries()
        assert [(entry.model, entry.error != "") for entry in entries] == [
            ("hostile-chat", True),
            ("hostile-chat", True),
            ("hostile-second", False),
        ]


async def test_somebody_else_does_not_go_on_with_an_answer_that_was_begun(calling, upstream):
    async with HostileUpstream(model="hostile-second") as second:
        await calling.connected(second, name="Second", rank=1)
        second.requests.clear()
        upstream.failing = "cut=body"
        told = await calling.chat(route=await calling.route(alone=False))
        assert isinstance(told.error, Unavailable)
        assert told.models == ["hostile-chat"]
        assert second.requests == []


async def test_once_the_circuit_is_open_nobody_asks_the_one_that_is_down(calling, upstream):
    async with HostileUpstream(model="hostile-second") as second:
        await calling.connected(second, name="Second", rank=1)
        upstream.failing = "status=500"
        route = await calling.route(alone=False)
        for _ in range(6):
            assert (await calling.chat(route=route)).text == TEXT
        assert len(upstream.requests) == 5
        alone = await calling.chat(route=Route(route.choices[:1]))
        assert isinstance(alone.error, Unavailable)
        assert "Hostile" in str(alone.error)
        assert len(upstream.requests) == 5


async def test_a_provider_that_is_gone_is_left_alone_after_three_calls(openai, upstream):
    async with HostileUpstream() as gone:
        await openai.connected(gone, name="Gone", rank=-1)
    route = await openai.route()
    assert isinstance((await openai.chat(route=route)).error, Unavailable)
    assert len(await openai.entries()) == 3
    assert isinstance((await openai.chat(route=route)).error, Unavailable)
    assert len(await openai.entries()) == 3, "it was not called again"


async def test_a_call_that_finds_out_whether_it_works_again_and_is_stopped_makes_room_for_the_next(openai, upstream):
    upstream.failing = "wait=600"
    route = await openai.route()
    breaker, connection_id = openai.app.part(Breaker), route.first.connection.id
    for _ in range(5):
        await breaker.failed(connection_id, Unavailable("down"))
    await openai.app.redis.hset(f"folkmoot:breaker:{connection_id}", "until", "1")
    async with asyncio.timeout(SECONDS):
        while True:
            finding = asyncio.create_task(openai.chat(route=route))
            while not (finding.done() or upstream.open):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            if upstream.open:
                break
            await asyncio.sleep(0.05)
    assert isinstance((await openai.chat(route=route)).error, Unavailable), "one is enough to find out"
    finding.cancel()
    await asyncio.gather(finding, return_exceptions=True)
    upstream.failing = ""
    assert (await openai.chat(route=route)).text == TEXT


@pytest.mark.parametrize(("retry_after", "again"), [(math.nan, True), (-3.0, True), (math.inf, False), (31.0, False)])
async def test_a_retry_after_that_makes_no_sense_is_not_one(retry_after, again):
    assert await attempts.Attempts("m", last=True).again(RateLimited("slowly", retry_after)) is again


# limits of calls at the same time


async def test_no_more_calls_than_allowed_are_under_way(openai, upstream):
    upstream.delay = 0.01
    route = await openai.route()
    route.first.connection.max_concurrent = 3
    told = await asyncio.gather(*[openai.chat(route=route) for _ in range(12)])
    assert {each.text for each in told} == {TEXT}
    assert upstream.most_open == 3


async def test_nobody_waits_for_ever_for_their_turn_and_a_busy_provider_is_not_a_broken_one(
    openai, upstream, monkeypatch
):
    monkeypatch.setattr("folkmoot.ai.runtime.SLOT_SECONDS", 0.05)
    upstream.failing = "stall=600"
    route = await openai.route()
    route.first.connection.max_concurrent = 1
    events = []
    first = asyncio.create_task(openai.chat(route=route, events=events))
    await upstream.until(lambda upstream: upstream.open)
    for _ in range(6):
        told = await openai.chat(route=route)
        assert isinstance(told.error, Unavailable)
        assert "at the same time" in str(told.error)
    assert len(upstream.requests) == 1
    health = await openai.app.part(Breaker).describe([route.first.connection.id])
    assert health[route.first.connection.id].state == "closed"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_somebody_else_answers_when_one_is_busy(openai, upstream, monkeypatch):
    monkeypatch.setattr("folkmoot.ai.runtime.SHORT_SLOT_SECONDS", 0.05)
    async with HostileUpstream(model="hostile-second") as second:
        await openai.connected(second, name="Second", rank=1)
        upstream.failing = "stall=600"
        route = await openai.route(alone=False)
        route.first.connection.max_concurrent = 1
        first = asyncio.create_task(openai.chat(route=route))
        await upstream.until(lambda upstream: upstream.open)
        assert (await openai.chat(route=route)).models == ["hostile-second"]
        assert len(upstream.requests) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


# embeddings


async def embed(calling, texts, **more):
    route = await calling.route("embedding")
    return await calling.app.part(Runtime).embed(route, calling.account, texts, **more)


async def test_vectors_of_many_calls_go_in_batches_and_are_entered_by_caller(openai, upstream):
    route = await openai.route("embedding")
    route.first.connection.max_concurrent = 2
    runtime = openai.app.part(Runtime)
    calls = [runtime.embed(route, openai.account, [f"text {n}.{m}" for m in range(5)]) for n in range(10)]
    embedded = await asyncio.gather(*calls)
    assert {len(each.whole()) for each in embedded} == {5}
    assert sum(each.input_tokens for each in embedded) == 50, "the provider's own figure"
    asked = [request for request in upstream.requests if request.path.endswith("/embeddings")]
    assert sum(len(request.body["input"]) for request in asked) == 50
    assert len(asked) < 10
    assert upstream.most_open <= 2
    entries = await openai.entries()
    assert sum(entry.input_tokens for entry in entries) == 50
    assert not any(entry.estimated for entry in entries)


@pytest.mark.parametrize("failure", ["vectors=few", "vectors=nan", "vectors=ragged", "cut=body", "html", "status=500"])
async def test_vectors_that_are_none_are_never_stored(openai, upstream, failure, monkeypatch):
    upstream.failing = failure
    with pytest.raises((BadResponse, Unavailable)) as told:
        await embed(openai, ["one", "two"], query=True)
    [entry] = await openai.entries()
    assert (entry.error, entry.cost) == (told.value.code, 0)
    await upstream.until(lambda upstream: not upstream.open)


async def test_embedding_ends_when_whoever_asked_goes_away(openai, upstream):
    upstream.failing = "wait=600"
    asking = asyncio.create_task(embed(openai, ["one"]))
    await upstream.until(lambda upstream: upstream.open)
    asking.cancel()
    await upstream.until(lambda upstream: upstream.left)
    await asyncio.gather(asking, return_exceptions=True)
    await upstream.until(lambda upstream: not upstream.open)


# through a conversation


@pytest.fixture
async def talking(openai):
    """A conversation whose model has no fallback."""
    person = openai.person
    models = (await person.get("/models")).json()["items"]
    hostile = next(model for model in models if model["name"] == "hostile-chat")
    changed = await person.patch(f"/models/{hostile['id']}", json={"fallback_ids": []})
    assert changed.status_code == 200, changed.text
    openai.conversation = await person.conversation(await person.assistant(await person.space()))
    return openai


async def test_a_conversation_keeps_what_was_said_and_says_what_went_wrong(talking, upstream):
    upstream.failing = "cut=body"
    answer = await talking.person.ask(talking.conversation, "Hej")
    assert answer["status"] == "failed"
    assert answer["content"]
    assert TEXT.startswith(answer["content"])
    assert answer["error"]["code"] == "provider-unavailable"
    assert answer["error"]["retryable"]
    [entry] = await talking.entries()
    assert (entry.estimated, entry.error, str(entry.message_id)) == (True, "provider-unavailable", answer["id"])
    assert str(entry.user_id) == str(talking.person.user.id)


@pytest.mark.parametrize("failure", ["status=500", "html", "status=401", "long-line=100000000"])
async def test_a_conversation_without_an_answer_fails_in_words(talking, upstream, failure):
    upstream.failing = failure
    answer = await talking.person.ask(talking.conversation, "Hej")
    assert (answer["status"], answer["content"]) == ("failed", "")
    assert answer["error"]["code"].startswith("provider-")
    assert len(answer["error"]["detail"]) > 20
    assert "Traceback" not in json.dumps(answer)


async def test_stopping_a_conversation_stops_the_provider(talking, upstream):
    upstream.failing = "endless"
    asking = asyncio.create_task(talking.person.ask(talking.conversation, "Hej"))
    await upstream.until(lambda upstream: upstream.open)
    async with asyncio.timeout(SECONDS):
        while True:
            messages = (await talking.person.get(f"/conversations/{talking.conversation}/messages")).json()["items"]
            pending = [message for message in messages if message["role"] == "assistant"]
            if pending:
                break
            await asyncio.sleep(0.01)
    stopped = await talking.person.post(f"/messages/{pending[0]['id']}/stop")
    assert stopped.status_code < 300
    answer = await asking
    assert answer["status"] == "stopped"
    await upstream.until(lambda upstream: upstream.left and not upstream.open)
    [entry] = await talking.entries()
    assert (entry.estimated, entry.error) == (True, "")


async def test_with_a_fallback_nobody_notices(openai, upstream):
    upstream.failing = "status=500"
    async with HostileUpstream(model="hostile-second") as second:
        await openai.connected(second, name="Second", rank=1)
        conversation = await openai.person.conversation(await openai.person.assistant(await openai.person.space()))
        answer = await openai.person.ask(conversation, "Hej")
    assert (answer["status"], answer["content"]) == ("complete", TEXT)
    assert answer["model"]["name"] == "hostile-second"
    assert answer["model"]["instead_of"]["name"] == "hostile-chat"
