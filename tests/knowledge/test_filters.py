"""Which documents pass a filter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import update

from folkmoot.kit.access import Principal
from folkmoot.kit.errors import NotFound
from folkmoot.knowledge.filters import Filters, allowed, keep_facts
from folkmoot.knowledge.models import Document

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENTS = {
    "plan": {
        "media_type": "application/pdf",
        "language": "sv",
        "modified_at": NOW,
        "metadata_": {"department": "planning", "year": 2024, "price": 12.5, "public": True, "tags": ["fence", "wall"]},
    },
    "note": {
        "media_type": "text/markdown",
        "language": "en",
        "modified_at": NOW - timedelta(days=30),
        "metadata_": {"department": "planning", "year": 2026, "decided": "2026-02-11", "tags": ["wall"]},
    },
    "list": {"media_type": "text/csv", "language": "en", "metadata_": {"department": "schools", "year": "2025"}},
    "bare": {"media_type": "textile/odd", "language": "", "metadata_": {}},
}


@pytest.fixture
async def filtered(owner, app, held):
    """The names of the documents that pass: `await filtered(languages=["sv"])`."""
    collection = await owner.collection()
    uploaded = await owner.upload(collection, *((name, name.encode()) for name in DOCUMENTS))
    names = {UUID(item["id"]): item["name"] for item in uploaded}
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        for document_id, name in names.items():
            await work.session.execute(update(Document).where(Document.id == document_id).values(DOCUMENTS[name]))
            await keep_facts(work, await work.session.get_one(Document, document_id, populate_existing=True))

    async def passing(**fields) -> set[str]:
        filters = msgspec.convert(fields, Filters)
        async with app.begin(Principal.system(owner.tenant_id)) as work:
            found = await allowed(work, [UUID(collection)], filters)
        assert found is not None
        assert found == sorted(found)
        return {names[document_id] for document_id in found}

    passing.ids = {name: document_id for document_id, name in names.items()}
    passing.collection = UUID(collection)
    return passing


@pytest.mark.parametrize(
    ("fields", "passing"),
    [
        ({"media_types": ["application/pdf"]}, {"plan"}),
        ({"media_types": ["text/*"]}, {"note", "list"}),
        ({"media_types": ["TEXT/Markdown", "application/pdf"]}, {"note", "plan"}),
        ({"media_types": ["%/*"]}, set()),
        ({"languages": ["SV", "de"]}, {"plan"}),
        ({"modified_after": NOW}, {"plan"}),
        ({"modified_before": NOW}, {"note"}),
        ({"modified_after": NOW - timedelta(days=60), "modified_before": NOW + timedelta(days=1)}, {"plan", "note"}),
        ({"created_after": datetime(2020, 1, 1, tzinfo=UTC)}, set(DOCUMENTS)),
        ({"created_before": datetime(2020, 1, 1, tzinfo=UTC)}, set()),
        ({"metadata": {"department": "planning"}}, {"plan", "note"}),
        ({"metadata": {"department": ["schools", "planning"]}}, {"plan", "note", "list"}),
        ({"metadata": {"department": []}}, set()),
        ({"metadata": {"department": "planning", "year": 2026}}, {"note"}),
        ({"metadata": {"tags": "wall"}}, {"plan", "note"}),
        ({"metadata": {"tags": ["fence", "moat"]}}, {"plan"}),
        ({"metadata": {"price": 12.5}}, {"plan"}),
        ({"metadata": {"public": True}}, {"plan"}),
        ({"metadata": {"public": False}}, set()),
        ({"metadata": {"year": {"gte": 2024, "lte": 2025}}}, {"plan"}),
        ({"metadata": {"year": {"gte": 2024.5}}}, {"note"}),
        ({"metadata": {"year": {"gte": "2020"}}}, {"list"}),
        ({"metadata": {"decided": {"gte": "2026-01-01", "lte": "2026-12-31"}}}, {"note"}),
        ({"metadata": {"department' OR true --": "x"}}, set()),
        ({"languages": ["en"], "media_types": ["text/*"], "metadata": {"department": "schools"}}, {"list"}),
    ],
)
async def test_all_that_is_asked_for_must_hold(filtered, fields, passing):
    assert await filtered(**fields) == passing


async def test_documents_are_named_by_their_ids(filtered, owner, app):
    chosen = [str(filtered.ids["plan"]), str(filtered.ids["bare"])]
    assert await filtered(document_ids=chosen) == {"plan", "bare"}
    assert await filtered(document_ids=chosen, languages=["sv"]) == {"plan"}
    assert await filtered(document_ids=[]) == set()


async def test_a_document_of_another_collection_is_not_found(filtered, owner, app):
    (elsewhere,) = await owner.upload(await owner.collection(), ("other.txt", b"Other."))
    for strange in (elsewhere["id"], str(uuid4())):
        with pytest.raises(NotFound, match=strange):
            await filtered(document_ids=[strange])


async def test_nothing_asked_for_is_no_filter(app, owner):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        assert await allowed(work, [uuid4()], None) is None
        assert await allowed(work, [uuid4()], Filters()) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"document_ids": [str(uuid4())] * 1001},
        {"media_types": ["text/plain"] * 51},
        {"languages": ["x" * 21]},
        {"languages": ["a\x00b"]},
        {"created_after": "2026-01-01T00:00:00"},
        {"metadata": {"": 1}},
        {"metadata": {"a\x00": 1}},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"a": {}}},
        {"metadata": {"a": {"gte": 1, "lte": "2"}}},
        {"metadata": {"a": {"gt": 1}}},
        {"metadata": {"a": {"b": {"c": 1}}}},
        {"metadata": {"a": 2**60}},
        {"metadata": {"a": [[1]]}},
        {"metadata": {str(number): 1 for number in range(21)}},
        {"metadata": {str(number): ["x" * 900] * 2 for number in range(20)}},
        {"unknown": 1},
    ],
)
def test_a_filter_that_makes_no_sense_or_is_too_large_is_refused(fields):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(fields), type=Filters)


async def test_own_names_and_values_are_found_by_their_index_however_they_change(owner):
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("a.txt", b"The fence is high."))
    path = f"/documents/{document['id']}"

    async def found(**metadata) -> bool:
        body = {"query": "fence", "filters": {"metadata": metadata}}
        response = await owner.post(f"/collections/{collection}/search", json=body)
        assert response.status_code == 200, response.text
        return bool(response.json()["items"])

    async def change(metadata) -> None:
        etag = (await owner.get(path)).headers.get("etag")
        headers = {"If-Match": etag} if etag else {}
        response = await owner.patch(path, json={"metadata": metadata}, headers=headers)
        assert response.status_code == 200, response.text

    long = "x" * 600
    await change({"unit": "roads", "year": 2026, "rate": 7.5, "open": True, "tags": ["å", "b"]})
    assert await found(unit="roads", year=2026, rate=7.5, open=True, tags="å")
    assert await found(unit=["water", "roads"], year=2026.0)
    assert not await found(unit="water")
    assert not await found(year="2026")
    await change({"unit": "water", "note": 'a "quoted" \\ line\nand another'})
    assert await found(unit="water", note='a "quoted" \\ line\nand another')
    assert not await found(unit="roads")
    longer = await owner.patch(path, json={"metadata": {"note": long}})
    if longer.status_code == 200:
        assert await found(note=long)
        assert not await found(note=long + "x")
