"""Browsers: signed in by cookies alone, and by nobody else's leave."""

from dataclasses import replace

import pytest
from litestar.testing import RequestFactory

from folkmoot.identity import cookies
from folkmoot.kit.access import Principal
from folkmoot.kit.errors import Forbidden
from folkmoot.main import create_app
from tests.identity.browsing import HOST, at, bearer, events_of, login, noted
from tests.support.people import PASSWORD

ORIGIN = {"Origin": HOST}


@pytest.fixture
async def browser(api):
    async with at(api) as client:
        yield client


def csrf(browser) -> dict[str, str]:
    return {"X-CSRF-Token": browser.cookies["folkmoot_csrf"]}


def jar(answer) -> dict[str, str]:
    """The cookies that an answer sets, by name, as they are written."""
    lines = answer.headers.get_list("set-cookie")
    return {line.partition("=")[0]: line.lower() for line in lines}


async def test_three_cookies_are_set_each_where_it_is_needed(browser, owner):
    told = jar(await login(browser, owner))
    assert told.keys() == {"folkmoot_refresh", "folkmoot_access", "folkmoot_csrf"}
    for name, path in {"folkmoot_refresh": "/api/v1/auth", "folkmoot_access": "/api", "folkmoot_csrf": "/"}.items():
        parts = {part.strip() for part in told[name].split(";")}
        assert f"path={path}" in parts, name
        assert "samesite=strict" in parts, name
        assert ("httponly" in parts) == (name != "folkmoot_csrf"), name
        assert "secure" not in parts, name
        assert not any(part.startswith("domain") for part in parts), name
    assert "max-age=600" in told["folkmoot_access"]


async def test_by_tls_no_cookie_is_ever_sent_without(api, owner):
    async with at(api, base="https://folkmoot.test") as browser:
        for line in jar(await login(browser, owner)).values():
            assert "secure" in {part.strip() for part in line.split(";")}


async def test_where_people_come_by_tls_cookies_are_secure_whatever_the_proxy_says(app, changed, owner):
    behind = create_app(replace(app.settings, public_url="https://folkmoot.example"))
    behind.state.app = changed(public_url="https://folkmoot.example")
    async with at(behind) as browser:
        answer = await login(browser, owner)
        cleared = await browser.post("/auth/logout", headers=bearer(answer.json()["access_token"]))
        for line in [*jar(answer).values(), *jar(cleared).values()]:
            assert "secure" in {part.strip() for part in line.split(";")}


