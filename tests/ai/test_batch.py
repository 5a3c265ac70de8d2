"""Texts of many callers go in full batches, and each gets its own vector, error and share of the tokens."""

import asyncio
import math
import random

import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ContentRefused,
    ContextTooLong,
    Embeddings,
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from folkmoot.ai.batch import Batcher
from folkmoot.ai.lane import Patience, shared, tokens_of

QUICK = Patience(gather=0.01, pause=0.005, longest_pause=0.01, limited=0.5, limited_query=0.1, slow=0.05, call=5)
SECONDS = 30


def vector(text):
    """One that tells texts apart."""
    return [float(len(text)), float(sum(map(ord, text))), 1.0]


class Provider:
    """Embeds, fails as its list says first, and remembers what it was asked."""

    def __init__(self, *failures, stay=0.0, refuse=None, tokens=lambda texts: sum(map(len, texts))):
        self.failures, self.stay, self.refuse, self.tokens = list(failures), stay, refuse, tokens
        self.batches, self.requests = [], []
        self.now = self.most = self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def embed(self, request):
        self.requests.append(request)
        self.batches.append(request.texts)
        self.asked.set()
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.stay)
            await self.gate.wait()
            if self.failures and (failure := self.failures.pop(0)) is not None:
                raise failure
            if self.refuse is not None:
                for text in request.texts:
                    if (error := self.refuse(text)) is not None:
                        raise error
            return Embeddings([vector(text) for text in request.texts], self.tokens(request.texts))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1


class Answering:
    """Answers with what the function makes of each request."""

    def __init__(self, answer):
        self.answer, self.calls = answer, 0

    async def embed(self, request):
        self.calls += 1
        return self.answer(request)


@pytest.fixture
async def batcher():
    made = Batcher(QUICK)
    yield made
    await made.close()


async def embed(batcher, provider, texts, *, key="a", max_batch=8, max_tokens=None, **more):
    async with asyncio.timeout(SECONDS):
        return await batcher.embed(key, "m", provider, texts, max_batch=max_batch, max_tokens=max_tokens, **more)


def poison(text):
    return ContentRefused(f"{text} is refused") if "poison" in text else None


def names(count, start=0):
    return [f"text {number:04}" for number in range(start, start + count)]


async def test_each_text_gets_its_vector_in_order(batcher):
    texts = names(50)
    outcome = await embed(batcher, provider := Provider(), texts)
    assert outcome.vectors == [vector(text) for text in texts]
    assert [len(batch) for batch in provider.batches] == [8, 8, 8, 8, 8, 8, 2]
    assert provider.requests[0].model == "m"
    assert provider.requests[0].purpose == "document"


async def test_nothing_to_embed_asks_nobody(batcher):
    outcome = await embed(batcher, provider := Provider(), [])
    assert (outcome.vectors, outcome.tokens, outcome.estimated, provider.batches) == ([], [], False, [])


async def test_texts_of_many_callers_share_full_batches(batcher):
    provider = Provider(stay=0.002)
    outcomes = await asyncio.gather(*[embed(batcher, provider, names(5, 5 * n)) for n in range(32)])
    assert len(provider.batches) == 160 / 8
    for n, outcome in enumerate(outcomes):
        assert outcome.vectors == [vector(text) for text in names(5, 5 * n)]


async def test_one_alone_does_not_wait_for_others(batcher):
    patient = Batcher(Patience(gather=3600))
    outcome = await embed(patient, Provider(), ["alone"])
    assert outcome.vectors == [vector("alone")]
    await patient.close()


