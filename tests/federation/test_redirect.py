"""A browser goes to its provider and comes back: once, to where it began, and to nowhere else."""

import asyncio
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from folkmoot_sdk import AccountNotAllowed, AuthError, LoginExpired
from sqlalchemy import update

from folkmoot.federation.backends import Backends
from folkmoot.tenants.models import PLATFORM, Tenant
from tests.federation.fakes import down


def email():
    return f"{uuid4().hex[:12]}@municipality.example"


async def test_somebody_new_signs_in_and_comes_back_to_where_they_were(browser, owner, method, world, app, events):
    made = await method(create=True)
    address = email()
    world.add(made.issuer, "ada", email=address, email_verified=True, name="Ada Byron", session="sid-1")
    start = await browser.get(f"/auth/methods/{made.id}/start", params={"return_to": "/spaces/1?tab=x"})
    assert start.status_code == 302
    assert start.headers["cache-control"] == "no-store"
    sent = parse_qs(urlsplit(start.headers["location"]).query)
    assert sent["redirect_uri"] == [f"{app.settings.url()}/api/v1/auth/callback"]
    cookie = start.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=lax", "max-age=600", "path=/api/v1/auth"):
        assert part in cookie
    back = await browser.goes_to(start, "ada")
    assert (back.status_code, back.headers["location"]) == (303, "/spaces/1?tab=x")
    assert back.headers["cache-control"] == "no-store"
    told = await browser.me()
    assert told["user"] | {"id": ""} == {
        "id": "", "email": address, "name": "Ada Byron", "role": "user", "state": "active"
    }  # fmt: skip
    assert told["tenant"]["id"] == str(owner.tenant_id)
    (started,) = [
        event for event in await events(owner.tenant_id, "session.started") if event["data"]["method"] != "password"
    ]
    assert started["data"]["method"] == "fake-id"
    assert str(started["user_id"]) == told["user"]["id"]
    again = await browser.signs_in(made.id, "ada")
    assert (again.status_code, again.headers["location"]) == (303, "/")
    assert (await browser.me())["user"]["id"] == told["user"]["id"]


async def test_the_address_of_the_return_is_never_taken_from_the_request(browser, method, world, app):
    made = await method()
    lies = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    start = await browser.get(f"/auth/methods/{made.id}/start", headers=lies)
    assert "evil" not in start.headers["location"]
    assert world.seen[-1] == ("begin", (f"{app.settings.url()}/api/v1/auth/callback",))


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/%2fevil.example"])
async def test_no_link_leads_away_from_here(browser, method, world, wanted):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    back = await browser.signs_in(made.id, "ada", return_to=wanted)
    assert (back.status_code, back.headers["location"]) == (303, "/")


async def test_a_return_is_good_once(browser, owner, method, world, events):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    start = await browser.get(f"/auth/methods/{made.id}/start")
    assert (await browser.goes_to(start, "ada")).status_code == 303
    again = await browser.goes_to(start, "ada")
    assert (again.status_code, again.json()["code"]) == (401, "login-expired")
    assert "set-cookie" not in again.headers


async def test_of_two_returns_at_the_same_moment_one_counts(browser, method, world):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    start = await browser.get(f"/auth/methods/{made.id}/start")
    answers = await asyncio.gather(*(browser.goes_to(start, "ada") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [303, 401, 401, 401]


async def test_another_browser_does_not_end_what_this_one_started(browser, browsers, owner, method, world, events):
    made = await method(create=True)
    world.add(made.issuer, "mallory", email=email())
    start = await browser.get(f"/auth/methods/{made.id}/start")
    victim = browsers()
    without = await victim.goes_to(start, "mallory")
    assert (without.status_code, without.json()["code"]) == (403, "login-state-mismatch")
    start = await browser.get(f"/auth/methods/{made.id}/start")
    await victim.get(f"/auth/methods/{made.id}/start")
    with_their_own = await victim.goes_to(start, "mallory")
    assert with_their_own.json()["code"] == "login-state-mismatch"
    assert "complete" not in [what for what, _ in world.seen]
    reasons = [event["data"]["reason"] for event in await events(owner.tenant_id, "session.failed")]
    assert reasons == ["login-state-mismatch"] * 2


async def test_two_tabs_of_one_browser_both_come_back(browser, method, world):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    one = await browser.get(f"/auth/methods/{made.id}/start")
    two = await browser.get(f"/auth/methods/{made.id}/start")
    assert [(await browser.goes_to(tab, "ada")).status_code for tab in (one, two)] == [303, 303]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?state=",
        "?state=unknown&code=x",
        "?code=x",
        "?state=%00",
        "?state=" + "x" * 900,
        "?error=access_denied",
        "?state=é",
    ],
)
async def test_a_return_that_nobody_started_is_refused_and_noted(browser, query, events):
    before = len(await events(PLATFORM, "session.failed"))
    answer = await browser.get(f"/auth/callback{query}")
    assert (answer.status_code, answer.json()["code"]) == (401, "login-expired")
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (await events(PLATFORM, "session.failed"))[before:][-1]["data"]["reason"] == "login-expired"


