"""Who becomes whom: by issuer and subject alone, never more than was mapped, never in somebody's place."""

import asyncio
from uuid import uuid4

import pytest
from folkmoot_sdk import ExternalIdentity
from sqlalchemy import select, update

from folkmoot.federation.models import ExternalAccount
from folkmoot.identity.models import User
from folkmoot.people.models import Group, GroupMember
from folkmoot.tenants.models import Tenant


def email(domain="municipality.example"):
    return f"{uuid4().hex[:12]}@{domain}"


@pytest.fixture
async def group(owner, system):
    """Makes a group of the owner's organisation, and gives its id."""

    async def making(role=None):
        async with system(owner.tenant_id) as work:
            made = Group(tenant_id=owner.tenant_id, name=uuid4().hex, role=role)
            work.session.add(made)
        return str(made.id)

    return making


@pytest.fixture
async def groups_of(owner, system):
    async def reading(user_id):
        async with system(owner.tenant_id) as work:
            rows = await work.session.scalars(select(GroupMember).where(GroupMember.user_id == user_id))
            return {str(row.group_id): row.login_method_id is not None for row in rows}

    return reading


def holds(world, made, name, *groups):
    """The provider says from now on that `name` is in `groups`."""
    password, before = world.people[made.issuer][name]
    after = ExternalIdentity(before.issuer, before.subject, before.email, True, before.name, tuple(groups))
    world.people[made.issuer][name] = (password, after)


async def test_the_same_name_at_another_issuer_is_somebody_else(browsers, method, world):
    one, two = await method(create=True), await method(create=True)
    world.add(one.issuer, "ada", ExternalIdentity(one.issuer, "42", email()))
    world.add(two.issuer, "ada", ExternalIdentity(two.issuer, "42", email()))
    first, second = browsers(), browsers()
    assert (await first.signs_in(one.id, "ada")).status_code == 303
    assert (await second.signs_in(two.id, "ada")).status_code == 303
    assert (await first.me())["user"]["id"] != (await second.me())["user"]["id"]


async def test_an_email_that_is_taken_takes_nobody_over(browser, owner, method, world, events, count):
    made = await method(create=True)
    world.add(made.issuer, "mallory", email=owner.user.email.upper(), email_verified=True)
    answer = await browser.signs_in(made.id, "mallory")
    assert (answer.status_code, answer.json()["code"]) == (409, "account-exists")
    assert "set-cookie" not in answer.headers
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 0
    assert [event["data"]["reason"] for event in await events(owner.tenant_id, "session.failed")] == ["account-exists"]


async def test_an_email_that_changes_at_the_provider_changes_nobody(browser, method, world, owner, system):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    before = (await browser.me())["user"]
    world.add(made.issuer, "ada", email=owner.user.email, email_verified=True)
    assert (await browser.signs_in(made.id, "ada")).status_code == 303
    assert (await browser.me())["user"] == before


async def test_nobody_new_comes_where_no_accounts_are_made(browser, owner, method, world, count):
    made = await method()
    world.add(made.issuer, "ada", email=email())
    answer = await browser.signs_in(made.id, "ada")
    assert (answer.status_code, answer.json()["code"]) == (403, "account-not-allowed")
    assert await count("users", f"tenant_id = '{owner.tenant_id}'") == 1


@pytest.mark.parametrize(
    ("address", "verified", "status"),
    [
        ("ada@municipality.example", True, 303),
        ("ADA@MUNICIPALITY.EXAMPLE", True, 303),
        ("ada@municipality.example", False, 403),
        (None, True, 403),
        ("ada@evil.example", True, 403),
        ("ada@sub.municipality.example", True, 403),
        ("ada@municipality.example.evil.example", True, 403),
        ("ada@notmunicipality.example", True, 403),
        ("ada@municipality.example@evil.example", True, 403),
        ("ada@xn--bcher-kva.example", True, 303),
        ("ada@b\u00fccher.example", True, 303),
        ("ada@BU\u0308CHER.example", True, 303),
        ("ada@bucher.example", True, 403),
        ("ada@munic\u0456pality.example", True, 403),
    ],
)
async def test_only_verified_addresses_of_the_domains_come_in(browser, method, world, address, verified, status):
    made = await method(create=True, allowed_domains=["municipality.example", "Bücher.example"])
    world.add(made.issuer, "ada", email=address, email_verified=verified)
    answer = await browser.signs_in(made.id, "ada")
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["code"] == "account-not-allowed"


async def test_a_domain_that_is_no_longer_allowed_shuts_out_who_came_by_it(browser, owner, method, world):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email("old.example"), email_verified=True)
    assert (await browser.signs_in(made.id, "ada")).status_code == 303
    await owner.patch(f"/login-methods/{made.id}", json={"provisioning": {"allowed_domains": ["new.example"]}})
    assert (await browser.signs_in(made.id, "ada")).json()["code"] == "account-not-allowed"


