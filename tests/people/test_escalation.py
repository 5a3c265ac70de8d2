"""Chains of steps, each allowed by itself, that must not end with more than one had."""

from uuid import uuid4

import pytest

from folkmoot.identity.link_tokens import token_of
from folkmoot.identity.links import Links
from folkmoot.kit.access import Principal
from folkmoot.people.acting import find_person
from tests.people.test_people import code, with_role

PASSWORD = "a very long pass phrase indeed"


def address() -> str:
    return f"{uuid4().hex[:12]}@people.example"


def token(handed) -> str:
    return handed["link"].partition("#")[2]


@pytest.fixture
def accept(stranger):
    async def accepting(link, path="/auth/link/accept"):
        fields = {"password": PASSWORD} if path.endswith("accept") else {}
        return await stranger.post(f"/api/v1{path}", json={"token": link, **fields})

    return accepting


async def test_a_link_one_was_handed_does_not_open_an_account_that_was_raised_since(owner, tenancy, accept):
    clerk = await with_role(owner, tenancy, "people")
    invited = await clerk.made("/users", email=address())
    assert (await accept(token(invited), "/auth/link")).status_code == 200
    assert (await owner.patch(f"/users/{invited['id']}", json={"role": "owner"})).status_code == 200
    for path in ("/auth/link", "/auth/link/accept"):
        assert code(await accept(token(invited), path)) == (409, "link-void")
    assert (await owner.get(f"/users/{invited['id']}")).json()["state"] == "invited"
    anew = await owner.post(f"/users/{invited['id']}/invitation")
    assert (await accept(token(anew.json()))).status_code == 200


async def test_a_reset_one_was_handed_does_not_open_an_account_that_was_raised_since(owner, tenancy, accept):
    clerk, colleague = await with_role(owner, tenancy, "people"), await tenancy.colleague(owner)
    reset = (await clerk.post(f"/users/{colleague.user.id}/reset")).json()
    group = (await owner.made("/groups", name=f"Admins {uuid4().hex[:6]}", role="owner"))["id"]
    assert (await owner.put(f"/groups/{group}/members/{colleague.user.id}")).status_code == 200
    assert code(await accept(token(reset))) == (409, "link-void")
    assert (await owner.delete(f"/groups/{group}/members/{colleague.user.id}")).status_code == 204
    assert (await accept(token(reset))).status_code == 200


@pytest.mark.parametrize("how", ["inactive", "deleted", "lowered"])
async def test_who_is_shut_out_does_not_come_back_by_a_link_that_they_kept(owner, tenancy, accept, how):
    leaving = await tenancy.colleague(owner, role="owner")
    invited = await leaving.made("/users", email=address(), role="owner")
    if how == "deleted":
        assert (await owner.delete(f"/users/{leaving.user.id}")).status_code == 204
    else:
        change = {"state": "inactive"} if how == "inactive" else {"role": "user"}
        assert (await owner.patch(f"/users/{leaving.user.id}", json=change)).status_code == 200
    assert code(await accept(token(invited))) == (409, "link-void")


async def test_a_link_that_went_by_mail_does_not_depend_on_who_had_it_sent(owner, tenancy, accept, app, changed):
    leaving = await tenancy.colleague(owner, role="owner")
    mailing = Links(changed(smtp_url="smtp://127.0.0.1:1"))
    invited = await owner.made("/users", email=address())
    who = Principal(tenant_id=owner.tenant_id, user_id=leaving.user.id, kind="user")
    async with app.begin(who) as work:
        link = await mailing.make(work, await find_person(work, invited["id"]), "invitation")
        # Not to be sent: what matters is that the maker never saw it.
        work.follow.clear()
    assert (await owner.delete(f"/users/{leaving.user.id}")).status_code == 204
    assert (await accept(token_of(app.keyring, link))).status_code == 200


