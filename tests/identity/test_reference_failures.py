"""Where the reference product failed in proving who somebody is (its inventory, 9.1): a test for each.

The number is in the name. What concerns people and their rights stands in the tests of `people`.
"""

import asyncio
import json
import threading
import time
from dataclasses import fields, replace
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import bcrypt
import jwt
import pytest

from folkmoot.assemble import assemble
from folkmoot.identity.links import Links
from folkmoot.identity.models import User
from folkmoot.identity.service import UserService
from folkmoot.identity.sign_in import SignIn
from folkmoot.kit.access import Principal
from folkmoot.kit.recorder import Recorder
from folkmoot.main import create_app
from tests.identity.browsing import address, at, bearer, events, login, me, noted
from tests.support.people import PASSWORD

NEW = "four other plain words"
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture
async def browser(api):
    async with at(api) as client:
        yield client


@pytest.fixture
async def second(app):
    """Another process on the same engines."""
    async with assemble(app.settings) as other:
        litestar = create_app(other.settings)
        litestar.state.app = other
        yield litestar


async def test_9_1_3_a_token_speaks_for_one_account_whatever_its_name_or_address_looks_like(browser, tenancy, app):
    """One name in two organisations, one e-mail in both, and somebody invited who has no name at all."""
    shared = f"anna.{uuid4().hex[:8]}"
    people = []
    for domain in ("a.example", "b.example"):
        tenant_id, name = await tenancy.tenant()
        people.append(await tenancy.person(tenant_id, name, email=f"{shared}@{domain}"))
        async with app.begin(Principal.system(tenant_id)) as work:
            await UserService(work).create(f"{uuid4().hex}@{domain}", None, state="invited")
    one, other = people
    twin = await tenancy.person(other.tenant_id, other.tenant_name, email=one.user.email)
    for person in (one, other, twin):
        signed = await login(browser, person, tenant=person.tenant_name, body=True)
        told = (await me(browser, signed.json()["access_token"])).json()
        assert told["user"]["id"] == str(person.user.id)
        assert told["tenant"]["id"] == str(person.tenant_id)


async def test_9_1_3_a_token_lasts_ten_minutes_and_not_weeks(browser, owner):
    body = (await login(browser, owner)).json()
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == body["expires_in"] == 600
    assert abs(claims["iat"] - time.time()) < 60
    assert {"email", "name", "username"}.isdisjoint(claims)


async def test_9_1_3_a_session_is_renewed_and_ended_and_every_process_knows_at_once(browser, owner, second):
    first = (await login(browser, owner, body=True)).json()
    renewed = (await browser.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})).json()
    async with at(second) as there:
        assert (await me(there, renewed["access_token"])).status_code == 200
        copied = await there.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
        assert (copied.status_code, copied.json()["code"]) == (401, "token-reused")
        for client in (browser, there):
            assert (await me(client, renewed["access_token"])).json()["code"] == "session-ended"
        again = (await login(browser, owner, body=True)).json()
        assert (await me(there, again["access_token"])).status_code == 200
        assert (await browser.post("/auth/logout", headers=bearer(again["access_token"]))).status_code == 204
        assert (await me(there, again["access_token"])).json()["code"] == "session-ended"


