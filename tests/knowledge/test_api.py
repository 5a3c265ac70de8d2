"""Collections and documents over the API: who may, what is told, and what stays hidden."""

from __future__ import annotations

from uuid import uuid4

import pytest

RULES = b"# Fences\n\nA fence along the street may be 1.2 metres high.\n"


@pytest.fixture
async def space(owner):
    return await owner.space()


async def test_a_collection_is_made_read_changed_and_deleted(owner, space, count):
    made = await owner.post(f"/spaces/{space}/collections", json={"name": "Rules", "description": "All of them"})
    assert made.status_code == 201
    body = made.json()
    assert (body["name"], body["description"], body["space_id"]) == ("Rules", "All of them", space)
    path = f"/collections/{body['id']}"
    assert (await owner.get(path)).json() == body
    changed = await owner.patch(path, json={"name": "Laws"})
    assert (changed.json()["name"], changed.json()["description"]) == ("Laws", "All of them")
    await owner.knows(body["id"], ("rules.md", RULES))
    assert (await owner.delete(path)).status_code == 204
    assert (await owner.get(path)).status_code == 404
    for table in ("documents", "chunks", "document_texts"):
        assert await count(table, f"tenant_id = '{owner.tenant_id}'") == 0


async def test_an_edit_of_something_that_has_changed_is_refused(owner, space):
    collection = await owner.collection(space)
    etag = (await owner.get(f"/collections/{collection}")).headers["etag"]
    first = await owner.patch(f"/collections/{collection}", json={"name": "One"}, headers={"If-Match": etag})
    second = await owner.patch(f"/collections/{collection}", json={"name": "Two"}, headers={"If-Match": etag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert second.json()["code"] == "changed-meanwhile"
    assert (await owner.get(f"/collections/{collection}")).json()["name"] == "One"


async def test_collections_and_documents_are_listed_newest_first_page_by_page(owner, space):
    for name in "abc":
        collection = await owner.collection(space, name)
    page = (await owner.get(f"/spaces/{space}/collections", params={"limit": 2})).json()
    rest = (await owner.get(f"/spaces/{space}/collections", params={"cursor": page["next_cursor"]})).json()
    assert [item["name"] for item in (*page["items"], *rest["items"])] == ["c", "b", "a"]
    assert rest["next_cursor"] is None
    await owner.upload(collection, *((f"{name}.txt", name.encode() * 20) for name in "xyz"))
    page = (await owner.get(f"/collections/{collection}/documents", params={"limit": 2})).json()
    rest = (await owner.get(f"/collections/{collection}/documents", params={"cursor": page["next_cursor"]})).json()
    assert [item["name"] for item in (*page["items"], *rest["items"])] == ["z.txt", "y.txt", "x.txt"]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 201}, {"name": "a\x00b"}, {"name": 1}, {"nam": "x"}])
async def test_a_collection_without_a_proper_name_is_refused(owner, space, body):
    response = await owner.post(f"/spaces/{space}/collections", json=body)
    assert response.status_code == 400
    assert response.json()["code"] == "validation-failed"


async def test_an_upload_shows_each_file_as_queued(owner, space):
    items = await owner.upload(await owner.collection(space), ("a.md", RULES), ("b.md", RULES + b"More."))
    assert [(item["name"], item["status"], item["size"]) for item in items] == [
        ("a.md", "queued", len(RULES)),
        ("b.md", "queued", len(RULES) + 5),
    ]
    assert all(len(item["content_hash"]) == 64 for item in items)


async def test_the_original_comes_back_as_a_download_and_nothing_else(owner, space):
    html = b"<script>alert(1)</script><p>Fences may be 1.2 metres high.</p>"
    (document,) = await owner.upload(await owner.collection(space), ("Rådets sida \u201c1\u201d.html", html))
    response = await owner.get(f"/documents/{document['id']}/content")
    assert response.content == html
    assert response.headers["content-type"].startswith("application/octet-stream")
    assert response.headers["content-disposition"].startswith("attachment; filename*=UTF-8''R%C3%A5dets%20sida%20")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["content-length"] == str(len(html))


