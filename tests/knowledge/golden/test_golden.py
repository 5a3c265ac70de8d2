"""Golden questions: asked again and again, measured, and told of when they are found no more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from folkmoot.knowledge.golden import service as golden
from folkmoot.knowledge.golden import tasks as golden_tasks
from folkmoot.knowledge.golden.models import GoldenQuestion, GoldenRun
from folkmoot.knowledge.golden.service import left_runs, run_golden, wanting
from folkmoot.knowledge.golden.tasks import look_over
from folkmoot.knowledge.models import Collection

FENCES = b"A fence along the street may be at most 1.2 metres high. A higher fence needs a permit."
OAKS = b"An oak may not be felled without leave of the park office. Leave is given in winter only."


@pytest.fixture
async def rules(owner):
    """A collection of two documents, with a golden question to each."""
    collection = await owner.collection()
    fences, oaks = await owner.knows(collection, ("fences.txt", FENCES), ("oaks.txt", OAKS))
    await add(owner, collection, "How high may a fence along the street be?", fences["id"])
    await add(owner, collection, "Who gives leave to fell an oak?", oaks["id"])
    return collection


async def add(owner, collection: str, question: str, *document_ids: str) -> dict:
    return await owner.made(
        f"/collections/{collection}/golden-questions", question=question, document_ids=list(document_ids)
    )


async def started(owner, collection: str) -> dict:
    response = await owner.post(f"/collections/{collection}/golden-runs")
    assert response.status_code == 202, response.text
    return response.json()


async def finished(owner, run_id: str, seconds: float = 30) -> dict:
    async with asyncio.timeout(seconds):
        while True:
            run = (await owner.get(f"/golden-runs/{run_id}")).json()
            if run["status"] in ("completed", "failed"):
                return run
            await asyncio.sleep(0.05)


async def run_now(owner, collection: str) -> dict:
    return await finished(owner, (await started(owner, collection))["id"])


async def actions(app, owner, object_id: str) -> list[str]:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        query = select(Event.action).where(Event.object_id == UUID(object_id)).order_by(Event.seq)
        return list(await work.session.scalars(query))


async def test_a_run_tells_where_each_question_found_its_document(owner, app, rules):
    run = await run_now(owner, rules)
    assert run["status"] == "completed"
    assert (run["questions"], run["skipped"], run["ndcg"], run["recall"]) == (2, 0, 1.0, 1.0)
    assert run["drift"] is None
    assert run["median_ms"] > 0
    assert [answer["rank"] for answer in run["answers"]] == [1, 1]
    assert run["answers"][0]["question"] == "How high may a fence along the street be?"
    assert 0 < run["answers"][0]["score"] <= 1
    assert await actions(app, owner, run["id"]) == ["golden_run.queued", "golden_run.completed"]


async def test_a_question_whose_document_is_not_found_counts_as_nothing(owner, rules):
    documents = (await owner.get(f"/collections/{rules}/documents")).json()["items"]
    await add(owner, rules, "What does the harbour cost?", documents[0]["id"])
    run = await run_now(owner, rules)
    assert run["answers"][2]["rank"] is None
    assert run["ndcg"] == pytest.approx(2 / 3, abs=1e-3)
    assert run["recall"] == pytest.approx(2 / 3, abs=1e-3)


async def test_a_clear_fall_is_an_event_and_a_small_one_is_none(owner, app, rules):
    first = await run_now(owner, rules)
    same = await run_now(owner, rules)
    assert same["drift"] == 0
    assert "golden_run.fell" not in await actions(app, owner, same["id"])
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        of_first = select(GoldenQuestion).where(GoldenQuestion.collection_id == UUID(rules)).order_by(GoldenQuestion.id)
        (question, _) = await work.session.scalars(of_first)
        question.question = "What does the harbour cost?"
    fell = await run_now(owner, rules)
    assert fell["ndcg"] == 0.5
    assert fell["drift"] == -0.5
    assert await actions(app, owner, fell["id"]) == ["golden_run.queued", "golden_run.completed", "golden_run.fell"]
    listed = (await owner.get(f"/collections/{rules}/golden-runs")).json()["items"]
    assert [item["id"] for item in listed] == [fell["id"], same["id"], first["id"]]
    assert "answers" not in listed[0]


async def test_a_question_whose_documents_are_gone_is_skipped(owner, rules):
    documents = (await owner.get(f"/collections/{rules}/documents")).json()["items"]
    (gone,) = [item["id"] for item in documents if item["name"] == "oaks.txt"]
    assert (await owner.delete(f"/documents/{gone}")).status_code == 204
    run = await run_now(owner, rules)
    assert (run["questions"], run["skipped"], run["ndcg"]) == (1, 1, 1.0)


async def test_if_all_documents_are_gone_there_is_a_run_without_figures(owner, rules):
    for item in (await owner.get(f"/collections/{rules}/documents")).json()["items"]:
        assert (await owner.delete(f"/documents/{item['id']}")).status_code == 204
    run = await run_now(owner, rules)
    assert (run["status"], run["questions"], run["skipped"], run["ndcg"], run["drift"]) == (
        "completed",
        0,
        2,
        None,
        None,
    )


async def test_several_passages_of_one_document_count_once(owner):
    collection = await owner.collection()
    many = "\n\n".join(f"# Fence {n}\n\n" + f"A fence of kind {n} by the street. " * 25 for n in range(12))
    long, oaks = await owner.knows(
        collection, ("fences.md", many.encode()), ("oaks.txt", OAKS + b" A fence is no oak.")
    )
    await add(owner, collection, "Which fence is no oak, by the street or in winter?", oaks["id"], long["id"])
    run = await run_now(owner, collection)
    assert run["recall"] == 1.0


async def test_golden_questions_are_listed_and_deleted(owner, app, rules):
    listed = (await owner.get(f"/collections/{rules}/golden-questions")).json()["items"]
    assert [item["question"][:3] for item in listed] == ["Who", "How"]
    assert (await owner.delete(f"/golden-questions/{listed[0]['id']}")).status_code == 204
    assert (await owner.delete(f"/golden-questions/{listed[0]['id']}")).status_code == 404
    left = (await owner.get(f"/collections/{rules}/golden-questions")).json()["items"]
    assert [item["id"] for item in left] == [listed[1]["id"]]
    assert await actions(app, owner, listed[0]["id"]) == ["golden_question.created", "golden_question.deleted"]


@pytest.mark.parametrize(
    "body",
    [
        {"question": "", "document_ids": [str(uuid4())]},
        {"question": " \n", "document_ids": [str(uuid4())]},
        {"question": "What?", "document_ids": []},
        {"question": "What?", "document_ids": ["not an id"]},
        {"question": "W\x00hat?", "document_ids": [str(uuid4())]},
        {"question": "x" * 4_001, "document_ids": [str(uuid4())]},
        {"question": "What?", "document_ids": [str(uuid4())], "collection_id": str(uuid4())},
    ],
)
async def test_a_question_that_cannot_be_asked_is_refused(owner, body):
    collection = await owner.collection()
    response = await owner.post(f"/collections/{collection}/golden-questions", json=body)
    assert response.status_code == 400, response.text


async def test_a_document_of_another_collection_is_refused_by_name(owner, rules):
    elsewhere = await owner.collection(name="Other rules")
    (document,) = await owner.knows(elsewhere, ("dogs.txt", b"Dogs are kept on a leash."))
    response = await owner.post(
        f"/collections/{rules}/golden-questions", json={"question": "Dogs?", "document_ids": [document["id"]]}
    )
    assert response.status_code == 404
    assert document["id"] in response.json()["detail"]


async def test_there_are_at_most_so_many_questions(owner, rules, monkeypatch):
    monkeypatch.setattr(golden, "MOST_QUESTIONS", 2)
    documents = (await owner.get(f"/collections/{rules}/documents")).json()["items"]
    body = {"question": "One more?", "document_ids": [documents[0]["id"]]}
    response = await owner.post(f"/collections/{rules}/golden-questions", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "too-many-golden-questions")


async def test_without_questions_there_is_nothing_to_run(owner):
    collection = await owner.collection()
    response = await owner.post(f"/collections/{collection}/golden-runs")
    assert (response.status_code, response.json()["code"]) == (409, "no-golden-questions")


async def test_viewers_read_and_do_not_change(tenancy, owner, rules):
    space = (await owner.get(f"/collections/{rules}")).json()["space_id"]
    viewer = await tenancy.colleague(owner)
    run = await run_now(owner, rules)
    assert (await viewer.get(f"/golden-runs/{run['id']}")).status_code == 404
    assert (await owner.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})).status_code < 300
    assert (await viewer.get(f"/golden-runs/{run['id']}")).status_code == 200
    listed = (await viewer.get(f"/collections/{rules}/golden-questions")).json()["items"]
    assert (await viewer.delete(f"/golden-questions/{listed[0]['id']}")).status_code == 403
    assert (await viewer.post(f"/collections/{rules}/golden-runs")).status_code == 403


@pytest.fixture
def held(monkeypatch):
    """Keeps the worker from running what is queued, for the test to run it itself."""

    async def nothing(*_):
        return None

    monkeypatch.setattr(golden_tasks, "run_golden", nothing)


async def runs(app, owner, collection: str) -> list[GoldenRun]:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        query = select(GoldenRun).where(GoldenRun.collection_id == UUID(collection)).order_by(GoldenRun.id)
        return list(await work.session.scalars(query))


async def change(app, owner, run_id: str | UUID, **values) -> None:
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(GoldenRun).where(GoldenRun.id == run_id).values(**values))


async def test_a_second_call_gets_the_run_that_is_under_way(owner, app, rules, held):
    first = await started(owner, rules)
    assert (await started(owner, rules))["id"] == first["id"]
    assert len(await runs(app, owner, rules)) == 1


async def test_a_run_whose_worker_died_is_done_by_another_and_given_up_after_a_few(owner, app, rules, held):
    run_id = UUID((await started(owner, rules))["id"])
    past, ahead = datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=1)
    await change(app, owner, run_id, status="running", lease_until=ahead, attempts=1)
    await run_golden(app, owner.tenant_id, run_id)
    assert (await runs(app, owner, rules))[0].status == "running", "another worker is at it"
    await change(app, owner, run_id, lease_until=past)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        assert await left_runs(work, timedelta(seconds=30)) == [run_id]
    await run_golden(app, owner.tenant_id, run_id)
    (run,) = await runs(app, owner, rules)
    assert (run.status, run.attempts, run.questions) == ("completed", 2, 2)
    await change(app, owner, run_id, status="running", lease_until=past, attempts=golden.ATTEMPTS)
    await run_golden(app, owner.tenant_id, run_id)
    (run,) = await runs(app, owner, rules)
    assert run.status == "failed"
    assert "start it again" in (run.error or "")


async def test_a_run_that_is_done_is_not_done_again(owner, app, rules):
    run = await run_now(owner, rules)
    await run_golden(app, owner.tenant_id, UUID(run["id"]))
    assert (await runs(app, owner, rules))[0].finished_at is not None
    assert (await actions(app, owner, run["id"])).count("golden_run.completed") == 1


async def test_a_run_of_a_collection_that_is_gone_ends(owner, app, rules, held):
    run_id = UUID((await started(owner, rules))["id"])
    assert (await owner.delete(f"/collections/{rules}")).status_code == 204
    await run_golden(app, owner.tenant_id, run_id)
    assert await runs(app, owner, rules) == []


async def test_each_night_has_one_run(owner, app, rules, held):
    night = datetime.now(UTC) + timedelta(days=1)
    await look_over(app, owner.tenant_id, datetime.now(UTC) - timedelta(days=1))
    assert await runs(app, owner, rules) == [], "the questions were added after that night"
    await look_over(app, owner.tenant_id, night)
    await look_over(app, owner.tenant_id, night)
    (run,) = await runs(app, owner, rules)
    assert run.cause == "nightly"
    await run_golden(app, owner.tenant_id, run.id)
    await change(app, owner, run.id, created_at=night)
    await look_over(app, owner.tenant_id, night + timedelta(minutes=5))
    assert len(await runs(app, owner, rules)) == 1
    await look_over(app, owner.tenant_id, night + timedelta(days=1))
    assert len(await runs(app, owner, rules)) == 2


async def test_a_collection_that_moved_to_another_model_is_measured_anew(owner, app, rules, held):
    run_id = UUID((await started(owner, rules))["id"])
    await run_golden(app, owner.tenant_id, run_id)
    long_ago = datetime.now(UTC) - timedelta(days=30)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        assert await wanting(work, long_ago) == []
    await change(app, owner, run_id, embedding_space_id=uuid4())
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        ((collection, cause),) = await wanting(work, long_ago)
    assert (str(collection.id), cause) == (rules, "moved")


async def test_a_collection_without_questions_is_left_alone(owner, app, held):
    collection = await owner.collection()
    await look_over(app, owner.tenant_id, datetime.now(UTC) + timedelta(days=1))
    assert await runs(app, owner, collection) == []


async def test_runs_beyond_those_kept_are_forgotten(owner, app, rules, monkeypatch):
    monkeypatch.setattr(golden, "KEPT_RUNS", 2)
    ids = [(await run_now(owner, rules))["id"] for _ in range(3)]
    assert [str(run.id) for run in await runs(app, owner, rules)] == ids[1:]
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        assert await work.session.scalar(select(func.count()).select_from(Collection)) == 1