async def test_9_1_6_no_page_elsewhere_calls_with_the_cookies_of_a_browser(browser, owner):
    allowed = "https://pages.example"
    changed = await owner.patch("/organisation", json={"settings": {"allowed_origins": [allowed]}})
    assert changed.status_code == 200, changed.text
    await login(browser, owner)
    for origin in ("https://evil.example", "null", allowed, f"{allowed}.evil.example", "https://evil.example#"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for answer in (
            await browser.get("/me", headers={"Origin": origin}),
            await browser.post("/spaces", json={"name": "x"}, headers={"Origin": origin}),
            await browser.post("/auth/refresh", headers={"Origin": origin}),
            await browser.options("/spaces", headers=asked),
        ):
            assert "access-control-allow-credentials" not in answer.headers, origin
            if origin != allowed:
                assert "access-control-allow-origin" not in answer.headers, origin
    granted = await owner.get("/me", headers={"Origin": allowed})
    assert granted.headers["access-control-allow-origin"] == allowed


async def test_9_1_9_no_script_reads_a_token_and_no_name_becomes_one(browser, owner):
    answer = await login(browser, owner)
    readable = [line for line in answer.headers.get_list("set-cookie") if "httponly" not in line.lower()]
    assert [line.partition("=")[0] for line in readable] == ["folkmoot_csrf"]
    assert answer.json()["refresh_token"] is None
    name = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    made = await owner.post("/spaces", json={"name": name})
    for told in (made, await owner.get("/spaces"), await owner.get(f"/spaces/{name}")):
        assert told.headers["content-type"].partition(";")[0] in ("application/json", "application/problem+json")
        assert told.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in told.headers["content-security-policy"]
    page = await browser.get(f"{browser.base_url.scheme}://{browser.base_url.host}/api/docs")
    policy = page.headers["content-security-policy"]
    scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert "unsafe" not in scripts


async def test_9_1_10_guesses_are_held_up_counted_and_in_the_log(browser, owner, superuser):
    codes = [(await login(browser, owner, "guess")).json()["code"] for _ in range(16)]
    assert codes[0] == "invalid-credentials"
    assert "too-many-attempts" in codes
    assert codes[-1] == "account-locked"
    async with at(browser._transport.app, ip=address()) as elsewhere:
        assert (await login(elsewhere, owner)).json()["code"] == "account-locked"
    locked = "user_id = :user AND action = 'account.locked'"
    assert await noted(superuser, locked, user=owner.user.id)


async def test_9_1_10_while_a_password_is_checked_everybody_else_is_served(app, owner, monkeypatch):
    """With one connection to the database: whoever held it while bcrypt works would hold up all others."""
    begun, go_on, check = threading.Event(), threading.Event(), bcrypt.checkpw

    def slowly(password, stored):
        begun.set()
        assert go_on.wait(30)
        return check(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", slowly)
    async with assemble(replace(app.settings, database_pool=1)) as narrow:
        litestar = create_app(narrow.settings)
        litestar.state.app = narrow
        async with at(litestar) as client:
            signing_in = asyncio.create_task(login(client, owner))
            try:
                assert await asyncio.to_thread(begun.wait, 10)
                async with asyncio.timeout(10):
                    assert (await client.get("/spaces", headers=dict(owner.headers))).status_code == 200
                assert not signing_in.done()
            finally:
                go_on.set()
            assert (await signing_in).status_code == 200


async def test_9_1_10_a_forgotten_password_is_set_anew_by_a_link(browser, owner, app):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        links = Links(app)
        link = await links.make(work, await work.session.get_one(User, owner.user.id), "reset")
    token = links.url(link).partition("#")[2]
    accepted = await browser.post("/auth/link/accept", json={"token": token, "password": NEW})
    assert accepted.status_code == 200, accepted.text
    assert (await login(browser, owner)).json()["code"] == "invalid-credentials"
    assert (await login(browser, owner, NEW)).status_code == 200
    again = await browser.post("/auth/link/accept", json={"token": token, "password": PASSWORD + "!"})
    assert (again.status_code, again.json()["code"]) == (409, "link-used")


async def test_9_1_10_no_setting_is_a_key_to_the_installation(browser, app):
    values = [getattr(app.settings, item.name) for item in fields(app.settings)]
    secrets = {text for value in values for text in (value if isinstance(value, tuple) else (value,))}
    for text in sorted(text for text in secrets if isinstance(text, str) and text.isascii() and len(text) > 7):
        answer = await browser.get("/platform/tenants", headers=bearer(text) | {"X-API-Key": text})
        assert answer.status_code == 401, answer.text


@pytest.fixture
async def provider(app):
    """Says where its endpoints are, and counts how often it is asked."""
    asked = []

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1].decode())
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        told = {"issuer": made.issuer} | {name: f"{made.issuer}/{path}" for name, path in names.items()}
        body = json.dumps(told).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    class Made:
        issuer = ""
        requests = asked
        host = "127.0.0.1"

    made = Made()
    servers = []

    async def serve(host="127.0.0.1"):
        server = await asyncio.start_server(answer, host, 0)
        servers.append(server)
        made.issuer = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        return made

    yield serve
    for server in servers:
        server.close()