async def test_a_parameter_that_comes_twice_is_no_answer(browser, method, world):
    made = await method(create=True)
    start = await browser.get(f"/auth/methods/{made.id}/start")
    state = parse_qs(urlsplit(start.headers["location"]).query)["state"][0]
    answer = await browser.get(f"/auth/callback?state={state}&code=a&code=b")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")


async def test_what_is_kept_is_sealed_and_ends_by_itself(browser, method, app, world):
    before = set(await app.redis.keys("folkmoot:sign-in:*"))
    made = await method()
    start = await browser.get(f"/auth/methods/{made.id}/start", params={"invitation": "fml_secret-token"})
    state = parse_qs(urlsplit(start.headers["location"]).query)["state"][0]
    (name,) = set(await app.redis.keys("folkmoot:sign-in:*")) - before
    assert state.encode() not in name
    assert 0 < await app.redis.ttl(name) <= 600
    kept = await app.redis.get(name)
    for secret in (b"fml_secret-token", made.issuer.encode(), state.encode()):
        assert secret not in kept
    await app.redis.set(name, kept[:-1] + bytes([kept[-1] ^ 1]))
    answer = await browser.get("/auth/callback", params={"state": state, "code": "x"})
    assert answer.json()["code"] == "login-expired"


@pytest.mark.parametrize(
    ("where", "fault", "status", "code"),
    [
        ("begin", down, 503, "provider-unavailable"),
        ("begin", AuthError("the client id is unknown"), 401, "login-failed"),
        ("complete", down, 503, "provider-unavailable"),
        ("complete", LoginExpired("too long ago"), 401, "login-expired"),
        ("complete", AccountNotAllowed("not on weekends"), 403, "account-not-allowed"),
        ("complete", AuthError("the ID token is not for us"), 401, "login-failed"),
    ],
)
async def test_what_the_provider_refuses_has_a_code_and_an_event(
    browser, owner, method, world, events, count, where, fault, status, code
):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    world.faults[where] = fault
    start = await browser.get(f"/auth/methods/{made.id}/start")
    answer = start if where == "begin" else await browser.goes_to(start, "ada")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "10.9.8.7" not in answer.text
    (event,) = await events(owner.tenant_id, "session.failed")
    assert event["data"] == {"method": "fake-id", "reason": code}
    assert str(event["object_id"]) == made.id
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_person_who_says_no_at_the_provider_is_told_so(browser, method, world):
    made = await method(create=True)
    world.add(made.issuer, "ada")
    start = await browser.get(f"/auth/methods/{made.id}/start")
    answer = await browser.goes_to(start, "ada", error="access_denied", error_description="<script>")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-credentials")
    assert "<script>" not in answer.text


async def test_a_method_that_was_switched_off_meanwhile_lets_nobody_in(browser, owner, method, world, count):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    start = await browser.get(f"/auth/methods/{made.id}/start")
    await owner.patch(f"/login-methods/{made.id}", json={"enabled": False})
    assert (await browser.goes_to(start, "ada")).status_code == 404
    assert (await browser.get(f"/auth/methods/{made.id}/start")).json()["code"] == "not-found"

    async def switched(*_arguments):
        await owner.patch(f"/login-methods/{made.id}", json={"enabled": False})
        return world.people[made.issuer]["ada"][1]

    await owner.patch(f"/login-methods/{made.id}", json={"enabled": True})
    start = await browser.get(f"/auth/methods/{made.id}/start")
    world.faults["complete"] = switched
    assert (await browser.goes_to(start, "ada")).json()["code"] == "login-expired"
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_suspended_organisation_lets_nobody_start_or_end(browser, owner, method, world, app, system, events):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    start = await browser.get(f"/auth/methods/{made.id}/start")
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(Tenant).where(Tenant.id == owner.tenant_id).values(state="suspended"))
    for answer in (await browser.goes_to(start, "ada"), await browser.get(f"/auth/methods/{made.id}/start")):
        assert (answer.status_code, answer.json()["code"]) == (403, "tenant-suspended")
    assert [event["data"]["reason"] for event in await events(owner.tenant_id, "session.failed")] == [
        "tenant-suspended"
    ] * 2


