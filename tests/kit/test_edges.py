"""What stands around every request: addresses, headers, other origins, slow bodies."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from folkmoot.kit.edges import client_address, edges, same_origin
from folkmoot.kit.errors import RequestTimeout
from folkmoot.main import create_app
from folkmoot.settings import Settings, SettingsError

PROXIES = Settings(trusted_proxies=("10.0.0.0/8", "fd00::/8")).proxies()


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::5]:4711, 10.0.0.7:443", "2001:db8::5"),
        ("10.0.0.1", "[203.0.113.9, :443, []", "10.0.0.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_only_a_proxy_of_ours_says_who_is_asking(peer, forwarded, found):
    assert client_address(peer, forwarded, PROXIES) == found


def test_without_proxies_nobody_is_believed():
    assert client_address("127.0.0.1", "203.0.113.9", ()) == "127.0.0.1"


def test_a_proxy_that_is_not_a_network_is_refused_at_start():
    with pytest.raises(SettingsError, match="FOLKMOOT_TRUSTED_PROXIES"):
        Settings(trusted_proxies=("proxy.example",)).proxies()


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "same"),
    [
        ("https://a.example", b"a.example", "https", True),
        ("http://a.example", b"a.example", "https", False),
        ("https://a.example:8443", b"a.example", "https", False),
        ("https://a.example", b"a.example", "wss", True),
        ("null", b"a.example", "https", False),
        ("https://[", b"[", "https", False),
    ],
)
def test_an_origin_is_ours_only_if_scheme_and_host_are(origin, host, scheme, same):
    assert same_origin(origin, {b"host": host}, {"scheme": scheme}) is same


async def test_every_answer_has_the_security_headers(owner, stranger):
    for response in (await owner.get("/me"), await stranger.get("/nowhere"), await stranger.get("/api/v1/me")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in response.headers
        assert "access-control-allow-origin" not in response.headers


async def test_the_browsable_docs_run_no_inline_script(stranger):
    page = await stranger.get("/api/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert all(part.startswith(' src="') for part in page.text.split("<script")[1:])
    assert (await stranger.get("/api/docs/start.js")).headers["content-type"].startswith("text/javascript")


async def calls(api, headers=None, method="GET", url="/api/v1/me", **more):
    transport = httpx.ASGITransport(api, raise_app_exceptions=False, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://folkmoot.test") as client:
        return await client.request(method, url, headers=headers, **more)


async def test_no_origin_is_ever_mirrored(api, owner):
    for origin in ("https://evil.example", "null", "http://folkmoot.test.evil.example"):
        preflight = await calls(
            api, {"Origin": origin, "Access-Control-Request-Method": "GET"}, method="OPTIONS", url="/api/v1/spaces"
        )
        assert "access-control-allow-origin" not in preflight.headers
        answer = await owner.get("/me", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


async def test_an_origin_that_the_organisation_allows_may_call_without_cookies(api, tenancy, unique, superuser):
    from sqlalchemy import text

    owner, other = await tenancy.owner(), await tenancy.owner()
    origin = f"https://{unique}.example"
    async with superuser.begin() as connection:
        await connection.execute(
            text("INSERT INTO allowed_origins (id, tenant_id, origin) VALUES (gen_random_uuid(), :t, :o)"),
            {"t": owner.tenant_id, "o": origin},
        )
        await connection.execute(
            text("UPDATE tenants SET settings = CAST(:s AS jsonb) WHERE id = :t"),
            {"t": owner.tenant_id, "s": json.dumps({"allowed_origins": [origin]})},
        )
    preflight = await calls(
        api, {"Origin": origin, "Access-Control-Request-Method": "POST"}, method="OPTIONS", url="/api/v1/spaces"
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    own = await owner.get("/me", headers={"Origin": origin})
    assert own.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in own.headers
    assert "access-control-allow-origin" not in (await other.get("/me", headers={"Origin": origin})).headers


async def test_behind_a_proxy_the_address_and_the_scheme_are_those_of_the_client(app, count, tenancy, unique):
    settings = replace(app.settings, trusted_proxies=("127.0.0.1/32",))
    litestar = create_app(settings)
    litestar.state.app = app
    person = await tenancy.owner()
    from tests.support.people import PASSWORD

    response = await calls(
        litestar,
        {"X-Forwarded-For": "198.51.100.1, 203.0.113.77", "X-Forwarded-Proto": "https", "X-Request-ID": unique},
        method="POST",
        url="/api/v1/auth/login",
        json={"email": person.user.email, "password": PASSWORD},
    )
    assert response.status_code == 200
    assert response.headers["strict-transport-security"].startswith("max-age=")
    assert "secure" in response.headers["set-cookie"].lower()
    assert await count("events", f"request_id = '{unique}' AND ip = '203.0.113.77'") == 1


async def test_a_forged_address_is_not_believed(api, count, tenancy, unique):
    from tests.support.people import PASSWORD

    person = await tenancy.owner()
    response = await calls(
        api,
        {"X-Forwarded-For": "203.0.113.77", "X-Request-ID": unique, "Forwarded": "for=203.0.113.77"},
        method="POST",
        url="/api/v1/auth/login",
        json={"email": person.user.email, "password": PASSWORD},
    )
    assert "strict-transport-security" not in response.headers
    assert await count("events", f"request_id = '{unique}' AND ip = '127.0.0.1'") == 1


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_body_that_drips_is_given_up(method):
    """A byte just before each silence ends would hold a connection for as long as somebody likes."""
    came = []

    async def service(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def receive():
        await asyncio.sleep(0.05)
        came.append(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    wrapped = edges(service, replace(Settings(), body_seconds=1), lambda: None)
    scope = {"type": "http", "method": method, "headers": [(b"content-length", b"1000")], "scheme": "http"}
    async with asyncio.timeout(20):
        with pytest.raises(RequestTimeout):
            await wrapped(scope, receive, None)
    assert 1 <= len(came) < 40


async def test_a_body_that_is_taken_slowly_is_not_the_senders_fault():
    taken = []

    async def service(scope, receive, send):
        for _ in range(4):
            taken.append((await receive())["body"])
            await asyncio.sleep(0.4)

    async def receive():
        return {"type": "http.request", "body": b"x", "more_body": True}

    wrapped = edges(service, replace(Settings(), body_seconds=1), lambda: None)
    await wrapped({"type": "http", "method": "POST", "headers": [(b"content-length", b"4")]}, receive, None)
    assert len(taken) == 4


async def test_a_body_that_stands_still_is_given_up():
    waited = []

    async def service(scope, receive, send):
        try:
            while (await receive()).get("more_body"):
                pass
        except RequestTimeout as error:
            waited.append(error)

    async def receive():
        await asyncio.Event().wait()

    wrapped = edges(service, replace(Settings(), body_seconds=0), lambda: None)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"10")], "scheme": "http"}
    async with asyncio.timeout(10):
        await wrapped(scope, receive, None)
    assert waited[0].status == 408