async def test_a_batch_that_is_not_full_waits_for_newcomers_while_another_is_under_way():
    batcher, provider = Batcher(Patience(gather=3600)), Provider()
    provider.gate.clear()
    first = asyncio.create_task(embed(batcher, provider, ["first"]))
    await provider.asked.wait()
    later = [asyncio.create_task(embed(batcher, provider, [f"later {number}"])) for number in range(8)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert provider.batches == [("first",), tuple(f"later {number}" for number in range(8))], "full: it leaves"
    last = asyncio.create_task(embed(batcher, provider, ["last"]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(provider.batches) == 2
    provider.gate.set()
    await asyncio.gather(first, last, *later)
    assert provider.batches[2:] == [("last",)], "nothing else is under way: it leaves"
    await batcher.close()


async def test_it_leaves_after_a_moment_without_newcomers(batcher):
    provider = Provider()
    provider.gate.clear()
    first = asyncio.create_task(embed(batcher, provider, ["first"]))
    await provider.asked.wait()
    provider.asked.clear()
    second = asyncio.create_task(embed(batcher, provider, ["second"]))
    async with asyncio.timeout(SECONDS):
        await provider.asked.wait()
    assert provider.now == 2
    provider.gate.set()
    await asyncio.gather(first, second)


async def test_newcomers_cannot_keep_a_batch_for_ever():
    batcher, provider = Batcher(Patience(gather=0.05)), Provider()
    provider.gate.clear()
    calls = [asyncio.create_task(embed(batcher, provider, ["first"], max_batch=10_000))]
    await provider.asked.wait()
    provider.asked.clear()
    async with asyncio.timeout(SECONDS):
        while not provider.asked.is_set():
            calls.append(asyncio.create_task(embed(batcher, provider, ["more"], max_batch=10_000)))
            await asyncio.sleep(0.005)
    provider.gate.set()
    await asyncio.gather(*calls)
    await batcher.close()


async def test_a_batch_is_full_by_tokens_too(batcher):
    texts = ["x" * 30] * 10
    outcome = await embed(batcher, provider := Provider(), [*texts, "y" * 900], max_batch=100, max_tokens=40)
    assert [len(batch) for batch in provider.batches] == [4, 4, 2, 1], "one that is too long by itself goes alone"
    assert outcome.vectors[-1] == vector("y" * 900)


def test_tokens_are_rather_counted_too_many():
    assert tokens_of("") == 1
    assert tokens_of("The municipality of Sundsvall") == 10
    assert tokens_of("公共图书馆") == 5
    assert tokens_of("\ud800broken") > 0


async def test_no_more_batches_than_allowed_are_under_way(batcher):
    provider = Provider(stay=0.002)
    await asyncio.gather(*[embed(batcher, provider, names(40)) for _ in range(10)])
    assert provider.most == 4
    assert len(provider.batches) == 50


@pytest.mark.parametrize("other", [{"key": "b"}, {"dimensions": 3}, {"purpose": "query"}])
async def test_what_must_not_be_mixed_is_not(batcher, other):
    provider = Provider()
    await asyncio.gather(embed(batcher, provider, ["one"]), embed(batcher, provider, ["two"], **other))
    assert sorted(provider.batches) == [("one",), ("two",)]
    assert {request.dimensions for request in provider.requests} == {None, other.get("dimensions")}


async def test_a_query_waits_for_nobody():
    batcher, provider, other = Batcher(Patience(gather=3600, at_once=1)), Provider(), Provider()
    provider.gate.clear()
    documents = asyncio.create_task(embed(batcher, provider, names(100)))
    await provider.asked.wait()
    outcome = await embed(batcher, other, names(12), purpose="query")
    assert outcome.vectors == [vector(text) for text in names(12)]
    assert [len(batch) for batch in other.batches] == [8, 4]
    assert {request.purpose for request in other.requests} == {"query"}
    provider.gate.set()
    await documents
    await batcher.close()


# what fails


@pytest.mark.parametrize("error", [ContentRefused, ContextTooLong, InvalidRequest])
async def test_the_one_text_that_is_refused_fails_alone(batcher, error):
    texts = names(64)
    texts[37] = "poison"
    provider = Provider(refuse=lambda text: error("no") if text == "poison" else None)
    outcome = await embed(batcher, provider, texts, max_batch=64)
    assert type(outcome.vectors[37]) is error
    assert outcome.tokens[37] == 0
    for place, text in enumerate(texts):
        assert place == 37 or outcome.vectors[place] == vector(text)
    assert len(provider.batches) <= 1 + 2 * math.log2(64)


@given(
    bad=st.sets(st.integers(0, 39), max_size=40),
    max_batch=st.sampled_from([1, 2, 7, 40]),
    callers=st.integers(1, 4),
)
@hypothesis_settings(max_examples=40, deadline=None)
async def test_whichever_are_refused_the_others_get_their_vectors(bad, max_batch, callers):
    batcher = Batcher(Patience(gather=0.0, hopeless=1_000))
    provider = Provider(refuse=poison)
    mine = [f"text {number}" + (" poison" if number in bad else "") for number in range(40)]
    size = math.ceil(40 / callers)
    parts = [mine[start : start + size] for start in range(0, 40, size)]
    outcomes = await asyncio.gather(*[embed(batcher, provider, part, max_batch=max_batch) for part in parts])
    got = [vector for outcome in outcomes for vector in outcome.vectors]
    for number, text in enumerate(mine):
        assert got[number] == vector(text) if number not in bad else isinstance(got[number], ContentRefused)
    await batcher.close()


async def test_a_request_that_is_refused_as_such_is_not_asked_for_every_text(batcher):
    provider = Provider(refuse=lambda _: InvalidRequest("unknown parameter: dimensions"))
    outcome = await embed(batcher, provider, names(4_096), max_batch=512)
    assert all(isinstance(vector, InvalidRequest) for vector in outcome.vectors)
    assert len(provider.batches) < 200


async def test_many_refused_texts_do_not_take_the_good_ones_along(batcher):
    texts = [f"poison {number:06}" for number in range(30)] + names(34)
    outcome = await embed(batcher, Provider(refuse=poison), texts, max_batch=64)
    assert [isinstance(vector, list) for vector in outcome.vectors] == [False] * 30 + [True] * 34


async def test_a_provider_that_takes_smaller_batches_than_it_says_is_learned(batcher):
    class Small(Provider):
        async def embed(self, request):
            self.batches.append(request.texts)
            if len(request.texts) > 16:
                raise InvalidRequest("at most 16 inputs")
            return Embeddings([vector(text) for text in request.texts], 1)

    provider = Small()
    outcome = await embed(batcher, provider, names(64), max_batch=64)
    assert all(isinstance(vector, list) for vector in outcome.vectors)
    await embed(batcher, provider, names(64), max_batch=64)
    assert [len(batch) for batch in provider.batches[-4:]] == [16, 16, 16, 16]


@pytest.mark.parametrize("error", [Unavailable("down"), BadResponse("half")])
async def test_what_may_pass_is_tried_again(batcher, error):
    outcome = await embed(batcher, provider := Provider(error, error), names(3))
    assert outcome.vectors == [vector(text) for text in names(3)]
    assert len(provider.batches) == 3


async def test_what_does_not_pass_is_the_error_of_its_texts_alone(batcher):
    provider = Provider(refuse=lambda text: Unavailable("overloaded") if "poison" in text else None)
    outcome = await embed(batcher, provider, [*names(8), *["poison"] * 8, *names(8)])
    assert [isinstance(vector, list) for vector in outcome.vectors] == [True] * 8 + [False] * 8 + [True] * 8
    assert provider.batches.count(("poison",) * 8) == 3


@pytest.mark.parametrize("error", [AuthenticationFailed, QuotaExhausted, ModelNotFound])
async def test_what_cannot_pass_is_not_tried_again(batcher, error):
    outcome = await embed(batcher, provider := Provider(*[error("no")] * 9), names(8))
    assert all(type(vector) is error for vector in outcome.vectors)
    assert len(provider.batches) == 1


async def test_a_call_that_never_ends_fails():
    batcher, provider = Batcher(Patience(call=0.01, tries=1)), Provider()
    provider.gate.clear()
    outcome = await embed(batcher, provider, ["text"])
    assert isinstance(outcome.vectors[0], Unavailable)
    assert provider.cancelled == 1
    await batcher.close()


async def test_a_defect_of_the_plugin_reaches_its_callers_and_nobody_waits_for_ever(batcher):
    with pytest.raises(ZeroDivisionError):
        await embed(batcher, Provider(ZeroDivisionError()), names(100))
    outcome = await embed(batcher, Provider(), names(3))
    assert outcome.vectors == [vector(text) for text in names(3)]


# limits of the provider


async def test_retry_after_is_waited_for(batcher):
    class Clocked(Provider):
        times = []

        async def embed(self, request):
            self.times.append(asyncio.get_running_loop().time())
            return await super().embed(request)

    provider = Clocked(RateLimited("slowly", 0.1))
    outcome = await embed(batcher, provider, names(30))
    assert all(isinstance(vector, list) for vector in outcome.vectors)
    refused, *others = provider.times
    assert not [time for time in others[3:] if time < refused + 0.09], "only those under way already came sooner"


async def test_without_retry_after_it_backs_off_by_itself(batcher):
    provider = Provider(*[RateLimited("slowly")] * 3)
    outcome = await embed(batcher, provider, names(8))
    assert outcome.vectors == [vector(text) for text in names(8)]


@pytest.mark.parametrize("retry_after", [math.nan, math.inf, -1.0])
async def test_a_retry_after_that_makes_no_sense_is_not_one(batcher, retry_after):
    outcome = await embed(batcher, Provider(RateLimited("slowly", retry_after)), names(8))
    assert outcome.vectors == [vector(text) for text in names(8)]


async def test_after_a_refusal_fewer_go_at_once_for_a_while():
    batcher = Batcher(Patience(gather=0.0, at_once=4, slow=3600, pause=0.001))
    provider = Provider(*[RateLimited("slowly")] * 4, stay=0.002)
    await embed(batcher, provider, names(160))
    assert provider.most == 4
    provider.most = 0
    await embed(batcher, provider, names(160))
    assert provider.most == 2, "four refusals of one moment are one"
    await batcher.close()


async def test_it_goes_back_to_as_many_as_before():
    batcher = Batcher(Patience(gather=0.0, at_once=4, slow=0.01, pause=0.001))
    provider = Provider(RateLimited("slowly"), stay=0.001)
    await embed(batcher, provider, names(80))
    async with asyncio.timeout(SECONDS):
        while provider.most < 4 or provider.failures:
            provider.most = 0
            await embed(batcher, provider, names(160))
    await batcher.close()


async def test_patience_ends(batcher):
    endless = Provider(refuse=lambda _: RateLimited("slowly", 0.05))
    outcome = await embed(batcher, endless, names(100))
    assert all(isinstance(vector, RateLimited) for vector in outcome.vectors)
    outcome = await embed(batcher, Provider(), names(3))
    assert outcome.vectors == [vector(text) for text in names(3)], "and who comes later is not made to wait"


async def test_a_provider_that_wants_more_patience_than_there_is_is_believed_at_once(batcher):
    provider = Provider(refuse=lambda _: RateLimited("tomorrow", 86_400))
    outcome = await embed(batcher, provider, names(100))
    assert all(isinstance(vector, RateLimited) for vector in outcome.vectors)
    assert len(provider.batches) <= 4 + 1


async def test_progress_renews_patience():
    batcher = Batcher(Patience(gather=0.0, at_once=1, pause=0.001, longest_pause=0.002, limited=0.06))
    refusals = [each for _ in range(40) for each in (RateLimited("slowly", 0.005), None)]
    outcome = await embed(batcher, Provider(*refusals), names(40), max_batch=1)
    assert all(isinstance(vector, list) for vector in outcome.vectors)
    await batcher.close()


# answers that are none


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        [[1.0, 2.0]],
        [[1.0, 2.0]] * 3,
        [[1.0, 2.0], [1.0]],
        [[1.0, 2.0], []],
        [[], []],
        [[1.0, 2.0], [1.0, math.nan]],
        [[1.0, 2.0], [math.inf, 1.0]],
        [[1.0, 2.0], [math.inf, -math.inf]],
        [[1.0, 2.0], ["1", "2"]],
        [[1.0, 2.0], [None, 2.0]],
        [[1.0, 2.0], [10**400, 2.0]],
    ],
)
async def test_vectors_that_cannot_be_used_are_no_answer(batcher, vectors):
    outcome = await embed(batcher, provider := Answering(lambda _: Embeddings(vectors, 1)), ["one", "two"])
    assert [type(vector) for vector in outcome.vectors] == [BadResponse, BadResponse]
    assert outcome.tokens == [0, 0]
    assert provider.calls == 3


async def test_vectors_of_another_size_than_asked_for_are_no_answer(batcher):
    provider = Answering(lambda request: Embeddings([[1.0, 2.0] for _ in request.texts], 1))
    outcome = await embed(batcher, provider, ["one"], dimensions=3)
    assert isinstance(outcome.vectors[0], BadResponse)
    assert "3" in str(outcome.vectors[0])


async def test_all_batches_of_a_caller_have_vectors_of_one_size(batcher):
    provider = Answering(lambda request: Embeddings([[1.0] * (3 if "text 0000" in request.texts else 4)] * 8, 1))
    outcome = await embed(batcher, provider, names(16))
    assert {len(vector) for vector in outcome.vectors if isinstance(vector, list)} in ({3}, {4})
    assert sum(isinstance(vector, BadResponse) for vector in outcome.vectors) == 8
    other = Answering(lambda request: Embeddings([[1.0] * 5] * len(request.texts), 1))
    outcome = await embed(batcher, other, names(8))
    assert {len(vector) for vector in outcome.vectors} == {5}, "the model may be another one by now"


# tokens


@pytest.mark.parametrize("total", [0, 1, 7, 999, 12_345])
async def test_the_providers_figure_is_shared_out_to_the_last_token(batcher, total):
    provider = Provider(tokens=lambda _: total, stay=0.001)
    random.seed(total)
    parts = [["x" * random.randrange(300) for _ in range(random.randrange(1, 30))] for _ in range(12)]
    outcomes = await asyncio.gather(*[embed(batcher, provider, part) for part in parts])
    assert sum(sum(outcome.tokens) for outcome in outcomes) == total * len(provider.batches)
    assert not any(outcome.estimated for outcome in outcomes)


@given(st.integers(0, 10**15), st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_shares_add_up_and_are_fair(total, weights):
    parts = shared(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) <= 1 + total * 1e-9


@pytest.mark.parametrize("figure", [None, -5])
async def test_without_a_figure_tokens_are_estimated_and_marked_so(batcher, figure):
    outcome = await embed(batcher, Provider(tokens=lambda _: figure), ["some words", "more"])
    assert outcome.estimated
    assert outcome.tokens == [tokens_of("some words"), tokens_of("more")]


async def test_figures_and_estimates_together_are_marked_too(batcher):
    figures = iter([10, None])
    outcome = await embed(batcher, Provider(tokens=lambda _: next(figures)), names(16))
    assert outcome.estimated


async def test_a_text_that_failed_costs_nothing(batcher):
    outcome = await embed(batcher, Provider(refuse=poison, tokens=lambda texts: 10 * len(texts)), ["ok", "poison"])
    assert outcome.tokens == [10, 0]


# who goes away


async def test_one_caller_who_leaves_does_not_harm_the_others(batcher):
    provider = Provider()
    provider.gate.clear()
    callers = [asyncio.create_task(embed(batcher, provider, names(3, 3 * n))) for n in range(20)]
    await provider.asked.wait()
    for caller in callers[::2]:
        caller.cancel()
    await asyncio.sleep(0)
    provider.gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    for n in range(1, 20, 2):
        assert outcomes[n].vectors == [vector(text) for text in names(3, 3 * n)]


async def test_what_nobody_waits_for_any_more_is_broken_off_and_never_sent(batcher):
    provider = Provider()
    provider.gate.clear()
    caller = asyncio.create_task(embed(batcher, provider, names(100)))
    await provider.asked.wait()
    while provider.now < 4:  # noqa: ASYNC110
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    provider.gate.set()
    await embed(batcher, provider, ["next"])
    assert provider.cancelled == 4
    assert provider.batches[4:] == [("next",)]


async def test_who_leaves_while_a_batch_waits_for_its_turn_does_not_keep_it_waiting(batcher):
    provider = Provider(RateLimited("slowly", 0.2))
    alone = asyncio.create_task(embed(batcher, provider, ["gone"]))
    await provider.asked.wait()
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    outcome = await embed(batcher, provider, ["here"])
    assert outcome.vectors == [vector("here")]
    assert ("gone",) not in provider.batches[1:]


async def test_the_end_of_the_process_is_the_end_of_all_that_waits():
    batcher, provider = Batcher(QUICK), Provider()
    provider.gate.clear()
    callers = [asyncio.create_task(embed(batcher, provider, names(100))) for _ in range(3)]
    query = asyncio.create_task(embed(batcher, provider, ["query"], purpose="query"))
    await provider.asked.wait()
    await batcher.close()
    for outcome in await asyncio.gather(*callers, query):
        assert all(isinstance(vector, ProviderError) for vector in outcome.vectors)


async def test_connections_that_are_not_used_are_forgotten(monkeypatch, batcher):
    monkeypatch.setattr("folkmoot.ai.batch.MOST_LANES", 10)
    for number in range(100):
        await embed(batcher, Provider(), ["text"], key=str(number))
        await embed(batcher, Provider(), ["text"], key=str(number), purpose="query")
    assert len(batcher._lanes) <= 10
    assert not batcher._queries
