"""A POST that is sent again with its key gets the first answer again."""

import asyncio

from folkmoot.spaces.service import SpaceService


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


async def test_the_first_answer_comes_again_and_nothing_is_done_twice(owner, unique, count):
    first = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    again = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await count("spaces", f"tenant_id = '{owner.tenant_id}'") == 1


async def test_the_same_key_for_another_body_is_refused(owner, unique, count):
    await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    other = await owner.post("/spaces", json={"name": "B"}, headers=key(unique))
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    assert await count("spaces", f"tenant_id = '{owner.tenant_id}'") == 1


async def test_while_the_first_still_runs_the_second_is_told_so(owner, unique, monkeypatch):
    running, go_on = asyncio.Event(), asyncio.Event()
    create = SpaceService.create

    async def slow(self, data):
        running.set()
        await go_on.wait()
        return await create(self, data)

    monkeypatch.setattr(SpaceService, "create", slow)
    first = asyncio.create_task(owner.post("/spaces", json={"name": "A"}, headers=key(unique)))
    await running.wait()
    second = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    assert (second.status_code, second.json()["code"]) == (409, "request-in-progress")
    go_on.set()
    assert (await first).status_code == 201
    third = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    assert third.json() == (await first).json()


async def test_a_key_belongs_to_one_person_and_one_path(owner, tenancy, unique):
    first = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    colleague = await tenancy.colleague(owner)
    stranger = await tenancy.owner()
    for other in (colleague, stranger):
        answer = await other.post("/spaces", json={"name": "A"}, headers=key(unique))
        assert answer.status_code == 201
        assert answer.json()["id"] != first.json()["id"]
    space = first.json()["id"]
    elsewhere = await owner.post(f"/spaces/{space}/collections", json={"name": "A"}, headers=key(unique))
    assert elsewhere.status_code == 201
    assert elsewhere.json()["space_id"] == space


async def test_a_refusal_is_kept_and_a_crash_is_not(owner, unique, monkeypatch):
    for _ in range(2):
        refused = await owner.post("/spaces", json={"name": ""}, headers=key(f"{unique}-refused"))
        assert refused.status_code == 400
    create = SpaceService.create

    async def broken(self, data):
        raise RuntimeError("once")

    monkeypatch.setattr(SpaceService, "create", broken)
    crashed = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    assert crashed.status_code == 500
    monkeypatch.setattr(SpaceService, "create", create)
    assert (await owner.post("/spaces", json={"name": "A"}, headers=key(unique))).status_code == 201


async def test_a_key_without_length_or_too_long_is_refused(owner):
    for value in ("", "x" * 201):
        assert (await owner.post("/spaces", json={"name": "A"}, headers=key(value))).status_code == 400


async def test_a_question_sent_twice_is_asked_once(owner, unique, count):
    conversation = await owner.conversation(await owner.assistant(await owner.space()))
    first, second = await asyncio.gather(
        *(owner.ask(conversation, "Is anybody there?", **key(unique)) for _ in range(2))
    )
    assert first["id"] == second["id"]
    assert first["content"] == second["content"]
    assert await count("messages", f"conversation_id = '{conversation}'") == 2


async def test_an_upload_sent_twice_is_stored_once(owner, unique, count):
    collection = await owner.collection()
    answers = [
        await owner.post(
            f"/collections/{collection}/documents", files=[("file", ("a.txt", b"same bytes"))], headers=key(unique)
        )
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert await count("documents", f"collection_id = '{collection}'") == 1


async def test_an_answer_whose_key_is_gone_is_not_given_and_nothing_is_done_twice(app, owner, unique, count):
    await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    (name,) = [name async for name in app.redis.scan_iter(match=f"folkmoot:idempotency:{owner.tenant_id}:*")]
    kept = await app.redis.get(name)
    await app.redis.set(name, kept[:1] + b"\x00\x00\x00\x63" + kept[5:])
    again = await owner.post("/spaces", json={"name": "A"}, headers=key(unique))
    assert (again.status_code, again.json()["code"]) == (409, "idempotency-key-reused")
    assert "cannot be read any more" in again.json()["detail"]
    assert await count("spaces", f"tenant_id = '{owner.tenant_id}'") == 1
