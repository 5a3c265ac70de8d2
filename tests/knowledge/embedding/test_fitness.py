"""How well a model knows a language: measured on one's own texts, paid for, and used by the search."""

from __future__ import annotations

from random import Random
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import select, text, update

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.connect import connect
from folkmoot.kit.access import Principal
from folkmoot.knowledge.embedding import fitness
from folkmoot.knowledge.embedding.fitness import FEWEST, SAMPLE, Cloze, compare, due, fit_of, measure, take_out
from folkmoot.knowledge.fuse import USUAL_WEIGHT, weight_of
from folkmoot.knowledge.golden.models import SpaceFitness
from folkmoot.knowledge.models import Collection
from tests.support.openai_stub import OpenAIStub

WORDS = ("fence", "oak", "permit", "street", "garden", "roof", "notice", "harbour", "bridge", "library", "winter")


def section(number: int) -> str:
    """Sentences that share words with each other, and few with other sections."""
    own = [f"{WORDS[number % len(WORDS)]}{number}", f"ward{number}", f"clerk{number}"]
    return " ".join(
        f"The {own[0]} of {own[1]} is looked after by {own[2]} {detail} before the council meets again that year."
        for detail in ("every morning", "with two others", "without any pay", "in all seasons", "near the old mill")
    )


def sections(count: int, start: int = 0) -> bytes:
    return "\n\n".join(f"# Section {n}\n\n{section(n)}" for n in range(start, start + count)).encode()


def clozes(count: int) -> list[Cloze]:
    found = [take_out("en", "", section(number), Random(number)) for number in range(count)]
    return [item for item in found if item is not None]


def test_a_sentence_is_taken_out_and_the_rest_stays():
    item = take_out("en", "Rules > Fences", section(1), Random(1))
    assert item is not None
    assert item.sentence in section(1)
    assert item.sentence not in item.rest
    assert len(item.rest) + len(item.sentence) + 1 == len(section(1))
    assert item.embedded.startswith("Rules > Fences\n")


@pytest.mark.parametrize(
    "text", ["", "One sentence alone.", "Yes. No. Yes. No.", "A sentence with enough words in it. Short."]
)
def test_what_has_no_sentence_to_miss_is_left_out(text):
    assert take_out("en", "", text, Random(1)) is None


def test_chinese_is_cut_at_its_own_full_stops():
    item = take_out("zh", "", "柵欄最高可達一米二。" * 3 + "橡樹未經許可不得砍伐。狗必須繫上皮帶。", Random(1))
    assert item is not None
    assert item.sentence.endswith("。")


def test_a_model_that_finds_every_rest_and_one_that_guesses_are_told_apart():
    sample = clozes(60)
    perfect = compare("en", sample, np.eye(60, dtype=np.float32) * 0.5 + 0.1)
    assert perfect.by_vector == 1.0
    assert perfect.unrelated == pytest.approx(0.1)
    guessed = compare("en", sample, np.random.default_rng(1).random((60, 60), np.float32))
    assert guessed.by_vector < 0.2
    assert perfect.by_text == guessed.by_text > 0.8, "the words are given the same task, whatever the model does"
    assert weight_of(guessed.by_vector / guessed.by_text) < 0.05 < weight_of(perfect.by_vector / perfect.by_text)


def test_a_model_that_says_the_same_of_everything_is_no_better_than_chance():
    same = compare("en", clozes(40), np.full((40, 40), 0.8, np.float32))
    assert same.by_vector == pytest.approx(1 / 20.5)
    assert same.spread == pytest.approx(0, abs=1e-6)


@pytest.fixture
async def stub():
    async with OpenAIStub() as server:
        yield server


@pytest.fixture
async def connected(app, owner, stub):
    config = {"api_key": "sk", "base_url": stub.url}
    assert await connect(app, owner.tenant_id, kind="openai", name="Stub", config=config, rank=0)
    return stub


@pytest.fixture
async def many(owner, connected):
    """A collection of more than enough chunks with vectors."""
    collection = await owner.collection()
    await owner.knows(collection, ("sections.md", sections(30)))
    return collection


async def due_now(app, owner) -> list[fitness.Due]:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        return await due(work)


async def measured(app, owner) -> list[SpaceFitness]:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        return list(await work.session.scalars(select(SpaceFitness)))


async def fit(app, owner, collection: str, *languages: str):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        space_id = (await work.session.get_one(Collection, UUID(collection))).embedding_space_id
        return await fit_of(work, space_id, languages)


async def test_a_language_is_measured_once_there_is_enough_of_it_and_the_search_uses_it(app, owner, many):
    assert (await fit(app, owner, many, "en")).weight == USUAL_WEIGHT
    (wanted,) = await due_now(app, owner)
    assert (wanted.language, wanted.chunk_count) == ("en", 30)
    assert await measure(app, owner.tenant_id, wanted)
    (row,) = await measured(app, owner)
    assert row.sampled == 30
    assert 0 < row.by_text <= 1
    assert 0 < row.by_vector <= 1
    found = await fit(app, owner, many, "en", "sv")
    assert found.weight == pytest.approx(weight_of(row.by_vector / row.by_text))
    assert (found.unrelated, found.spread) == (row.unrelated, row.spread)
    assert (await fit(app, owner, many, "sv")).weight == USUAL_WEIGHT, "nobody has measured Swedish"
    hits = await owner.post(f"/collections/{many}/search", json={"query": "Who looks after the oak1 of ward1?"})
    assert "clerk1 " in hits.json()["items"][0]["text"]