async def test_behind_tls_the_cookie_cannot_be_planted_by_another_host(api, app, browsers, method, world, monkeypatch):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())
    object.__setattr__(app.settings, "public_url", "https://folkmoot.example/")
    try:
        browser = browsers()
        browser.base_url = "https://folkmoot.example/api/v1"
        start = await browser.get(f"/auth/methods/{made.id}/start")
        cookie = start.headers["set-cookie"]
        assert cookie.startswith("__Host-folkmoot_sign_in=")
        for part in ("Secure", "HttpOnly", "Path=/;"):
            assert part in cookie + ";"
        assert "domain" not in cookie.lower()
        assert "https://folkmoot.example/api/v1/auth/callback" in start.headers["location"]
        assert (await browser.goes_to(start, "ada")).status_code == 303
    finally:
        object.__setattr__(app.settings, "public_url", "")


async def test_no_connection_to_the_database_is_held_while_a_provider_talks(browser, method, world, app):
    made = await method(create=True)
    world.add(made.issuer, "ada", email=email())

    async def talking(*_arguments):
        # Others of this process hold one for a moment: it comes back, which one of this sign-in would not.
        await world.until(lambda: app.sessions.engine.pool.checkedout() == 0)
        return world.people[made.issuer]["ada"][1]

    world.faults["complete"] = talking
    start = await browser.get(f"/auth/methods/{made.id}/start")
    assert (await browser.goes_to(start, "ada")).status_code == 303


async def ways(browser, **params):
    answer = await browser.get("/auth/methods", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_page_of_an_organisation_shows_its_ways_in(browser, owner, method):
    one = await method(name="Ours")
    two = await method(kind="fake-directory", name="Theirs")
    await method(enabled=False)
    expected = [
        {"id": one.id, "name": "Ours", "kind": "fake-id", "type": "redirect"},
        {"id": two.id, "name": "Theirs", "kind": "fake-directory", "type": "credentials"},
    ]
    for tenant in (owner.tenant_name, owner.tenant_name.upper(), f" {owner.tenant_name} ", str(owner.tenant_id)):
        assert await ways(browser, tenant=tenant) == {"items": expected, "passwords": True}


async def test_passwords_that_are_off_are_not_offered(browser, owner, method, system):
    await method()
    async with system(owner.tenant_id) as work:
        await work.session.execute(
            update(Tenant).where(Tenant.id == owner.tenant_id).values(settings={"password_login": False})
        )
    assert (await ways(browser, tenant=owner.tenant_name))["passwords"] is False


async def test_an_organisation_that_is_not_there_looks_like_one_without_login_methods(browser, owner):
    known = await ways(browser, tenant=owner.tenant_name)
    assert known == {"items": [], "passwords": True}
    for tenant in ("nowhere", "", "%", "*", "' OR 1=1 --", "a\x00b", str(uuid4()), str(PLATFORM), "(the platform)"):
        assert await ways(browser, tenant=tenant) == known


async def test_without_a_name_only_the_only_organisation_answers(browser, owner, method, app, monkeypatch):
    await method(name="Ours")
    # There are many in the tests.
    assert await ways(browser) == {"items": [], "passwords": True}
    from folkmoot.federation import enter

    class Only:
        id = owner.tenant_id
        settings: dict = {}

    async def alone(self, tenant):
        return Only if tenant is None else None

    monkeypatch.setattr(enter.ExternalSignIn, "_tenant", alone)
    assert [item["name"] for item in (await ways(browser))["items"]] == ["Ours"]


async def test_a_method_that_is_not_there_is_not_found(browser, method):
    for method_id in (uuid4(), PLATFORM):
        answer = await browser.get(f"/auth/methods/{method_id}/start")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert (await browser.get("/auth/methods/x/start")).status_code == 404


async def test_the_types_that_are_known_cost_no_connection(browser, owner, method, world, app):
    await method()
    await ways(browser, tenant=owner.tenant_name)
    await ways(browser, tenant=owner.tenant_name)
    assert world.connected == 1
    assert app.part(Backends)._types["fake-id"] == "redirect"
