"""Who administers the installation: named people."""

import asyncio
from uuid import uuid4

import pytest

from folkmoot.identity.service import UserService
from folkmoot.kit.access import Principal
from folkmoot.kit.errors import Forbidden
from folkmoot.platform.service import Actor
from folkmoot.tenants.models import PLATFORM

ADMINS = "/platform/admins"


async def test_somebody_is_named_by_e_mail_and_may_act_at_once(admin, owner, events):
    assert (await owner.get(ADMINS)).status_code == 403
    body = {"tenant_id": str(owner.tenant_id), "email": owner.user.email.upper()}
    named = await admin.post(ADMINS, json=body)
    assert named.status_code == 201, named.text
    assert named.json() | {"created_at": ""} == {
        "user_id": str(owner.user.id),
        "tenant_id": str(owner.tenant_id),
        "tenant_name": owner.tenant_name,
        "email": owner.user.email,
        "name": "Ada",
        "active": True,
        "granted_by": f"{admin.user.email} (user {admin.user.id})",
        "created_at": "",
    }
    listed = (await owner.get(ADMINS, params={"limit": 1})).json()
    assert named.json() in listed["items"]
    assert listed["next_cursor"]
    assert (await owner.delete(f"{ADMINS}/{owner.user.id}")).status_code == 204
    assert (await owner.get(ADMINS)).status_code == 403
    for log in (PLATFORM, owner.tenant_id):
        told = [row for row in await events(log, owner.user.id) if row.action.startswith("platform.")]
        assert [(row.action, row.actor_id) for row in told] == [
            ("platform.admin_granted", admin.user.id),
            ("platform.admin_revoked", owner.user.id),
        ]


async def test_nobody_is_named_twice_themself_included(admin):
    body = {"tenant_id": str(admin.tenant_id), "user_id": str(admin.user.id)}
    again = await admin.post(ADMINS, json=body)
    assert (again.status_code, again.json()["code"]) == (409, "already-exists")


async def test_who_cannot_sign_in_is_not_named(admin, owner, tenancy, app, count):
    gone = await tenancy.colleague(owner)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        users = UserService(work)
        await users.set_state(await users.with_email(gone.user.email), "inactive")
    refused = await admin.post(ADMINS, json={"tenant_id": str(owner.tenant_id), "user_id": str(gone.user.id)})
    assert (refused.status_code, refused.json()["code"]) == (409, "person-not-active")
    assert await count("platform_admins", f"user_id = '{gone.user.id}'") == 0


async def test_a_person_is_looked_for_in_their_own_organisation_alone(admin, owner, tenancy):
    other = await tenancy.owner()
    for body in (
        {"tenant_id": str(other.tenant_id), "user_id": str(owner.user.id)},
        {"tenant_id": str(other.tenant_id), "email": owner.user.email},
        {"tenant_id": str(uuid4()), "user_id": str(owner.user.id)},
        {"tenant_id": str(PLATFORM), "user_id": str(owner.user.id)},
    ):
        assert (await admin.post(ADMINS, json=body)).status_code == 404
    assert (await owner.get(ADMINS)).status_code == 403


@pytest.mark.parametrize(
    "who",
    [{}, {"user_id": "01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d", "email": "a@b.example"}, {"user_id": "me"}, {"name": "A"}],
)
async def test_who_it_is_must_be_said_once(admin, owner, who):
    refused = await admin.post(ADMINS, json={"tenant_id": str(owner.tenant_id), **who})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")


async def test_the_last_one_cannot_be_taken_away(alone):
    refused = await alone.delete(f"{ADMINS}/{alone.user.id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "last-platform-admin")
    assert (await alone.get(ADMINS)).status_code == 200


async def test_somebody_who_cannot_sign_in_does_not_count_as_another(alone, owner):
    await alone.post(ADMINS, json={"tenant_id": str(owner.tenant_id), "user_id": str(owner.user.id)})
    assert (await alone.post(f"/platform/tenants/{owner.tenant_id}/suspend", json={"reason": "x"})).status_code == 200
    assert (await alone.delete(f"{ADMINS}/{alone.user.id}")).status_code == 409
    shown = {item["user_id"]: item["active"] for item in (await alone.get(ADMINS)).json()["items"]}
    assert shown == {str(alone.user.id): True, str(owner.user.id): False}


async def test_two_who_take_each_other_away_at_once_are_not_both_gone(alone, owner, count):
    await alone.post(ADMINS, json={"tenant_id": str(owner.tenant_id), "user_id": str(owner.user.id)})
    answers = await asyncio.gather(alone.delete(f"{ADMINS}/{owner.user.id}"), owner.delete(f"{ADMINS}/{alone.user.id}"))
    assert sorted(answer.status_code for answer in answers)[0] == 204
    assert sorted(answer.status_code for answer in answers)[1] in (403, 409)
    assert await count("platform_admins") == 1


async def test_somebody_who_is_not_named_is_not_found(admin, owner):
    for user_id in (owner.user.id, uuid4()):
        assert (await admin.delete(f"{ADMINS}/{user_id}")).status_code == 404


def test_only_who_has_the_permission_becomes_an_actor():
    with pytest.raises(Forbidden):
        Actor.person(Principal(kind="user", permissions=frozenset()))