async def test_without_any_email_no_account_is_made(browser, method, world):
    made = await method(create=True)
    world.add(made.issuer, "ada")
    assert (await browser.signs_in(made.id, "ada")).json()["code"] == "account-not-allowed"


async def test_two_first_sign_ins_at_one_moment_make_one_account(browsers, owner, method, world, count):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    some = [browsers() for _ in range(4)]
    answers = await asyncio.gather(*(one.signs_in(made.id, "ada") for one in some))
    assert [answer.status_code for answer in answers] == [303] * 4
    assert len({(await one.me())["user"]["id"] for one in some}) == 1
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 1
    assert await count("users", f"tenant_id = '{owner.tenant_id}'") == 2


async def test_two_new_people_with_one_email_do_not_share_it(browsers, owner, method, world, count):
    made = await method(create=True)
    address = email()
    world.add(made.issuer, "ada", email=address)
    world.add(made.issuer, "eve", email=address)
    answers = await asyncio.gather(browsers().signs_in(made.id, "ada"), browsers().signs_in(made.id, "eve"))
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 1


async def test_a_full_organisation_takes_nobody_more(browser, owner, method, world, system):
    made = await method(create=True)
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(Tenant).where(Tenant.id == owner.tenant_id).values(max_users=1))
    world.add(made.issuer, "ada", email=email())
    answer = await browser.signs_in(made.id, "ada")
    assert (answer.status_code, answer.json()["code"]) == (409, "quota-users")


@pytest.mark.parametrize("state", ["inactive", "deleted", "invited"])
async def test_who_is_not_active_stays_out(browser, owner, method, world, system, events, state):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    user_id = (await browser.me())["user"]["id"]
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(User).where(User.id == user_id).values(state=state))
    answer = await browser.signs_in(made.id, "ada")
    assert (answer.status_code, answer.json()["code"]) == (403, "account-inactive")
    assert (await events(owner.tenant_id, "session.failed"))[-1]["data"]["reason"] == "account-inactive"


async def test_groups_follow_the_provider_and_leave_what_was_given_by_hand(
    browser, owner, method, world, group, groups_of, system, events
):
    mapped, other, by_hand = await group(), await group(), await group()
    made = await method(
        create=True,
        group_map=[
            {"claim": "office", "group_id": mapped},
            {"claim": "permits", "group_id": other},
            {"claim": "hand", "group_id": by_hand},
        ],
    )
    world.add(made.issuer, "ada", email=email(), groups=("office", "unknown"))
    await browser.signs_in(made.id, "ada")
    user_id = (await browser.me())["user"]["id"]
    assert await groups_of(user_id) == {mapped: True}
    async with system(owner.tenant_id) as work:
        work.session.add(GroupMember(tenant_id=owner.tenant_id, group_id=by_hand, user_id=user_id))
    holds(world, made, "ada", "permits")
    await browser.signs_in(made.id, "ada")
    assert await groups_of(user_id) == {other: True, by_hand: False}
    holds(world, made, "ada", "permits", "hand")
    await browser.signs_in(made.id, "ada")
    assert await groups_of(user_id) == {other: True, by_hand: False}
    holds(world, made, "ada")
    await browser.signs_in(made.id, "ada")
    assert await groups_of(user_id) == {by_hand: False}
    added = await events(owner.tenant_id, "group.member_added")
    removed = await events(owner.tenant_id, "group.member_removed")
    assert [str(event["object_id"]) for event in added] == [mapped, other]
    assert [str(event["object_id"]) for event in removed] == [mapped, other]
    assert added[0]["data"]["login_method_id"] == made.id
    assert added[0]["data"]["method"] == "fake-id"


async def test_a_mapping_that_is_taken_away_takes_its_members_out(browser, owner, method, world, group, groups_of):
    mapped = await group()
    made = await method(create=True, group_map=[{"claim": "office", "group_id": mapped}])
    world.add(made.issuer, "ada", email=email(), groups=("office",))
    await browser.signs_in(made.id, "ada")
    user_id = (await browser.me())["user"]["id"]
    renamed = [{"claim": "bureau", "group_id": mapped}]
    await owner.patch(f"/login-methods/{made.id}", json={"provisioning": {"group_map": renamed}})
    await browser.signs_in(made.id, "ada")
    assert await groups_of(user_id) == {}


