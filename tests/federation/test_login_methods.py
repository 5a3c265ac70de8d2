"""Administrators set up ways in; secrets stay secret, and nobody shuts everybody out or raises themself."""

from uuid import UUID, uuid4

import pytest
from folkmoot_sdk import AuthError, BackendUnavailable, ExternalIdentity, RedirectStart
from sqlalchemy import select, update

from folkmoot.federation.models import ExternalAccount, LoginMethod
from folkmoot.identity.models import User
from folkmoot.kit.access import Principal
from folkmoot.people.models import Group, Role, RoleGrant
from tests.federation.fakes import CLIENT_SECRET
from tests.support.people import PASSWORD

MASK = "********"


@pytest.fixture
async def administrator(owner, tenancy, system):
    """Somebody who administers, and is no owner."""
    person = await tenancy.colleague(owner)
    async with system(owner.tenant_id) as work:
        role = Role(tenant_id=owner.tenant_id, name=f"Admins {uuid4().hex}", permissions=["admin"])
        work.session.add(role)
        await work.session.flush()
        work.session.add(RoleGrant(tenant_id=owner.tenant_id, role_id=role.id, user_id=person.user.id))
    return person


async def test_the_kinds_that_are_installed_come_with_the_schema_of_their_form(owner, world):
    kinds = {item["kind"]: item for item in (await owner.get("/login-methods/kinds")).json()["items"]}
    assert {"fake-id", "fake-directory"} <= set(kinds)
    assert kinds["fake-id"]["title"] == "Fake identity"
    schema = kinds["fake-id"]["config_schema"]
    body = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    assert "issuer" in body["required"]
    assert '"writeOnly": true' in str(body).replace("'", '"').replace("True", "true")


async def test_a_secret_goes_in_and_never_comes_out(owner, method, count, superuser):
    made = await method()
    shown = await owner.get(f"/login-methods/{made.id}")
    assert shown.json()["config"] == {"issuer": made.issuer, "client_secret": MASK, "scopes": []}
    assert shown.headers["etag"] == made.etag
    listed = await owner.get("/login-methods")
    events = await owner.get("/login-methods")
    for answer in (shown, listed, events):
        assert CLIENT_SECRET not in answer.text
    assert (
        await count(
            "login_methods", f"id = '{made.id}' AND position('{CLIENT_SECRET}' in encode(config, 'escape')) > 0"
        )
        == 0
    )
    assert await count("events", f"object_id = '{made.id}'") == 1
    assert await count("events", f"object_id = '{made.id}' AND data::text LIKE '%{CLIENT_SECRET}%'") == 0


async def test_where_a_provider_sends_people_back_to_is_said_by_the_settings(owner, method, app):
    made = await method()
    shown = (
        await owner.get(
            f"/login-methods/{made.id}", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        )
    ).json()
    url = app.settings.url()
    assert shown["redirect_uri"] == f"{url}/api/v1/auth/callback"
    assert shown["backchannel_logout_uri"] == f"{url}/api/v1/auth/methods/{made.id}/backchannel-logout"
    assert shown["post_logout_redirect_uri"] == url


@pytest.mark.parametrize("change", [{"scopes": ["a"]}, {"client_secret": MASK, "scopes": ["a"]}])
async def test_a_change_keeps_what_it_does_not_name_and_a_mask_that_comes_back(owner, method, world, browser, change):
    made = await method()
    answer = await owner.patch(f"/login-methods/{made.id}", json={"config": change})
    assert answer.status_code == 200, answer.text
    assert answer.json()["config"] == {"issuer": made.issuer, "client_secret": MASK, "scopes": ["a"]}
    await browser.get(f"/auth/methods/{made.id}/start")
    (config,) = next(arguments for what, arguments in reversed(world.seen) if what == "connect")
    assert config.client_secret.reveal() == CLIENT_SECRET
    assert config.scopes == ["a"]


async def test_a_secret_is_replaced_or_taken_away(owner, method, world, browser):
    made = await method()
    for given, shown in (("another", MASK), (None, None)):
        answer = await owner.patch(f"/login-methods/{made.id}", json={"config": {"client_secret": given}})
        assert answer.json()["config"]["client_secret"] == shown
        await browser.get(f"/auth/methods/{made.id}/start")
        (config,) = next(arguments for what, arguments in reversed(world.seen) if what == "connect")
        assert (config.client_secret.reveal() if config.client_secret else None) == given


