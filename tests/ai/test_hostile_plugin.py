"""A provider's plugin is somebody else's code: whatever it does, the rest goes on, and nothing leaks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from folkmoot_sdk import (
    ChatRequest,
    Embeddings,
    Finish,
    InvalidRequest,
    Message,
    ModelInfo,
    Price,
    ProviderSpec,
    RateLimited,
    ReasoningDelta,
    Secret,
    TextDelta,
    TextPart,
    TranscribeRequest,
    Transcript,
    Unavailable,
    Usage,
)
from msgspec import Struct
from sqlalchemy import text

from folkmoot.ai import attempts
from folkmoot.ai import open as opening
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.open import OpenConnections
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.plugins.manager import PluginManager
from folkmoot.usage.ledger import Account, BudgetExhausted
from tests.support.openai_stub import OpenAIStub

KIND = "made-up-by-a-test"
KEY = "a key that only this connection knows"
SAID = (TextDelta("Good day."), Usage(3, 2), Finish("stop"))
RULES = ("rules.md", b"# Fences\n\nA fence may be 1.8 metres high.\n")


class Config(Struct, frozen=True):
    key: Secret
    other: str = ""


@dataclass
class Plugin:
    """What it does, to be changed by a test."""

    listed: Any = field(default_factory=lambda: [ModelInfo("odd-chat", "chat")])
    connecting: Any = None
    said: Any = SAID
    transcript: Any = None
    vector: Any = (1.0, 2.0)
    asked: list[str] = field(default_factory=list)
    begun: int = 0
    closed: int = 0

    @asynccontextmanager
    async def connect(self, _config, _context):
        self.begun += 1
        await _do(self.connecting)
        try:
            yield self
        finally:
            self.closed += 1

    async def models(self):
        await _do(self.listed)
        return self.listed

    async def chat(self, request):
        self.asked.append(request.messages[-1].content[0].text)
        for event in self.said.pop(0) if isinstance(self.said, list) else self.said:
            await _do(event)
            yield event

    async def embed(self, request):
        await _do(self.vector)
        return Embeddings([list(self.vector)] * len(request.texts))

    async def transcribe(self, _request):
        await _do(self.transcript)
        return self.transcript


async def _do(what: object) -> None:
    if isinstance(what, BaseException):
        raise what
    if isinstance(what, asyncio.Event):
        await what.wait()


@pytest.fixture
def plugin(app):
    made = Plugin()
    providers = app.part(PluginManager).providers
    providers[KIND] = ProviderSpec(kind=KIND, title="Odd", config=Config, connect=made.connect)
    yield made
    del providers[KIND]


@pytest.fixture
def check(owner, plugin):
    async def check() -> dict:
        answer = await owner.post("/connections/check", json={"kind": KIND, "config": {"key": KEY}})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return check


async def connected(owner, **fields) -> dict:
    return await owner.made("/connections", kind=KIND, name="Odd", config={"key": KEY}, **fields)


async def route_to(app, owner, name: str, kind: str = "chat") -> Route:
    choices = (await app.part(Catalogue).of(owner.tenant_id)).choices
    return Route(tuple(choice for choice in choices if choice.model.name == name and choice.model.kind == kind))


def account(owner) -> Account:
    return Account(tenant_id=owner.tenant_id, purpose="answer", user_id=owner.user.id)


def hello(info) -> ChatRequest:
    return ChatRequest(info.name, (Message("user", (TextPart("Hello"),)),))


async def entries(superuser, owner) -> list:
    async with superuser.connect() as connection:
        statement = text("SELECT * FROM usage_entries WHERE tenant_id = :tenant ORDER BY id")
        return list(await connection.execute(statement, {"tenant": owner.tenant_id}))


# trying it


@pytest.mark.parametrize("error", [KeyError(KEY), ExceptionGroup("x", [ValueError(KEY)]), InvalidRequest(f"no: {KEY}")])
@pytest.mark.parametrize("where", ["connecting", "listed", "said"])
async def test_a_try_tells_what_failed_and_not_what_is_secret(check, plugin, where, error):
    setattr(plugin, where, (error,) if where == "said" else error)
    tried = await check()
    assert tried["ok"] is False
    assert KEY not in str(tried)
    assert type(error).__name__ in tried["message"] or "no: ***" in tried["message"]


async def test_a_plugin_that_never_connects_is_given_up(check, plugin, monkeypatch):
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 0.05)
    plugin.connecting = asyncio.Event()
    tried = await check()
    assert (tried["ok"], tried["code"]) == (False, "provider-unavailable")


async def test_a_model_that_says_nothing_at_all_does_not_work(check, plugin):
    plugin.said = ()
    assert (await check())["ok"] is False


@pytest.mark.parametrize("listed", [None, 7, [None], "abc", [ModelInfo("a\x00b", "chat")]])
async def test_a_list_that_is_none_is_told(check, plugin, listed):
    plugin.listed = listed
    tried = await check()
    assert tried["ok"] is False
    assert tried["message"]


async def test_what_cannot_be_a_model_or_a_price_is_left_out(owner, plugin):
    plugin.listed = [
        ModelInfo("good", "chat", price=Price(input=1, output=2)),
        ModelInfo("good", "chat"),
        ModelInfo("negative", "chat", price=Price(input=-1)),
        ModelInfo("dear", "chat", price=Price(output=10**30)),
        ModelInfo("long" * 1000, "chat"),
        ModelInfo("strange", "chat", context_window={1, 2}),
        ModelInfo("odd", "sofa"),
        ModelInfo("nul", "chat", title="a\x00b"),
        *(ModelInfo(f"m{number}", "chat") for number in range(5_000)),
    ]
    made = await connected(owner)
    models = {item["name"]: item for item in (await owner.get(f"/connections/{made['id']}/models")).json()["items"]}
    assert len(models) == 1_000
    assert models["good"]["price"]["input"] == 1
    assert models["negative"]["price"] is None
    assert models["dear"]["price"] is None
    assert not models.keys() & {"strange", "odd", "nul", "long" * 1000}


async def test_a_failure_with_nul_in_its_words_is_kept(owner, plugin):
    made = await connected(owner)
    plugin.said = (InvalidRequest("no\x00 thanks"),)
    assert (await owner.post(f"/connections/{made['id']}/check")).json()["ok"] is False
    assert (await owner.get(f"/connections/{made['id']}")).json()["check_message"] == "no thanks"


# answers


@pytest.mark.parametrize("error", [KeyError(KEY), TimeoutError(), ConnectionError(KEY)])
async def test_when_a_plugin_breaks_the_next_model_answers(owner, plugin, error):
    await connected(owner)
    async with OpenAIStub(models=("second-chat",)) as second:
        await owner.made("/connections", kind="openai", name="Second", config={"base_url": second.url})
        conversation = await owner.conversation(await owner.assistant(await owner.space()))
        plugin.said = (error,)
        answer = await owner.ask(conversation, "Is anybody there?")
    assert (answer["status"], answer["model"]["name"]) == ("complete", "second-chat")


async def test_an_answer_ends_whatever_characters_come(owner, plugin):
    await connected(owner)
    conversation = await owner.conversation(await owner.assistant(await owner.space()))
    plugin.said = (ReasoningDelta("hm\x00m"), TextDelta("Good\x00 day."), Usage(-5, 10**40), Finish("stop"))
    answer = await owner.ask(conversation, "Hello")
    assert (answer["status"], answer["content"]) == ("complete", "Good day.")
    assert answer["usage"]["input_tokens"] == 0
    plugin.said = (InvalidRequest(f"no\x00 thanks, {KEY}"),)
    answer = await owner.ask(conversation, "Hello")
    assert (answer["status"], answer["error"]["detail"]) == ("failed", "no thanks, ***")


@pytest.mark.parametrize("usage", [Usage(None, "7"), Usage(-1, -1), Usage(10**30, 10**30), Usage(2.5, [])])  # type: ignore[arg-type]
async def test_figures_that_cannot_be_are_entered_as_they_can_be(app, owner, plugin, superuser, usage):
    await connected(owner)
    plugin.said = (TextDelta("Good day."), usage, Finish("stop"))
    route = await route_to(app, owner, "odd-chat")
    async with aclosing(app.part(Runtime).chat(route, account(owner), hello)) as events:
        assert [event async for event in events][-1] == Finish("stop")
    [entry] = await entries(superuser, owner)
    assert 0 <= entry.input_tokens <= 100_000_000
    assert entry.cost > 0


async def test_whoever_leaves_before_the_first_word_pays_for_the_question(app, owner, plugin, superuser):
    await connected(owner)
    plugin.asked.clear()
    plugin.said = (asyncio.Event(),)
    route = await route_to(app, owner, "odd-chat")

    async def ask():
        async with aclosing(app.part(Runtime).chat(route, account(owner), hello)) as events:
            async for _ in events:
                pass

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(10):
        while not plugin.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    [entry] = await entries(superuser, owner)
    assert entry.estimated
    assert entry.input_tokens > 0
    assert entry.cost > 0


async def test_a_class_that_is_raised_while_a_call_is_tried_again_holds_for_the_next_try(
    owner, plugin, monkeypatch, app
):
    """The provider asks for patience, and meanwhile the space becomes secret."""
    secret = await owner.made("/data-classes", name="Secret", level=2)
    await connected(owner)
    monkeypatch.setattr("folkmoot.ai.route.FRESH_SECONDS", -1.0)
    space = await owner.space()
    conversation = await owner.conversation(await owner.assistant(space))
    raised = asyncio.Event()
    plugin.asked.clear()
    plugin.said = [(RateLimited("slowly", 0.0),), SAID]

    async def patient(self, error):
        assert (await owner.patch(f"/spaces/{space}", json={"data_class_id": secret["id"]})).status_code == 200
        raised.set()
        return True

    monkeypatch.setattr(attempts.Attempts, "again", patient)
    answer = await owner.ask(conversation, "A question that becomes secret")
    assert raised.is_set()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "model-not-cleared")
    assert len(plugin.asked) == 1, "it was not sent again"


# other calls


async def test_audio_is_refused_once_the_budget_is_gone(app, owner, plugin):
    price = Price(audio_minute=6_000)
    plugin.listed = [ModelInfo("odd-ears", "transcription", price=price)]
    await connected(owner)
    await owner.made("/budgets", kind="tenant", period="day", limit_micros=10_000)
    plugin.transcript = Transcript("Hello", seconds=60.0)
    route, runtime = await route_to(app, owner, "odd-ears", "transcription"), app.part(Runtime)
    request = TranscribeRequest("", b"\0" * 240_000, "audio/wav")
    await runtime.transcribe(route, account(owner), request)
    with pytest.raises(BudgetExhausted):
        await runtime.transcribe(route, account(owner), request)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -3.0, 1e12, "long"])
async def test_a_length_that_cannot_be_is_counted_by_the_bytes(app, owner, plugin, superuser, seconds):
    plugin.listed = [ModelInfo("odd-ears", "transcription")]
    await connected(owner)
    plugin.transcript = Transcript("Hello", seconds=seconds)
    route = await route_to(app, owner, "odd-ears", "transcription")
    await app.part(Runtime).transcribe(route, account(owner), TranscribeRequest("", b"\0" * 40_000, "audio/wav"))
    [entry] = await entries(superuser, owner)
    assert (entry.audio_seconds, entry.estimated) == (10.0, True)


@pytest.mark.parametrize("vector", [(1e6, 1.0), (0.0, 0.0), (1.0,) * 20_000])
async def test_documents_and_searches_do_without_vectors_that_cannot_be_stored(owner, plugin, vector):
    plugin.listed = [ModelInfo("odd-embed", "embedding")]
    await connected(owner)
    collection = await owner.collection()
    await owner.knows(collection, RULES)
    plugin.vector = vector
    [document] = await owner.knows(collection, ("more.md", b"# Gates\n\nA gate may be two metres wide.\n"))
    assert "words only" in str(document["warnings"])
    found = await owner.post(f"/collections/{collection}/search", json={"query": "How wide is a gate?"})
    assert found.status_code == 200, found.text
    assert found.json()["items"]


# connections that are held open


async def test_of_two_changes_at_once_the_later_does_not_bring_the_old_key_back(owner, plugin):
    made = await connected(owner)
    path = f"/connections/{made['id']}"
    plugin.connecting = asyncio.Event()
    before = plugin.begun
    slow = asyncio.create_task(owner.patch(path, json={"config": {"other": "slow"}}))
    async with asyncio.timeout(10):
        while plugin.begun == before:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    quick = await owner.patch(f"{path}?check=false", json={"config": {"key": "a new key of this connection"}})
    assert quick.status_code == 200
    plugin.connecting.set()
    refused = await slow
    assert (refused.status_code, refused.json()["code"]) == (409, "try-again")
    assert (await owner.get(path)).json()["config"]["other"] == ""


async def test_a_stale_change_of_a_configuration_is_refused_before_it_is_tried(owner, plugin):
    made = await connected(owner)
    path = f"/connections/{made['id']}"
    tag = (await owner.get(path)).headers["etag"]
    assert (await owner.patch(path, json={"country": "SE"})).status_code == 200
    plugin.asked.clear()
    stale = await owner.patch(path, json={"config": {"other": "more"}}, headers={"If-Match": tag})
    assert stale.status_code == 412
    assert plugin.asked == []


async def test_a_connection_that_was_changed_is_closed_once_nobody_talks_over_it(app, owner, plugin, monkeypatch):
    monkeypatch.setattr(opening, "LOOK_SECONDS", 0.005)
    made = await connected(owner)
    route, connections = await route_to(app, owner, "odd-chat"), app.part(OpenConnections)
    talking = await connections.open(route.first)
    changed = await owner.patch(f"/connections/{made['id']}?check=false", json={"config": {"other": "more"}})
    assert changed.status_code == 200, changed.text
    closed = plugin.closed
    await connections.open((await route_to(app, owner, "odd-chat")).first)
    await asyncio.sleep(0.05)
    assert plugin.closed == closed, "somebody talks over it"
    del talking
    async with asyncio.timeout(10):
        while plugin.closed == closed:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_one_that_does_not_connect_keeps_nobody_else_waiting(app, owner, tenancy, plugin):
    await connected(owner)
    stuck_route = await route_to(app, owner, "odd-chat")
    other = await tenancy.owner()
    plugin.connecting = asyncio.Event()
    stuck = asyncio.create_task(app.part(OpenConnections).open(stuck_route.first))
    async with asyncio.timeout(10):
        conversation = await other.conversation(await other.assistant(await other.space()))
        assert (await other.ask(conversation, "Hello"))["status"] == "complete"
    assert not stuck.done()
    plugin.connecting.set()
    await stuck


async def test_a_connection_that_is_out_of_reach_is_an_error_of_the_provider(app, owner, plugin):
    await connected(owner)
    plugin.connecting = OSError("no route to host")
    with pytest.raises(Unavailable):
        await app.part(OpenConnections).open((await route_to(app, owner, "odd-chat")).first)