async def test_a_key_gives_nobody_more_than_its_owner_has_at_that_moment(owner, tenancy, stranger):
    second = await tenancy.colleague(owner, role="owner")
    made = await second.made("/api-keys", name="A program", scopes=["read", "write", "admin"])
    by_key = {"Authorization": f"Bearer {made['key']}"}
    colleague = await tenancy.colleague(owner)

    async def raise_colleague():
        return await stranger.patch(f"/api/v1/users/{colleague.user.id}", json={"role": "owner"}, headers=by_key)

    assert code(await stranger.patch(f"/api/v1/users/{second.user.id}", json={"role": "user"}, headers=by_key)) == (
        403,
        "cannot-raise-yourself",
    )
    assert (await owner.patch(f"/users/{second.user.id}", json={"role": "ai-configurator"})).status_code == 200
    # At once, and not when the key is read anew: a change of rights looks at them itself.
    answer = await raise_colleague()
    assert answer.status_code == 403
    role = await owner.made("/roles", name=f"Clerks {uuid4().hex[:6]}", permissions=["people"])
    assert (await owner.put(f"/users/{second.user.id}/roles/{role['id']}")).status_code == 204
    assert code(await raise_colleague()) == (403, "more-than-you-have")


async def test_nobody_widens_a_group_or_role_through_the_group_that_gives_it_to_them(owner, tenancy):
    """A group gives `people` and nothing else: neither by its role, nor a custom one, nor by a second group."""
    clerk = await tenancy.colleague(owner)
    group = (await owner.made("/groups", name=f"Clerks {uuid4().hex[:6]}"))["id"]
    role = (await owner.made("/roles", name=f"Clerks {uuid4().hex[:6]}", permissions=["people"]))["id"]
    assert (await owner.put(f"/groups/{group}/roles/{role}")).status_code == 204
    assert (await owner.put(f"/groups/{group}/members/{clerk.user.id}")).status_code == 200
    assert (await clerk.get("/users")).status_code == 200
    tried = {
        "the group's role": clerk.patch(f"/groups/{group}", json={"role": "owner"}),
        "the role's permissions": clerk.patch(f"/roles/{role}", json={"permissions": ["people", "audit"]}),
        "the role for oneself": clerk.put(f"/users/{clerk.user.id}/roles/{role}"),
        "a role that holds more": clerk.post("/roles", json={"name": "More", "permissions": ["people", "admin"]}),
        "a group that holds more": clerk.post("/groups", json={"name": "More", "role": "owner"}),
        "an account that holds more": clerk.post("/users", json={"email": address(), "role": "owner"}),
        "one's own role": clerk.patch(f"/users/{clerk.user.id}", json={"role": "owner"}),
        "leaving the group": clerk.delete(f"/groups/{group}/members/{clerk.user.id}"),
    }
    for what, call in tried.items():
        answer = await call
        assert answer.status_code == 403, f"{what}: {answer.text}"
        assert answer.json()["code"] in ("cannot-raise-yourself", "more-than-you-have"), what
    permissions = set((await clerk.get("/me")).json()["permissions"])
    assert "people" in permissions
    assert not permissions & {"admin", "audit", "models", "commons"}
    # Deleting what gives it to oneself lowers oneself, for good.
    assert (await clerk.delete(f"/groups/{group}")).status_code == 204
    assert (await clerk.get("/users")).status_code == 403


async def test_what_administers_an_organisation_does_not_reach_the_installation(owner, tenancy):
    """`platform` is in no role, no custom role, no scope and no body that an owner can send."""
    person = await tenancy.colleague(owner)
    answers = [
        await owner.post("/roles", json={"name": "Root", "permissions": ["platform"]}),
        await owner.post("/api-keys", json={"name": "Root", "scopes": ["platform"]}),
        await owner.post("/platform/admins", json={"tenant_id": str(owner.tenant_id), "user_id": str(owner.user.id)}),
        await owner.patch("/organisation", json={"max_users": 1}),
        await owner.patch("/organisation", json={"settings": {"platform": True}}),
        await owner.patch(f"/users/{person.user.id}", json={"role": "platform"}),
        await owner.patch(f"/users/{person.user.id}", json={"permissions": ["platform"]}),
        await owner.post("/platform/tenants", json={"name": "Mine", "admin_email": address()}),
    ]
    assert [answer.status_code for answer in answers] == [400, 403, 403, 400, 400, 400, 400, 403]
    assert "platform" not in (await owner.get("/me")).json()["permissions"]