async def test_a_changed_configuration_closes_the_connection_of_the_old_one(owner, method, world, browser):
    made = await method()
    await browser.get(f"/auth/methods/{made.id}/start")
    await browser.get(f"/auth/methods/{made.id}/start")
    assert (world.connected, world.closed) == (1, 0)
    await owner.patch(f"/login-methods/{made.id}", json={"config": {"scopes": ["b"]}})
    await browser.get(f"/auth/methods/{made.id}/start")
    await world.until(lambda: world.closed > 0)
    assert (world.connected, world.closed) == (2, 1)


async def test_two_who_edit_at_once_do_not_overwrite_each_other(owner, method):
    made = await method()
    first = await owner.patch(f"/login-methods/{made.id}", json={"name": "One"}, headers={"If-Match": made.etag})
    second = await owner.patch(f"/login-methods/{made.id}", json={"name": "Two"}, headers={"If-Match": made.etag})
    assert (first.status_code, second.status_code, second.json()["code"]) == (200, 412, "changed-meanwhile")


async def test_provisioning_is_changed_field_by_field(owner, method):
    made = await method(create=True, allowed_domains=["Municipality.Example", "bücher.example"])
    assert made.body["provisioning"]["allowed_domains"] == ["municipality.example", "bücher.example"]
    answer = await owner.patch(f"/login-methods/{made.id}", json={"provisioning": {"role": "ai-configurator"}})
    told = answer.json()["provisioning"]
    assert told["create"] is True
    assert told["role"] == "ai-configurator"
    assert told["allowed_domains"] == ["municipality.example", "bücher.example"]
    assert "ceiling" not in told


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"kind": "no-such-kind"}, "kind"),
        ({"config": {}}, "config"),
        ({"config": {"issuer": 1}}, "config.issuer"),
        ({"config": {"issuer": "x", "secret": "y"}}, "config.secret"),
        ({"config": {"issuer": "x" * 70_000}}, "config"),
        ({"provisioning": {"allowed_domains": ["a b"]}}, "provisioning.allowed_domains.0"),
        ({"provisioning": {"allowed_domains": ["ok.example", "-x-.example"]}}, "provisioning.allowed_domains.1"),
        ({"provisioning": {"allowed_domains": ["a@b.example"]}}, "provisioning.allowed_domains.0"),
        (
            {"provisioning": {"group_map": [{"claim": "x", "group_id": str(uuid4())}]}},
            "provisioning.group_map.0.group_id",
        ),
        ({"provisioning": {"group_map": [{"claim": "x"}]}}, None),
        ({"provisioning": {"group_map": [{"claim": "x", "role": "user", "group_id": str(uuid4())}]}}, None),
        ({"provisioning": {"role": "king"}}, None),
        ({"name": ""}, None),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_field(owner, world, count, body, path):
    whole = {"kind": "fake-id", "name": uuid4().hex, "config": {"issuer": "https://a.example"}} | body
    answer = await owner.post("/login-methods", json=whole)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation-failed"), answer.text
    if path is not None:
        assert path in [error["path"] for error in answer.json()["errors"]]
    assert await count("login_methods", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_name_is_given_once(owner, method):
    made = await method(name="Office")
    again = await owner.post(
        "/login-methods", json={"kind": "fake-id", "name": "Office", "config": {"issuer": "https://b.example"}}
    )
    assert (again.status_code, again.json()["code"]) == (409, "already-exists")
    assert (await owner.get("/login-methods")).json()["items"][0]["id"] == made.id


async def test_of_another_organisation_nothing_is_seen_and_nothing_changed(owner, method, tenancy, world):
    made = await method()
    other = await tenancy.owner()
    assert (await other.get("/login-methods")).json()["items"] == []
    for call in (
        other.get(f"/login-methods/{made.id}"),
        other.patch(f"/login-methods/{made.id}", json={"enabled": False}),
        other.delete(f"/login-methods/{made.id}"),
        other.post(f"/login-methods/{made.id}/check"),
        other.post(f"/me/accounts/{made.id}/start", json={}),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    async with tenancy.app.begin(Principal.system(other.tenant_id)) as work:
        group = Group(tenant_id=other.tenant_id, name="Theirs")
        work.session.add(group)
    stolen = await owner.patch(
        f"/login-methods/{made.id}",
        json={"provisioning": {"group_map": [{"claim": "x", "group_id": str(group.id)}]}},
    )
    assert stolen.status_code == 400
    assert (await owner.get(f"/login-methods/{made.id}")).headers["etag"] == made.etag


async def test_who_does_not_administer_may_not_even_look(owner, tenancy, method):
    made = await method()
    for role in ("user", "ai-configurator"):
        person = await tenancy.colleague(owner, role)
        for path in ("/login-methods", "/login-methods/kinds", f"/login-methods/{made.id}"):
            assert (await person.get(path)).json()["code"] == "forbidden"


async def test_an_administrator_who_is_no_owner_makes_no_owners(administrator, owner, method, system):
    made = await method(by=administrator)
    async with system(owner.tenant_id) as work:
        group = Group(tenant_id=owner.tenant_id, name="Owners", role="owner")
        work.session.add(group)
    for provisioning in (
        {"role": "owner"},
        {"group_map": [{"claim": "x", "role": "owner"}]},
        {"group_map": [{"claim": "x", "role": "ai-configurator"}]},
        {"group_map": [{"claim": "x", "group_id": str(group.id)}]},
    ):
        answer = await administrator.patch(f"/login-methods/{made.id}", json={"provisioning": provisioning})
        assert (answer.status_code, answer.json()["code"]) == (403, "more-than-you-have"), provisioning
    allowed = await administrator.patch(f"/login-methods/{made.id}", json={"provisioning": {"create": True}})
    assert allowed.status_code == 200, allowed.text


async def test_a_provider_that_an_administrator_chose_does_not_vouch_for_an_owner(
    administrator, owner, method, world, browser, system
):
    made = await method()
    world.add(made.issuer, "olga", email="olga@owners.example")
    async with system(owner.tenant_id) as work:
        work.session.add(
            ExternalAccount(
                tenant_id=owner.tenant_id,
                user_id=owner.user.id,
                login_method_id=made.id,
                issuer=made.issuer,
                subject="subject-of-olga",
                last_used_at=owner.user.created_at,
            )
        )
    assert (await browser.signs_in(made.id, "olga")).status_code == 303
    turned = await administrator.patch(f"/login-methods/{made.id}", json={"config": {"scopes": ["mine"]}})
    assert turned.status_code == 200
    refused = await browser.signs_in(made.id, "olga")
    assert (refused.status_code, refused.json()["code"]) == (403, "account-not-allowed")
    second = await method(by=administrator, issuer=made.issuer)
    assert (await browser.signs_in(second.id, "olga")).json()["code"] == "account-not-allowed"
    await owner.patch(f"/login-methods/{made.id}", json={"config": {"scopes": ["ours"]}})
    assert (await browser.signs_in(made.id, "olga")).status_code == 303


async def test_the_last_way_in_of_the_owners_is_not_shut(owner, method, world, browser, system):
    made = await method()
    world.add(made.issuer, "olga")
    assert (await owner.patch(f"/login-methods/{made.id}", json={"enabled": False})).status_code == 200
    assert (await owner.patch(f"/login-methods/{made.id}", json={"enabled": True})).status_code == 200
    linked = await browser.post(f"/me/accounts/{made.id}/start", json={}, headers=dict(owner.headers))
    assert (await browser.goes_to(linked, "olga")).status_code == 303
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(User).where(User.id == owner.user.id).values(password_hash=None))
    for answer in (
        await owner.patch(f"/login-methods/{made.id}", json={"enabled": False}),
        await owner.delete(f"/login-methods/{made.id}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last-way-in")
    other = await method()
    world.add(other.issuer, "olga")
    assert (await owner.delete(f"/login-methods/{made.id}")).json()["code"] == "last-way-in"
    linked = await browser.post(f"/me/accounts/{other.id}/start", json={}, headers=dict(owner.headers))
    assert (await browser.goes_to(linked, "olga")).status_code == 303
    assert (await owner.delete(f"/login-methods/{made.id}")).status_code == 204
    async with system(owner.tenant_id) as work:
        assert (await work.session.scalars(select(LoginMethod.id))).all() == [UUID(other.id)]


async def test_deleting_a_method_ends_what_came_of_it_and_nothing_else(
    owner, method, world, browser, system, events, tenancy
):
    async with system(owner.tenant_id) as work:
        group = Group(tenant_id=owner.tenant_id, name="Office")
        work.session.add(group)
    made = await method(create=True, group_map=[{"claim": "office", "group_id": str(group.id)}])
    world.add(made.issuer, "ada", email=f"{uuid4().hex}@x.example", groups=("office",))
    assert (await browser.signs_in(made.id, "ada")).status_code == 303
    token = await browser.token()
    assert (await owner.delete(f"/login-methods/{made.id}")).status_code == 204
    gone = await browser.get("/me", headers={"Authorization": f"Bearer {token}"})
    assert gone.json()["code"] == "session-ended"
    assert (await browser.post("/auth/refresh")).status_code == 401
    assert (await owner.get("/me")).status_code == 200
    (told,) = await events(owner.tenant_id, "login_method.deleted")
    assert told["data"] | {"name": ""} == {"kind": "fake-id", "name": "", "accounts": 1, "sessions": 1}
    ended = await events(owner.tenant_id, "session.ended")
    assert [event["data"]["reason"] for event in ended] == ["login-method-deleted"]
    assert len(await events(owner.tenant_id, "group.member_removed")) == 1
    assert (await browser.get(f"/auth/methods/{made.id}/start")).status_code == 404


async def check(owner, **config):
    kind = config.pop("kind", "fake-id")
    return await owner.post(
        "/login-methods/check", json={"kind": kind, "config": {"issuer": "https://a.example"} | config}
    )


async def test_a_check_tries_it_and_stores_nothing(owner, world, app, count):
    answer = await check(owner, client_secret=CLIENT_SECRET)
    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    assert "https://id.example/authorize" in answer.json()["message"]
    assert [what for what, _ in world.seen] == ["connect", "begin"]
    assert world.seen[1][1] == (f"{app.settings.url()}/api/v1/auth/callback",)
    await world.until(lambda: world.closed == world.connected)
    assert await count("login_methods", f"tenant_id = '{owner.tenant_id}'") == 0
    directory = await check(owner, kind="fake-directory")
    assert directory.json()["ok"] is True


async def anybody(*_):
    return ExternalIdentity("https://a.example", "guest")


async def nonsense(*_):
    return RedirectStart("javascript:alert(1)", "s" * 30, {})


@pytest.mark.parametrize(
    ("kind", "fault", "code", "words"),
    [
        (
            "fake-id",
            ("connect", BackendUnavailable("id.example has no address")),
            "auth-backend-unavailable",
            "no address",
        ),
        ("fake-id", ("begin", AuthError("the client id is unknown")), "auth-error", "client id is unknown"),
        ("fake-id", ("begin", ValueError(f"boom {CLIENT_SECRET}")), "auth-backend-unavailable", "log of the server"),
        ("fake-id", ("begin", nonsense), "auth-backend-unavailable", "no web address"),
        (
            "fake-directory",
            ("authenticate", BackendUnavailable("wrong bind password")),
            "auth-backend-unavailable",
            "bind",
        ),
        ("fake-directory", ("authenticate", anybody), "config-invalid", "let in anybody"),
    ],
)
async def test_a_check_says_in_words_what_is_wrong(owner, world, kind, fault, code, words):
    world.faults[fault[0]] = fault[1]
    answer = await check(owner, kind=kind, client_secret=CLIENT_SECRET)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["ok"], told["code"]) == (False, code)
    assert words in told["message"]
    assert CLIENT_SECRET not in answer.text


async def test_a_check_of_a_wrong_configuration_names_the_field(owner, world):
    told = (await check(owner, issuer=7)).json()
    assert (told["ok"], told["code"]) == (False, "config-invalid")
    assert "issuer" in told["message"]
    assert world.seen == []
    unknown = await check(owner, kind="no-such-kind")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "validation-failed")