async def test_nothing_is_taken_away_where_that_is_switched_off(browser, owner, method, world, group, groups_of):
    mapped = await group()
    made = await method(
        create=True,
        remove_from_groups=False,
        group_map=[{"claim": "office", "group_id": mapped}, {"claim": "boss", "role": "ai-configurator"}],
    )
    world.add(made.issuer, "ada", email=email(), groups=("office", "boss"))
    await browser.signs_in(made.id, "ada")
    holds(world, made, "ada")
    await browser.signs_in(made.id, "ada")
    told = (await browser.me())["user"]
    assert told["role"] == "ai-configurator"
    assert await groups_of(told["id"]) == {mapped: True}


async def test_a_group_that_was_deleted_is_passed_over(browser, owner, method, world, group):
    mapped = await group()
    made = await method(create=True, group_map=[{"claim": "office", "group_id": mapped}])
    assert (await owner.delete(f"/groups/{mapped}")).status_code == 204
    world.add(made.issuer, "ada", email=email(), groups=("office",))
    assert (await browser.signs_in(made.id, "ada")).status_code == 303


async def test_claims_raise_and_lower_the_role_between_the_mapped_ones(browser, owner, method, world, events):
    made = await method(
        create=True,
        group_map=[{"claim": "ai", "role": "ai-configurator"}, {"claim": "boss", "role": "owner"}],
    )
    world.add(made.issuer, "ada", email=email(), groups=("ai",))
    await browser.signs_in(made.id, "ada")
    assert (await browser.me())["user"]["role"] == "ai-configurator"
    for groups, role in ((("ai", "boss"), "owner"), ((), "user"), (("boss",), "owner"), (("ai",), "ai-configurator")):
        holds(world, made, "ada", *groups)
        await browser.signs_in(made.id, "ada")
        assert (await browser.me())["user"]["role"] == role
    changes = await events(owner.tenant_id, "user.role_changed")
    assert [(event["data"]["from"], event["data"]["to"]) for event in changes] == [
        ("ai-configurator", "owner"),
        ("owner", "user"),
        ("user", "owner"),
        ("owner", "ai-configurator"),
    ]
    assert {event["data"]["login_method_id"] for event in changes} == {made.id}


async def test_a_role_that_no_claim_gives_is_the_administrators_alone(browser, owner, method, world, system):
    made = await method(create=True, group_map=[{"claim": "ai", "role": "ai-configurator"}])
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    user_id = (await browser.me())["user"]["id"]
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(User).where(User.id == user_id).values(role="owner"))
    for groups in ((), ("ai",)):
        holds(world, made, "ada", *groups)
        await browser.signs_in(made.id, "ada")
        assert (await browser.me())["user"]["role"] == "owner"


async def test_the_last_owner_is_not_lowered_by_a_claim_that_is_gone(browser, owner, method, world, system):
    made = await method(create=True, group_map=[{"claim": "boss", "role": "owner"}])
    world.add(made.issuer, "olga", email=email())
    linked = await browser.post(f"/me/accounts/{made.id}/start", json={}, headers=dict(owner.headers))
    assert (await browser.goes_to(linked, "olga")).status_code == 303
    await browser.signs_in(made.id, "olga")
    assert (await browser.me())["user"]["role"] == "owner"
    world.add(made.issuer, "ada", email=email(), groups=("boss",))
    await browser.signs_in(made.id, "ada")
    assert (await browser.me())["user"]["role"] == "owner"
    await browser.signs_in(made.id, "olga")
    assert (await browser.me())["user"]["role"] == "user"


async def test_an_invitation_is_accepted_by_signing_in_elsewhere(browser, browsers, owner, method, world, events):
    made = await method()
    address = email()
    invited = (await owner.post("/users", json={"email": address, "role": "ai-configurator"})).json()
    token = invited["link"].partition("#")[2]
    world.add(made.issuer, "ada", email="ada@elsewhere.example", name="Ada")
    answer = await browser.signs_in(made.id, "ada", invitation=token, return_to="/welcome")
    assert (answer.status_code, answer.headers["location"]) == (303, "/welcome")
    told = (await browser.me())["user"]
    assert (told["email"], told["role"], told["state"]) == (address, "ai-configurator", "active")
    assert (await browser.signs_in(made.id, "ada")).status_code == 303
    world.add(made.issuer, "eve", email=email())
    again = await browsers().signs_in(made.id, "eve", invitation=token)
    assert (again.status_code, again.json()["code"]) == (409, "link-used")
    (linked,) = await events(owner.tenant_id, "account.linked")
    assert linked["data"]["issuer"] == made.issuer


async def test_an_invitation_is_not_used_up_by_who_is_here_already(browser, owner, method, world, tenancy):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    token = (await owner.post("/users", json={"email": email()})).json()["link"].partition("#")[2]
    refused = await browser.signs_in(made.id, "ada", invitation=token)
    assert (refused.status_code, refused.json()["code"]) == (409, "account-exists")
    world.add(made.issuer, "eve", email=email())
    assert (await browser.signs_in(made.id, "eve", invitation=token)).status_code == 303