async def way_in(owner, config) -> str:
    made = await owner.post("/login-methods", json={"kind": "oidc", "name": uuid4().hex, "config": config})
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def test_9_1_11_a_sign_in_elsewhere_is_bound_to_its_browser_its_code_and_its_token(api, owner, provider):
    there = await provider()
    method_id = await way_in(owner, {"issuer": there.issuer, "client_id": "folkmoot"})
    async with at(api) as one, at(api) as other:
        starts = [await client.get(f"/auth/methods/{method_id}/start") for client in (one, other, one)]
        asked = [
            {name: value for name, (value,) in parse_qs(urlsplit(start.headers["location"]).query).items()}
            for start in starts
        ]
        for sent in asked:
            assert sent["code_challenge_method"] == "S256"
            assert min(len(sent[name]) for name in ("state", "nonce", "code_challenge")) >= 43
        for name in ("state", "nonce", "code_challenge"):
            assert len({sent[name] for sent in asked}) == 3, name
        back = await other.get("/auth/callback", params={"state": asked[0]["state"], "code": "stolen"})
        assert (back.status_code, back.json()["code"]) == (403, "login-state-mismatch")
        assert "set-cookie" not in back.headers
    # Asked once for all of them, and for no code of another browser.
    assert there.requests == ["/.well-known/openid-configuration"]


