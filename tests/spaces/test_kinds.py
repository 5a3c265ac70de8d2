"""Personal spaces, and the organisation's."""

import asyncio

import pytest
from sqlalchemy import update

from folkmoot.assistants.schemas import AssistantCreate
from folkmoot.assistants.service import AssistantService
from folkmoot.identity.models import User
from folkmoot.kit.access import Access, Permission, Principal
from folkmoot.kit.errors import Forbidden, NotFound
from folkmoot.knowledge.schemas import CollectionCreate
from folkmoot.knowledge.service import CollectionService
from folkmoot.spaces.service import SpaceService


async def test_ones_personal_space_is_made_once_however_many_ask_at_once(owner, count):
    answers = await asyncio.gather(*(owner.get("/spaces/personal") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    (space,) = {answer.json()["id"] for answer in answers}
    assert (answers[0].json()["kind"], answers[0].json()["role"]) == ("personal", "owner")
    assert await count("space_members", f"space_id = '{space}'") == 1
    assert await count("events", f"object_id = '{space}' AND action = 'space.created'") == 1


async def test_each_has_a_personal_space_of_their_own(owner, tenancy):
    person = await tenancy.colleague(owner)
    assert (await person.get("/spaces")).json()["items"] == []
    mine, theirs = [(await client.get("/spaces/personal")).json()["id"] for client in (owner, person)]
    assert mine != theirs
    assert [item["id"] for item in (await person.get("/spaces")).json()["items"]] == [theirs]
    assert (await owner.get(f"/spaces/{theirs}/members")).status_code == 404


async def test_a_personal_space_is_not_left_shared_renamed_or_deleted(owner, tenancy, count):
    person = await tenancy.colleague(owner)
    space = (await owner.get("/spaces/personal")).json()["id"]
    answers = [
        await owner.delete(f"/spaces/{space}/members/{owner.user.id}"),
        await owner.put(f"/spaces/{space}/members/{owner.user.id}", json={"role": "admin"}),
        await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "viewer"}),
        await owner.patch(f"/spaces/{space}", json={"name": "Ours"}),
        await owner.delete(f"/spaces/{space}"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "forbidden")] * 5
    assert "personal space" in answers[0].json()["detail"]
    assert (await owner.get(f"/spaces/{space}")).json()["role"] == "owner"
    assert await count("space_members", f"space_id = '{space}'") == 1


async def test_one_asks_an_assistant_of_ones_own(owner, tenancy):
    person = await tenancy.colleague(owner)
    space = (await person.get("/spaces/personal")).json()["id"]
    collection = await person.collection(space)
    await person.knows(collection, ("fence.txt", b"A fence along the street may be 1.2 metres high."))
    answer = await person.ask(await person.conversation(await person.assistant(space, collection)), "How high?")
    assert "1.2 metres" in answer["content"]


@pytest.mark.parametrize(
    ("lacking", "path", "other"),
    [(Permission.ASSISTANTS, "assistants", "collections"), (Permission.COLLECTIONS, "collections", "assistants")],
)
async def test_making_things_of_ones_own_needs_the_permission_for_them(owner, app, lacking, path, other):
    personal, shared = (await owner.get("/spaces/personal")).json()["id"], await owner.space()
    may = frozenset(Permission) - {lacking}
    principal = Principal(tenant_id=owner.tenant_id, user_id=owner.user.id, kind="user", permissions=may)
    makes = {
        "assistants": lambda work, space: AssistantService(work).create(space, AssistantCreate(name="A")),
        "collections": lambda work, space: CollectionService(work).create(space, CollectionCreate(name="C")),
    }
    with pytest.raises(Forbidden, match=lacking.value):
        async with app.begin(principal) as work:
            await makes[path](work, personal)
    async with app.begin(principal) as work:
        await makes[other](work, personal)
        await makes[path](work, shared)
    assert len((await owner.get(f"/spaces/{personal}/{path}")).json()["items"]) == 0
    assert len((await owner.get(f"/spaces/{shared}/{path}")).json()["items"]) == 1