async def test_chunks_come_in_order_page_by_page(owner, space):
    text = "".join(f"# Part {n}\n\n{'Words of this part are here. ' * 40}\n\n" for n in range(8)).encode()
    (document,) = await owner.knows(await owner.collection(space), ("long.md", text))
    items, cursor = [], None
    while True:
        page = (
            await owner.get(
                f"/documents/{document['id']}/chunks", params={"limit": 3} | ({"cursor": cursor} if cursor else {})
            )
        ).json()
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [item["ordinal"] for item in items] == list(range(document["chunk_count"]))
    assert len({item["id"] for item in items}) == len(items) > 3


async def test_text_that_is_not_there_yet_is_a_conflict_and_not_a_gap(owner, space):
    (document,) = await owner.upload(await owner.collection(space), ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(50)))
    assert (await owner.read_through(document["id"]))["status"] == "failed"
    response = await owner.get(f"/documents/{document['id']}/text")
    assert (response.status_code, response.json()["code"]) == (409, "not-ready")


@pytest.mark.parametrize("reader", ["stranger", "colleague"])
async def test_who_is_not_in_the_space_knows_of_nothing_in_it(owner, tenancy, space, reader):
    other = await (tenancy.owner() if reader == "stranger" else tenancy.colleague(owner))
    collection = await owner.collection(space)
    (document,) = await owner.knows(collection, ("rules.md", RULES))
    one = f"/documents/{document['id']}"
    for method, path, body in [
        ("GET", f"/spaces/{space}/collections", None),
        ("POST", f"/spaces/{space}/collections", {"name": "Mine"}),
        ("GET", f"/collections/{collection}", None),
        ("PATCH", f"/collections/{collection}", {"name": "Mine"}),
        ("DELETE", f"/collections/{collection}", None),
        ("GET", f"/collections/{collection}/documents", None),
        ("POST", f"/collections/{collection}/search", {"query": "fence"}),
        ("GET", one, None),
        ("GET", f"{one}/text", None),
        ("GET", f"{one}/chunks", None),
        ("GET", f"{one}/content", None),
        ("POST", f"{one}/retry", None),
        ("POST", f"{one}/cancel", None),
        ("PATCH", one, {"name": "mine.md"}),
        ("GET", f"/collections/{collection}/status", None),
        ("GET", f"/collections/{collection}/operations", None),
        ("POST", f"/collections/{collection}/cancel", None),
        ("POST", f"/collections/{collection}/retry", {}),
        ("POST", f"/collections/{collection}/documents/delete", {"statuses": ["ready"]}),
        ("DELETE", one, None),
    ]:
        response = await other.request(method, path, json=body)
        assert response.status_code == 404, (method, path, response.text)
    upload = await other.post(f"/collections/{collection}/documents", files=[("file", ("a.txt", b"words"))])
    assert upload.status_code == 404
    assert (await owner.get(one)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/collections/{}", "/documents/{}", "/documents/{}/text", "/collections/{}/documents"]
)
async def test_an_id_that_nobody_has_is_not_found_and_one_that_is_none_neither(owner, path):
    assert (await owner.get(path.format(uuid4()))).status_code == 404
    assert (await owner.get(path.format("not-an-id"))).status_code in (400, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/collections/{}"), ("POST", "/collections/{}/documents"), ("GET", "/documents/{}/content")],
)
async def test_without_a_token_nothing_is_read(stranger, method, path):
    response = await stranger.request(method, "/api/v1" + path.format(uuid4()))
    assert (response.status_code, response.json()["code"]) == (401, "not-signed-in")


async def test_an_upload_that_is_sent_again_with_its_key_is_one_upload(owner, space, count):
    collection = await owner.collection(space)
    headers = {"Idempotency-Key": uuid4().hex}
    first, second = [
        await owner.post(f"/collections/{collection}/documents", files=[("file", ("a.md", RULES))], headers=headers)
        for _ in range(2)
    ]
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["items"][0]["id"] == second.json()["items"][0]["id"]
    assert await count("documents", f"tenant_id = '{owner.tenant_id}'") == 1