async def test_an_invitation_of_another_organisation_opens_nothing(browser, method, world, tenancy):
    made = await method(create=True)
    other = await tenancy.owner()
    token = (await other.post("/users", json={"email": email()})).json()["link"].partition("#")[2]
    world.add(made.issuer, "ada", email=email())
    for wrong in (token, "fml_nonsense", "x"):
        answer = await browser.signs_in(made.id, "ada", invitation=wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "link-invalid")


async def test_an_account_is_linked_listed_and_given_up(browser, browsers, owner, method, world, events):
    made = await method()
    world.add(made.issuer, "olga", email="olga@elsewhere.example")
    headers = dict(owner.headers)
    start = await browser.post(f"/me/accounts/{made.id}/start", json={"return_to": "/me"}, headers=headers)
    assert start.headers["cache-control"] == "no-store"
    linked = await browser.goes_to(start, "olga")
    assert (linked.status_code, linked.headers["location"]) == (303, "/me")
    assert "folkmoot_refresh" not in linked.headers.get("set-cookie", "")
    (account,) = (await owner.get("/me/accounts")).json()["items"]
    assert (account["issuer"], account["subject"], account["email"]) == (
        made.issuer,
        "subject-of-olga",
        "olga@elsewhere.example",
    )
    assert account["method_name"] == made.body["name"]
    elsewhere = browsers()
    assert (await elsewhere.signs_in(made.id, "olga")).status_code == 303
    assert (await elsewhere.me())["user"]["id"] == str(owner.user.id)
    assert (await owner.delete(f"/me/accounts/{account['id']}")).status_code == 204
    assert (await elsewhere.post("/auth/refresh")).status_code == 401
    assert (await owner.get("/me/accounts")).json()["items"] == []
    assert (await elsewhere.signs_in(made.id, "olga")).json()["code"] == "account-not-allowed"
    assert [event["data"]["issuer"] for event in await events(owner.tenant_id, "account.unlinked")] == [made.issuer]


async def test_the_account_of_somebody_else_is_not_linked(browser, owner, method, world, tenancy):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    start = await browser.post(f"/me/accounts/{made.id}/start", json={}, headers=dict(owner.headers))
    answer = await browser.goes_to(start, "ada")
    assert (answer.status_code, answer.json()["code"]) == (409, "account-exists")
    mine = (await browser.get("/me/accounts", headers={"Authorization": f"Bearer {await browser.token()}"})).json()
    (account,) = mine["items"]
    gone = await owner.delete(f"/me/accounts/{account['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "not-found")


async def test_the_last_way_in_is_not_given_up(browser, method, world):
    made, other = await method(create=True), await method()
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    headers = {"Authorization": f"Bearer {await browser.token()}"}
    (account,) = (await browser.get("/me/accounts", headers=headers)).json()["items"]
    refused = await browser.delete(f"/me/accounts/{account['id']}", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "last-way-in")
    world.add(other.issuer, "ada")
    linked = await browser.post(f"/me/accounts/{other.id}/start", json={}, headers=headers)
    assert (await browser.goes_to(linked, "ada")).status_code == 303
    assert (await browser.delete(f"/me/accounts/{account['id']}", headers=headers)).status_code == 204


async def test_linking_ends_with_the_session_in_which_it_began(browser, owner, method, world, count):
    made = await method()
    world.add(made.issuer, "olga")
    start = await browser.post(f"/me/accounts/{made.id}/start", json={}, headers=dict(owner.headers))
    await owner.post("/auth/logout")
    answer = await browser.goes_to(start, "olga")
    assert (answer.status_code, answer.json()["code"]) == (401, "session-ended")
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_an_api_key_links_nothing(browser, owner, method):
    made = await method()
    key = (await owner.post("/api-keys", json={"name": "k", "scopes": ["read", "write", "admin"]})).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    for call in (
        browser.post(f"/me/accounts/{made.id}/start", json={}, headers=headers),
        browser.get("/me/accounts", headers=headers),
        browser.post("/auth/provider-logout", headers=headers),
    ):
        assert (await call).status_code == 403


async def test_an_organisation_that_changes_its_method_loses_nobody(browser, owner, method, world, system):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    await browser.signs_in(made.id, "ada")
    before = (await browser.me())["user"]["id"]
    newer = await method(issuer=made.issuer)
    assert (await browser.signs_in(newer.id, "ada")).status_code == 303
    assert (await owner.delete(f"/login-methods/{made.id}")).status_code == 204
    assert (await browser.signs_in(newer.id, "ada")).status_code == 303
    assert (await browser.me())["user"]["id"] == before
    async with system(owner.tenant_id) as work:
        assert str(await work.session.scalar(select(ExternalAccount.login_method_id))) == newer.id