async def test_a_stored_method_is_tried_as_it_is(owner, method, world):
    made = await method()
    assert (await owner.post(f"/login-methods/{made.id}/check")).json()["ok"] is True
    world.faults["begin"] = BackendUnavailable("id.example does not answer")
    told = (await owner.post(f"/login-methods/{made.id}/check")).json()
    assert (told["ok"], told["code"]) == (False, "auth-backend-unavailable")


async def test_a_method_whose_plugin_is_gone_is_shown_and_offered_to_nobody(owner, method, app, browser):
    made = await method()
    from folkmoot.plugins.manager import PluginManager

    kept = app.part(PluginManager).auth_backends.pop("fake-id")
    try:
        shown = (await owner.get(f"/login-methods/{made.id}")).json()
        assert (shown["installed"], shown["config"]) == (False, {})
        offered = await browser.get("/auth/methods", params={"tenant": owner.tenant_name})
        assert offered.json()["items"] == []
        start = await browser.get(f"/auth/methods/{made.id}/start")
        assert (start.status_code, start.json()["code"]) == (503, "provider-unavailable")
    finally:
        app.part(PluginManager).auth_backends["fake-id"] = kept


async def test_every_change_is_an_event_that_says_what_without_the_secret(owner, method, events):
    made = await method()
    await owner.patch(f"/login-methods/{made.id}", json={"config": {"client_secret": "newer"}, "name": "Newer"})
    await owner.patch(f"/login-methods/{made.id}", json={"name": "Newer"})
    (told,) = await events(owner.tenant_id, "login_method.updated")
    assert told["data"] == {"changed": {"name": "Newer", "config": ["client_secret"]}}
    assert PASSWORD not in str(told)
