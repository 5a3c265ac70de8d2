"""From ranked chunks to passages: phrases first, nothing twice, neighbours as one, and why."""

from __future__ import annotations

import pytest

from tests.knowledge.test_search import files, found, names

LONG = "\n\n".join(
    f"Section {n}. " + " ".join(f"The rule about fences in part {n} says word{n}x{m} plainly." for m in range(28))
    for n in range(6)
)


async def test_neighbours_of_one_document_are_one_passage(owner):
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("rules.txt", LONG.encode()))
    chunks = (await owner.get(f"/documents/{document['id']}/chunks")).json()["items"]
    assert len(chunks) >= 4
    text = (await owner.get(f"/documents/{document['id']}/text")).json()["text"]
    hits = await found(owner, collection, "rule about fences", limit=3)
    joined = [hit for hit in hits if hit["joined_chunk_ids"]]
    assert joined
    for hit in hits:
        assert hit["text"] == text[hit["start"] : hit["end"]]
        assert len(hit["joined_chunk_ids"]) < 3
    shown = [hit["chunk_id"] for hit in hits] + [one for hit in hits for one in hit["joined_chunk_ids"]]
    assert len(shown) == len(set(shown))


async def test_pages_are_not_joined(owner):
    """Whoever cites a passage is told its page."""
    collection = await owner.collection()
    slides = "\f".join(f"Fences on page {n}. " + "A fence is a fence. " * 30 for n in range(1, 4))
    await owner.knows(collection, ("pages.txt", slides.encode()))
    hits = await found(owner, collection, "fence")
    pages = [hit["page"] for hit in hits]
    if any(page is not None for page in pages):
        assert not any(hit["joined_chunk_ids"] for hit in hits)


async def test_what_says_the_same_is_shown_once(owner):
    collection = await owner.collection()
    body = "The fence at the harbour may be two metres high if the neighbours agree to it in writing before June"
    await owner.knows(
        collection,
        *files(first=body + ".", copy=body + "!", other="A fence elsewhere is lower. Boats need no fence at all."),
    )
    shown = await names(owner, collection, "fence harbour metres")
    assert len({"first.txt", "copy.txt"} & set(shown)) == 1
    assert "other.txt" in shown


async def test_a_phrase_in_quotation_marks_comes_first_word_for_word(owner):
    collection = await owner.collection()
    await owner.knows(
        collection,
        *files(
            scattered="High permit high permit high permit for a fence and the fence permit and the high fence permit.",
            exact="In one case only the words stand so: permit for a high fence, says the board of the municipality.",
        ),
    )
    assert (await names(owner, collection, "permit high fence"))[0] == "scattered.txt"
    assert (await names(owner, collection, '"permit for a high  Fence"'))[0] == "exact.txt"
    hits = await found(owner, collection, '"permit for a high fence"')
    assert hits[0]["score"] >= 0.5 >= hits[1]["score"]


async def test_it_says_why_a_passage_stands_where_it_does(owner):
    collection = await owner.collection()
    await owner.knows(collection, *files(plank="The fence is two metres high.", boat="The boat is high and dry."))
    assert "why" not in (await found(owner, collection, "high fence"))[0]
    first, second = await found(owner, collection, "high fence", explain=True)
    assert [first["why"]["rank"], second["why"]["rank"]] == [1, 2]
    assert set(first["why"]["text"]["words"]) == {"high", "fence"}
    assert first["why"]["text"]["bm25"] == pytest.approx(sum(first["why"]["text"]["words"].values()), abs=1e-3)
    assert first["why"]["text"]["share"] == 1.0 > second["why"]["text"]["share"] > 0
    assert first["why"]["cosine"] is None
    assert first["why"]["text_part"] > second["why"]["text_part"]


async def test_filters_leave_only_what_passes(owner):
    collection = await owner.collection()
    ready = await owner.knows(collection, *files(one="The fence is high.", two="The fence is low.", three="A boat."))
    ids = {item["name"]: item["id"] for item in ready}
    filters = {"document_ids": [ids["two.txt"], ids["three.txt"]]}
    assert await names(owner, collection, "fence", filters=filters) == ["two.txt"]
    assert await names(owner, collection, "fence", filters={"media_types": ["application/pdf"]}) == []
    assert set(await names(owner, collection, "fence", filters={"media_types": ["text/*"]})) == {"one.txt", "two.txt"}
    missing = await owner.post(
        f"/collections/{collection}/search", json={"query": "fence", "filters": {"document_ids": [collection]}}
    )
    assert missing.status_code == 404


async def test_it_is_said_whether_anything_is_likely_to_fit(owner):
    collection = await owner.collection()
    await owner.knows(collection, *files(plank="The fence is two metres high.", boat="The boat is high and dry."))
    response = await owner.post(f"/collections/{collection}/search", json={"query": "How high is the fence?"})
    assert response.json()["relevant"] is True
    response = await owner.post(f"/collections/{collection}/search", json={"query": "parental leave in winter"})
    assert response.json() == {"items": [], "relevant": False}