async def test_it_is_measured_again_only_when_there_is_twice_as_much(app, owner, many):
    await measure(app, owner.tenant_id, (await due_now(app, owner))[0])
    assert await due_now(app, owner) == []
    await owner.knows(many, ("more.md", sections(20, 30)))
    assert await due_now(app, owner) == []
    await owner.knows(many, ("yet more.md", sections(12, 50)))
    (wanted,) = await due_now(app, owner)
    assert wanted.chunk_count == 62
    assert await measure(app, owner.tenant_id, wanted)
    (row,) = await measured(app, owner)
    assert (row.chunk_count, row.sampled) == (62, 62)


async def test_few_chunks_are_not_measured(app, owner, connected):
    collection = await owner.collection()
    await owner.knows(collection, ("sections.md", sections(FEWEST - 1)))
    assert await due_now(app, owner) == []


async def test_texts_without_a_sentence_to_miss_are_not_asked_about_again(app, owner, connected):
    collection = await owner.collection()
    rows = "\n\n".join(f"# Number {n}\n\n" + " ".join(f"item{n}x{m}" for m in range(60)) for n in range(30))
    await owner.knows(collection, ("numbers.md", rows.encode()))
    for wanted in (found := await due_now(app, owner)):
        assert await measure(app, owner.tenant_id, wanted)
    assert found
    assert await due_now(app, owner) == []
    assert all(row.sampled == 0 for row in await measured(app, owner))


async def test_what_measuring_takes_is_in_the_ledger_as_embedding(app, owner, many, superuser):
    query = text("SELECT count(*) FROM usage_entries WHERE tenant_id = :t AND purpose = 'embedding'")
    async with superuser.connect() as connection:
        before = await connection.scalar(query, {"t": owner.tenant_id})
    await measure(app, owner.tenant_id, (await due_now(app, owner))[0])
    async with superuser.connect() as connection:
        assert await connection.scalar(query, {"t": owner.tenant_id}) == before + 2


async def test_no_more_texts_are_sent_than_a_sample_needs(app, owner, connected):
    collection = await owner.collection()
    await owner.knows(collection, ("sections.md", sections(SAMPLE + 30)))
    (wanted,) = await due_now(app, owner)
    connected.requests.clear()
    assert await measure(app, owner.tenant_id, wanted)
    sent = [item.body["input"] for item in connected.requests if item.path.endswith("/embeddings")]
    assert sum(len(texts) for texts in sent) <= 2 * SAMPLE
    assert (await measured(app, owner))[0].sampled == SAMPLE


async def test_text_that_the_model_may_not_see_any_more_is_not_sent(app, owner, many, connected):
    secret = await owner.made("/data-classes", name=f"Secret {uuid4().hex[:6]}", level=5)
    (wanted,) = await due_now(app, owner)
    space = (await owner.get(f"/collections/{many}")).json()["space_id"]
    assert (await owner.patch(f"/spaces/{space}", json={"data_class_id": secret["id"]})).status_code == 200
    app.part(Catalogue).forget(owner.tenant_id)
    connected.requests.clear()
    assert not await measure(app, owner.tenant_id, wanted)
    assert connected.requests == []
    assert await measured(app, owner) == []


async def test_a_model_that_does_not_answer_is_measured_another_time(app, owner, many, monkeypatch):
    wanted = (await due_now(app, owner))[0]
    from folkmoot_sdk import Unavailable

    async def fails(*_, **__):
        raise Unavailable("the service is away")

    monkeypatch.setattr("folkmoot.ai.runtime.Runtime.embed", fails)
    assert not await measure(app, owner.tenant_id, wanted)
    assert await due_now(app, owner) == [wanted]


async def test_a_space_that_is_gone_meanwhile_is_let_go(app, owner, many):
    wanted = fitness.Due(uuid4(), "en", 100)
    assert not await measure(app, owner.tenant_id, wanted)


async def test_of_several_languages_each_counts_as_there_is_of_it(app, owner, many):
    await measure(app, owner.tenant_id, (await due_now(app, owner))[0])
    (english,) = await measured(app, owner)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        swedish = {"by_text": 1.0, "by_vector": 0.1, "unrelated": 0.4, "spread": 0.1, "sampled": 50}
        work.session.add(
            SpaceFitness(tenant_id=owner.tenant_id, space_id=english.space_id, language="sv", chunk_count=90, **swedish)
        )
        await work.session.execute(update(SpaceFitness).where(SpaceFitness.id == english.id).values(chunk_count=10))
    both = await fit(app, owner, many, "en", "sv")
    expected = 0.1 * weight_of(english.by_vector / english.by_text) + 0.9 * weight_of(0.1)
    assert both.weight == pytest.approx(expected)
    assert (await fit(app, owner, many, "sv")).unrelated == pytest.approx(0.4)
