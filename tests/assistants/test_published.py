"""Assistants that viewers see, and those that they do not."""

from uuid import UUID

import pytest
from sqlalchemy import text

from folkmoot.assistants.service import AssistantService
from folkmoot.kit.access import Access, Permission, Principal
from folkmoot.kit.errors import NotFound


@pytest.fixture
async def space(owner):
    return await owner.space()


@pytest.fixture
async def viewer(owner, tenancy, space):
    person = await tenancy.colleague(owner)
    put = await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "viewer"})
    assert put.status_code == 200
    return person


async def listed(client, space):
    return [item["id"] for item in (await client.get(f"/spaces/{space}/assistants")).json()["items"]]


async def test_an_assistant_is_a_draft_until_it_is_published(owner, viewer, space):
    assistant = await owner.assistant(space)
    assert (await owner.get(f"/assistants/{assistant}")).json()["published"] is False
    assert await listed(viewer, space) == []
    begun = await viewer.post(f"/assistants/{assistant}/conversations")
    assert ((await viewer.get(f"/assistants/{assistant}")).status_code, begun.status_code) == (404, 404)
    shown = await owner.post(f"/assistants/{assistant}/publish")
    assert (shown.status_code, shown.json()["published"], shown.json()["version"]) == (200, True, 1)
    assert await listed(viewer, space) == [assistant]
    assert (await viewer.get(f"/assistants/{assistant}")).json()["published"] is True
    assert (await viewer.ask(await viewer.conversation(assistant), "Who are you?"))["status"] == "complete"


async def test_a_hidden_assistant_answers_viewers_no_more_and_what_was_said_stays(owner, viewer, space):
    assistant = await owner.assistant(space, published=True)
    conversation = await viewer.conversation(assistant)
    answer = await viewer.ask(conversation, "Who are you?")
    assert (await owner.post(f"/assistants/{assistant}/unpublish")).json()["published"] is False
    refused = await viewer.post(f"/conversations/{conversation}/messages", json={"content": "And now?"})
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    assert (await viewer.get(f"/messages/{answer['id']}")).json()["content"] == answer["content"]
    assert len((await viewer.get(f"/conversations/{conversation}/messages")).json()["items"]) == 2
    assert await listed(viewer, space) == []


async def test_pages_hold_only_what_viewers_may_see(owner, viewer, space):
    made = [await owner.assistant(space, published=number % 2 == 0) for number in range(5)]
    first = (await viewer.get(f"/spaces/{space}/assistants", params={"limit": 2})).json()
    rest = (await viewer.get(f"/spaces/{space}/assistants", params={"cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in (*first["items"], *rest["items"])] == [made[4], made[2], made[0]]


async def test_versions_are_not_for_viewers(owner, viewer, space):
    assistant = await owner.assistant(space, published=True)
    assert (await viewer.get(f"/assistants/{assistant}/versions")).status_code == 403
    await owner.post(f"/assistants/{assistant}/unpublish")
    assert (await viewer.get(f"/assistants/{assistant}/versions")).status_code == 404


async def test_showing_and_hiding_by_an_edit_is_the_same(owner, viewer, space):
    assistant = await owner.assistant(space)
    shown = (await owner.patch(f"/assistants/{assistant}", json={"published": True})).json()
    assert (shown["published"], shown["version"]) == (True, 1)
    hidden = (await owner.patch(f"/assistants/{assistant}", json={"published": False, "name": "B"})).json()
    assert (hidden["published"], hidden["version"], hidden["name"]) == (False, 2, "B")
    assert (await owner.patch(f"/assistants/{assistant}", json={"published": None})).status_code == 400


async def test_in_a_personal_space_nothing_is_published(owner, count):
    space = (await owner.get("/spaces/personal")).json()["id"]
    refused = await owner.post(f"/spaces/{space}/assistants", json={"name": "A", "published": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert await listed(owner, space) == []
    assistant = await owner.assistant(space, published=False)
    for answer in (
        await owner.post(f"/assistants/{assistant}/publish"),
        await owner.patch(f"/assistants/{assistant}", json={"published": True, "name": "B"}),
    ):
        assert answer.status_code == 403
    assert (await owner.patch(f"/assistants/{assistant}", json={"published": False, "name": "B"})).status_code == 200
    assert await count("assistants", f"id = '{assistant}' AND published") == 0


async def test_an_older_view_neither_shows_nor_hides(owner, space):
    assistant = await owner.assistant(space)
    tag = (await owner.get(f"/assistants/{assistant}")).headers["etag"]
    shown = await owner.post(f"/assistants/{assistant}/publish", headers={"If-Match": tag})
    assert shown.status_code == 200
    assert shown.headers["etag"] != tag
    for verb in ("publish", "unpublish"):
        stale = await owner.post(f"/assistants/{assistant}/{verb}", headers={"If-Match": tag})
        assert (stale.status_code, stale.json()["code"]) == (412, "changed-meanwhile")
    assert (await owner.get(f"/assistants/{assistant}")).json()["published"] is True


async def test_it_is_an_event_once(owner, space, superuser):
    assistant = await owner.assistant(space)
    for verb in ("publish", "publish", "unpublish", "unpublish"):
        assert (await owner.post(f"/assistants/{assistant}/{verb}")).status_code == 200
    async with superuser.connect() as connection:
        rows = await connection.execute(
            text("SELECT action, data->>'published' FROM events WHERE object_id = :id ORDER BY seq"), {"id": assistant}
        )
        assert [tuple(row) for row in rows] == [
            ("assistant.created", "false"),
            ("assistant.published", "true"),
            ("assistant.unpublished", "false"),
        ]


async def test_the_key_of_an_assistant_knows_of_no_other(owner, space, app):
    own, other = await owner.assistant(space), await owner.assistant(space)
    principal = Principal(
        tenant_id=owner.tenant_id,
        user_id=owner.user.id,
        kind="key",
        permissions=frozenset(Permission),
        assistant_id=UUID(own),
    )
    async with app.begin(principal) as work:
        found, _ = await AssistantService(work).get(UUID(own), Access.READ)
        assert str(found.id) == own
        with pytest.raises(NotFound):
            await AssistantService(work).get(UUID(other), Access.READ)


async def test_who_may_not_delete_deletes_nothing(owner, viewer, space, count):
    assistant = await owner.assistant(space, published=True)
    collection = await owner.collection(space)
    (document,) = await owner.knows(collection, ("a.txt", b"Some text that stays."))
    events = await count("events", f"tenant_id = '{owner.tenant_id}' AND action LIKE '%.deleted'")
    for path in (
        f"/assistants/{assistant}",
        f"/documents/{document['id']}",
        f"/collections/{collection}",
        f"/spaces/{space}",
    ):
        assert (await viewer.delete(path)).status_code == 403
    assert (await owner.get(f"/documents/{document['id']}/content")).content == b"Some text that stays."
    assert await count("assistants", f"id = '{assistant}'") == 1
    assert await count("events", f"tenant_id = '{owner.tenant_id}' AND action LIKE '%.deleted'") == events


async def test_a_collection_that_is_gone_does_not_stand_in_the_way_of_a_new_name(owner, space):
    collection = await owner.collection(space)
    assistant = await owner.assistant(space, collection)
    assert (await owner.delete(f"/collections/{collection}")).status_code == 204
    renamed = await owner.patch(f"/assistants/{assistant}", json={"name": "B"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "B")
    again = await owner.patch(f"/assistants/{assistant}", json={"collection_ids": [collection]})
    assert again.status_code == 404