async def test_there_is_one_organisation_space_and_only_its_admins_find_it_in_their_list(owner, tenancy, count):
    person, other = await tenancy.colleague(owner), await tenancy.colleague(owner, role="ai-configurator")
    answers = await asyncio.gather(*(client.get("/spaces/organisation") for client in (owner, person, other) * 2))
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert [answer.json()["role"] for answer in answers[:3]] == ["admin", "viewer", "admin"]
    assert await count("spaces", f"tenant_id = '{owner.tenant_id}' AND kind = 'organisation'") == 1
    listed = [(await client.get("/spaces")).json()["items"] for client in (owner, person, other)]
    assert [[(item["kind"], item["role"]) for item in items] for items in listed] == [
        [("organisation", "admin")],
        [],
        [("organisation", "admin")],
    ]


async def test_its_knowledge_is_for_everybody_to_use_and_for_its_admins_to_change(owner, tenancy):
    common = (await owner.get("/spaces/organisation")).json()["id"]
    collection = await owner.collection(common, "Fences")
    text = b"A fence along the street may be 1.2 metres high."
    (document,) = await owner.knows(collection, ("fence.txt", text))
    person = await tenancy.colleague(owner)
    for path in (
        f"/spaces/{common}/collections",
        f"/collections/{collection}",
        f"/collections/{collection}/documents",
        f"/documents/{document['id']}",
        f"/documents/{document['id']}/text",
        f"/documents/{document['id']}/content",
        f"/documents/{document['id']}/chunks",
    ):
        assert (await person.get(path)).status_code == 200, path
    found = (await person.post(f"/collections/{collection}/search", json={"query": "fence"})).json()["items"]
    assert found[0]["document_id"] == document["id"]
    assistant = await person.assistant(await person.space(), collection)
    assert "1.2 metres" in (await person.ask(await person.conversation(assistant), "How high?"))["content"]
    for answer in (
        await person.patch(f"/collections/{collection}", json={"name": "Mine"}),
        await person.delete(f"/collections/{collection}"),
        await person.delete(f"/documents/{document['id']}"),
        await person.post(f"/documents/{document['id']}/retry"),
        await person.post(f"/collections/{collection}/documents", files=[("file", ("a.txt", b"mine"))]),
        await person.post(f"/spaces/{common}/collections", json={"name": "Mine"}),
    ):
        assert answer.status_code == 403, answer.request.url
    assert (await owner.patch(f"/collections/{collection}", json={"name": "Fences and walls"})).status_code == 200


async def test_another_organisations_knowledge_is_not_there(owner, tenancy):
    common = (await owner.get("/spaces/organisation")).json()["id"]
    collection = await owner.collection(common)
    stranger = await tenancy.owner()
    assert (await stranger.get("/spaces/organisation")).json()["id"] != common
    for path in (f"/spaces/{common}", f"/spaces/{common}/collections", f"/collections/{collection}"):
        assert (await stranger.get(path)).status_code == 404
    space = await stranger.space()
    refused = await stranger.post(f"/spaces/{space}/assistants", json={"name": "A", "collection_ids": [collection]})
    assert refused.status_code == 404


async def test_who_loses_the_permission_is_no_admin_of_it_at_that_moment(owner, tenancy, app):
    person = await tenancy.colleague(owner, role="ai-configurator")
    common = (await person.get("/spaces/organisation")).json()["id"]
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(User).where(User.id == person.user.id).values(role="user"))
    assert (await person.get(f"/spaces/{common}")).json()["role"] == "viewer"
    assert (await person.patch(f"/spaces/{common}", json={"name": "Mine"})).status_code == 403
    assert (await person.get("/spaces")).json()["items"] == []


async def test_without_the_permission_for_spaces_there_is_no_organisation_space(owner, app):
    space = (await owner.get("/spaces/organisation")).json()["id"]
    principal = Principal(tenant_id=owner.tenant_id, user_id=owner.user.id, kind="user")
    async with app.begin(principal) as work:
        with pytest.raises(NotFound):
            await SpaceService(work).get(space, Access.READ)