@pytest.mark.parametrize("origin", ["http://[", "http://folkmoot.test]", "http://[::1", "//", "http://a:99999999"])
async def test_an_origin_that_is_no_address_is_another_site(browser, owner, origin):
    answer = await browser.post(
        "/auth/login", json={"email": owner.user.email, "password": PASSWORD}, headers={"Origin": origin}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    assert "set-cookie" not in answer.headers


async def test_a_client_that_wants_no_cookie_gets_none(browser, owner):
    assert jar(await login(browser, owner, body=True)) == {}


async def test_a_browser_reads_by_the_cookie_alone(browser, owner):
    await login(browser, owner)
    assert (await browser.get("/me")).json()["user"]["email"] == owner.user.email
    assert (await browser.get("/spaces", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


async def test_a_change_by_the_cookie_needs_the_value_that_only_our_pages_can_read(browser, owner, count):
    await login(browser, owner)
    space = {"name": "Made by a browser"}
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x" * 43}, {"X-CSRF-Token": "é"}, ORIGIN):
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        refused = await browser.post("/spaces", json=space, headers=encoded)
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf-failed"), headers
    assert await count("spaces", f"tenant_id = '{owner.tenant_id}' AND name = 'Made by a browser'") == 0
    assert (await browser.post("/spaces", json=space, headers=csrf(browser))).status_code == 201
    assert (await browser.post("/spaces", json=space, headers=csrf(browser) | ORIGIN)).status_code == 201


async def test_the_value_of_another_session_is_of_no_use(api, browser, owner, tenancy):
    await login(browser, owner)
    async with at(api) as attacker:
        await login(attacker, await tenancy.owner())
        theirs = csrf(attacker)
    refused = await browser.post("/spaces", json={"name": "Theirs"}, headers=theirs)
    assert refused.json()["code"] == "csrf-failed"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://folkmoot.test.evil.example"},
        {"Origin": "http://folkmoot.test:81"},
        {"Origin": "http://evil.example#folkmoot.test"},
        {"Origin": "http://folkmoot.test@evil.example"},
        {"Origin": "nonsense"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": HOST},
    ],
)
async def test_what_another_site_sends_is_refused_even_with_the_value(browser, owner, headers, superuser):
    await login(browser, owner)
    refused = await browser.post("/spaces", json={"name": "Theirs"}, headers=csrf(browser) | headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "cross-site")
    for path in ("/auth/refresh", "/auth/login"):
        body = {"email": owner.user.email, "password": "x"} if path == "/auth/login" else None
        refused = await browser.post(path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross-site"), path
    found = await noted(superuser, "action = 'access.refused' AND actor_id = :u", u=owner.user.id)
    assert found[0][1] == {"operation": "create_space", "code": "cross-site"}


async def test_with_a_token_in_the_header_no_cookie_is_looked_at(browser, owner, tenancy):
    token = (await login(browser, owner)).json()["access_token"]
    made = await browser.post("/spaces", json={"name": "By header"}, headers=bearer(token))
    assert made.status_code == 201
    refused = await browser.get("/me", headers=bearer("a.b.c"))
    assert (refused.status_code, refused.json()["code"]) == (401, "token-invalid")


async def test_a_refresh_by_the_cookie_sets_all_of_them_anew(browser, owner):
    await login(browser, owner)
    before, first = csrf(browser), browser.cookies["folkmoot_access"]
    refreshed = await browser.post("/auth/refresh", headers=ORIGIN)
    assert jar(refreshed).keys() == {"folkmoot_refresh", "folkmoot_access", "folkmoot_csrf"}
    # It is the same session, so what the page has read still fits.
    assert csrf(browser) == before
    assert (await browser.get("/me")).status_code == 200
    assert first


async def test_signing_out_by_the_cookie_clears_them(browser, owner, superuser):
    await login(browser, owner)
    refused = await browser.post("/auth/logout")
    assert refused.json()["code"] == "csrf-failed"
    access = browser.cookies["folkmoot_access"]
    gone = await browser.post("/auth/logout", headers=csrf(browser))
    assert gone.status_code == 204
    assert dict(browser.cookies) == {}
    assert (await browser.get("/me")).json()["code"] == "not-signed-in"
    late = await browser.get("/me", headers={"Cookie": f"folkmoot_access={access}"})
    assert late.json()["code"] == "session-ended"
    assert ("session.ended", {"reason": "signed-out"}) in await events_of(superuser, owner)


async def test_ending_this_very_session_clears_them_too(browser, owner):
    await login(browser, owner)
    items = (await browser.get("/me/sessions")).json()["items"]
    (current,) = [item["id"] for item in items if item["current"]]
    assert (await browser.delete(f"/me/sessions/{current}", headers=csrf(browser))).status_code == 204
    assert dict(browser.cookies) == {}


async def test_the_cookie_holds_no_api_key(browser):
    browser.cookies.set("folkmoot_access", "fmu_" + "a" * 40, path="/api")
    assert (await browser.get("/me")).json()["code"] == "token-invalid"


def socket(app, path="/api/v1/ws", **headers):
    """A connection as the guard sees it."""
    request = RequestFactory().get(path, headers=headers)
    request.scope["type"] = "websocket"
    request.scope["scheme"] = "ws"
    return request


def test_a_socket_by_the_cookie_is_opened_by_our_own_pages_only(app, owner):
    principal = Principal(tenant_id=owner.tenant_id, user_id=owner.user.id, session_id=owner.user.id)
    own = socket(app, Origin="http://folkmoot.test", Host="folkmoot.test")
    cookies.check_csrf(app, own, principal)
    for headers in (
        {"Host": "folkmoot.test"},
        {"Host": "folkmoot.test", "Origin": "https://evil.example"},
        {"Host": "folkmoot.test", "Origin": "null"},
        {"Host": "folkmoot.test", "Origin": "http://folkmoot.test", "Sec-Fetch-Site": "cross-site"},
    ):
        with pytest.raises(Forbidden) as refused:
            cookies.check_csrf(app, socket(app, **headers), principal)
        assert refused.value.code == "cross-site", headers


def test_the_public_address_is_ours_whatever_a_proxy_makes_of_the_host(changed):
    app = changed(public_url="https://folkmoot.example/")
    asked = RequestFactory().post(
        "/api/v1/spaces", headers={"Host": "10.0.0.7:8000", "Origin": "https://folkmoot.example"}
    )
    cookies.check_origin(app, asked)
    for origin in ("http://folkmoot.example", "https://folkmoot.example:444", "https://evil.example"):
        asked = RequestFactory().post("/api/v1/spaces", headers={"Host": "10.0.0.7:8000", "Origin": origin})
        with pytest.raises(Forbidden):
            cookies.check_origin(app, asked)


def test_a_page_without_tls_is_not_ours_where_there_is_tls(app):
    asked = RequestFactory().post("/api/v1/spaces", headers={"Host": "folkmoot.test", "Origin": "http://folkmoot.test"})
    cookies.check_origin(app, asked)
    asked.scope["scheme"] = "https"
    with pytest.raises(Forbidden):
        cookies.check_origin(app, asked)