async def test_9_1_11_what_a_provider_signs_with_is_chosen_and_is_never_a_shared_secret(owner):
    (oidc,) = [kind for kind in (await owner.get("/login-methods/kinds")).json()["items"] if kind["kind"] == "oidc"]
    schema = str(oidc["config_schema"])
    assert all(f"'{name}'" in schema for name in ("RS256", "ES256", "EdDSA", "PS256"))
    config = {"issuer": "https://id.example", "client_id": "x"}
    for algorithm in ("none", "HS256", "HS512", "rs256"):
        body = {"kind": "oidc", "name": "x", "config": config | {"algorithms": [algorithm]}}
        refused = await owner.post("/login-methods", json=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed"), algorithm


@pytest.mark.parametrize("kind", ["oidc", "ldap"])
async def test_9_1_12_no_way_in_leads_into_the_network_that_we_stand_in(owner, provider, kind):
    inside = await provider("127.0.0.2")
    places = [urlsplit(inside.issuer).netloc, "169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]", "[fe80::1]"]
    for place in places:
        if kind == "oidc":
            scheme = "http" if place.startswith("127.") else "https"
            config = {"issuer": f"{scheme}://{place}", "client_id": "folkmoot"}
        else:
            config = {"url": f"ldap://{place}", "base_dn": "dc=town,dc=example"}
        checked = (await owner.post("/login-methods/check", json={"kind": kind, "config": config})).json()
        assert (checked["ok"], checked["code"]) == (False, "auth-backend-unavailable"), (place, checked)
        assert "FOLKMOOT_NET_ALLOW" in checked["message"]
    assert inside.requests == []


async def test_9_1_14_each_attempt_is_in_the_log_with_who_where_and_which_request(api, owner, superuser, app, unique):
    ip, agent = address(), f"Browser {unique}"
    async with at(api, ip=ip) as browser:
        browser.headers["User-Agent"] = agent

        def asking(what):
            return {"X-Request-ID": f"{unique}-{what}"}

        wrong = {"email": owner.user.email, "password": "guess"}
        await browser.post("/auth/login", json=wrong, headers=asking("wrong"))
        await browser.post("/auth/login", json=wrong | {"email": f"{unique}@nobody.example"}, headers=asking("unknown"))
        await browser.post("/auth/login", json=wrong | {"password": PASSWORD}, headers=asking("in"))
        await browser.get("/me", headers=bearer("e30.e30.e30") | asking("forged"))
        await browser.post("/auth/refresh", json={"refresh_token": "fmr_x"}, headers=asking("refresh"))
        await browser.post("/auth/link", json={"token": "fml_x"}, headers=asking("link"))
        await browser.post("/spaces", json={"name": "x"}, headers=asking("csrf"))
        token = browser.cookies["folkmoot_access"]
        await browser.post("/auth/logout", headers=bearer(token) | asking("out"))
    await app.part(Recorder).flush()
    found = {}
    for what in ("wrong", "unknown", "in", "forged", "refresh", "link", "csrf", "out"):
        rows = await events(
            superuser,
            "request_id = :id AND ip = :ip AND user_agent = :agent",
            id=f"{unique}-{what}",
            ip=ip,
            agent=agent,
        )
        found[what] = [action for action, _ in rows]
        assert not [data for _, data in rows if PASSWORD in str(data) or token in str(data) or "guess" in str(data)]
    assert found == {
        "wrong": ["session.failed"],
        "unknown": ["session.failed"],
        "in": ["session.started"],
        "forged": ["token.refused"],
        "refresh": ["token.refused"],
        "link": ["link.refused"],
        "csrf": ["access.refused"],
        "out": ["session.ended"],
    }


async def test_9_1_14_what_is_in_the_log_does_not_depend_on_a_queue(app, owner, superuser):
    """The event is a row of the transaction that it tells of: nothing has to arrive anywhere."""

    class Gone:
        async def send(self, *_given, **_named):
            raise ConnectionError("gone")

    async def no_bell(_tenant_id):
        raise ConnectionError("gone")

    lonely = replace(app, sessions=replace(app.sessions, jobs=Gone(), ring=no_bell))
    signed = await SignIn(lonely).login(owner.user.email, PASSWORD)
    rows = await events(superuser, "object_id = :session", session=signed.session_id)
    assert [action for action, _ in rows] == ["session.started"]


async def test_9_1_15_who_asks_how_to_sign_in_learns_nothing_of_who_is_here(browser, owner, app, unique):
    there, nowhere = [
        await browser.get("/auth/methods", params={"tenant": name}) for name in (owner.tenant_name, f"No {unique}")
    ]
    assert (there.status_code, there.json()) == (nowhere.status_code, nowhere.json())
    by_id = await browser.get("/auth/methods", params={"tenant": str(owner.tenant_id)})
    assert by_id.json() == there.json()
    without_a_name = (await browser.get("/auth/methods")).text
    assert owner.tenant_name not in without_a_name
    assert str(owner.tenant_id) not in without_a_name
    unknown = f"{unique}@nobody.example"
    for path, body in (("login", {"password": "guess"}), ("forgot", {})):
        answers = [
            await browser.post(f"/auth/{path}", json={"email": email} | body) for email in (owner.user.email, unknown)
        ]
        told = [{**answer.json(), "request_id": ""} for answer in answers]
        assert told[0] == told[1], path
        assert answers[0].status_code == answers[1].status_code
        assert answers[0].headers.keys() == answers[1].headers.keys()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/.well-known/jwks.json"])
async def test_9_1_15_what_watches_the_service_hears_of_no_organisation_and_nobody(stranger, owner, path):
    answer = await stranger.get(path)
    for name in (str(owner.tenant_id), owner.tenant_name, owner.user.email, str(owner.user.id)):
        assert name not in answer.text


async def test_9_1_11_no_other_site_signs_a_browser_in_whatever_kind_of_body_it_sends(browser, owner):
    body = {"email": owner.user.email, "password": PASSWORD}
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", ""):
        answer = await browser.post(
            "/auth/login",
            content=b'{"email": "%s", "password": "%s"}' % (body["email"].encode(), body["password"].encode()),
            headers=ELSEWHERE | {"Content-Type": kind},
        )
        assert answer.status_code in (400, 403, 415), kind
        assert "set-cookie" not in answer.headers
