"""The whole way, through the bundled plugins: a certified OpenID provider, and OpenLDAP's own server."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from folkmoot.people.models import Group
from tests.federation.fakes import Browser
from tests.support import oidc_provider, slapd
from tests.support.slapd import ADMIN, ADMIN_PASSWORD, BASE, PASSWORD, TOP, Slapd, group, person

pytestmark = pytest.mark.slow
USERS = {
    "ada": {"name": "Ada Lind", "email": "ada@town.example", "email_verified": True, "groups": ["staff", "roads"]},
    "bo": {"name": "Bo", "email": "bo@town.example", "email_verified": False},
    "eve": {"name": "Eve", "email": "eve@evil.example", "email_verified": True},
}


@pytest.fixture
async def roads(owner, system):
    async with system(owner.tenant_id) as work:
        made = Group(tenant_id=owner.tenant_id, name=uuid4().hex)
        work.session.add(made)
    return str(made.id)


async def test_a_person_signs_in_at_a_certified_provider_and_out_again(browsers, owner, app, roads, count):
    oidc_provider.require()
    url = app.settings.url()
    back, secret = f"{url}/api/v1/auth/callback", "made-up-client-secret"
    client = oidc_provider.client(
        "folkmoot", secret, redirect_uris=[back], post_logout_redirect_uris=[url], grant_types=["authorization_code"]
    )
    with await asyncio.to_thread(oidc_provider.start, clients=[client], users=USERS) as provider:
        config = {"issuer": provider.issuer, "client_id": "folkmoot", "client_secret": secret}
        checked = await owner.post("/login-methods/check", json={"kind": "oidc", "config": config})
        assert checked.json()["ok"] is True, checked.text
        provisioning = {
            "create": True,
            "allowed_domains": ["town.example"],
            "group_map": [{"claim": "roads", "group_id": roads}, {"claim": "staff", "role": "ai-configurator"}],
        }
        made = await owner.post(
            "/login-methods",
            json={"kind": "oidc", "name": "Town", "config": config, "provisioning": provisioning},
        )
        assert made.status_code == 201, made.text
        method_id = made.json()["id"]
        ours, theirs = browsers(), oidc_provider.Browser()
        async with theirs:
            start = await ours.get(f"/auth/methods/{method_id}/start", params={"return_to": "/spaces"})
            assert start.status_code == 302, start.text
            returned = await theirs.sign_in(start.headers["location"], "ada", stop=back)
            ended = await ours.get(returned)
            assert (ended.status_code, ended.headers["location"]) == (303, "/spaces"), ended.text
            replayed = await ours.get(returned)
            assert (replayed.status_code, replayed.json()["code"]) == (401, "login-expired")
            told = (await ours.me())["user"]
            assert (told["email"], told["name"], told["role"]) == ("ada@town.example", "Ada Lind", "ai-configurator")
            assert await count("group_members", f"group_id = '{roads}' AND login_method_id = '{method_id}'") == 1
            headers = {"Authorization": f"Bearer {await ours.token()}"}
            out = (await ours.post("/auth/provider-logout", headers=headers)).json()["url"]
            assert out.startswith(provider.issuer)
            assert (await theirs.walk(out, {}, stop=url)).rstrip("/") == url
            assert (await ours.get("/me", headers=headers)).status_code == 401
        for name in ("bo", "eve"):
            stranger = browsers()
            async with oidc_provider.Browser() as theirs:
                start = await stranger.get(f"/auth/methods/{method_id}/start")
                answer = await stranger.get(await theirs.sign_in(start.headers["location"], name, stop=back))
                assert (answer.status_code, answer.json()["code"]) == (403, "account-not-allowed"), name
    gone = await browsers().get(f"/auth/methods/{method_id}/start")
    assert gone.status_code in (302, 503)


async def test_the_provider_tells_of_a_sign_out_by_itself(browsers, owner, api, app):
    oidc_provider.require()
    back, secret = f"{app.settings.url()}/api/v1/auth/callback", "made-up-client-secret"
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        heard.put_nowait(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    # The provider reaches us over a real line; what it posts is handed on to the application under test.
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    client = oidc_provider.client(
        "folkmoot",
        secret,
        redirect_uris=[back],
        post_logout_redirect_uris=[app.settings.url()],
        backchannel_logout_uri=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
        backchannel_logout_session_required=True,
    )
    with await asyncio.to_thread(oidc_provider.start, clients=[client], users=USERS) as provider:
        config = {"issuer": provider.issuer, "client_id": "folkmoot", "client_secret": secret}
        made = await owner.post(
            "/login-methods",
            json={"kind": "oidc", "name": "Town", "config": config, "provisioning": {"create": True}},
        )
        method_id = made.json()["id"]
        ours = browsers()
        async with oidc_provider.Browser() as theirs:
            start = await ours.get(f"/auth/methods/{method_id}/start")
            await ours.get(await theirs.sign_in(start.headers["location"], "ada", stop=back))
            token = await ours.token()
            await theirs.walk(f"{provider.issuer}/session/end", {}, stop=f"{provider.issuer}/session/end/success")
        posted = await asyncio.wait_for(heard.get(), 20)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://elsewhere.test") as line:
            told = [
                await line.post(
                    f"/api/v1/auth/methods/{method_id}/backchannel-logout",
                    content=posted,
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )
                for _ in range(2)
            ]
        assert [answer.status_code for answer in told] == [200, 400], told[0].text
        after = await ours.get("/me", headers={"Authorization": f"Bearer {token}"})
        assert after.json()["code"] == "session-ended"
    server.close()
    await server.wait_closed()


@pytest.mark.skipif(slapd.missing() is not None, reason=str(slapd.missing()))
async def test_a_person_signs_in_with_the_password_of_the_directory(browsers, owner, roads, count, tmp_path):
    entries = TOP + person("ada", name="Åda Löv") + group("permits", "uid=ada,ou=people")
    entries += group("building", "cn=permits,ou=groups")
    with Slapd(tmp_path, entries) as server:
        config = {
            "url": server.url,
            "base_dn": f"ou=people,{BASE}",
            "bind_dn": ADMIN,
            "bind_password": ADMIN_PASSWORD,
            "certificate_authority": server.authority,
            "group_base_dn": f"ou=groups,{BASE}",
        }
        checked = await owner.post("/login-methods/check", json={"kind": "ldap", "config": config})
        assert checked.json()["ok"] is True, checked.text
        wrong = await owner.post(
            "/login-methods/check", json={"kind": "ldap", "config": config | {"bind_password": "not it"}}
        )
        assert wrong.json()["ok"] is False, wrong.text
        provisioning = {"create": True, "group_map": [{"claim": "building", "group_id": roads}]}
        made = await owner.post(
            "/login-methods",
            json={"kind": "ldap", "name": "Directory", "config": config, "provisioning": provisioning},
        )
        path = f"/auth/methods/{made.json()['id']}/login"
        browser: Browser = browsers()
        (way,) = (await browser.get("/auth/methods", params={"tenant": owner.tenant_name})).json()["items"]
        assert way["type"] == "credentials"
        for name in ("ada", "*", "ada)(uid=*"):
            refused = await browser.post(path, json={"identifier": name, "password": "guess"})
            assert (refused.status_code, refused.json()["code"]) == (401, "invalid-credentials")
        answer = await browser.post(path, json={"identifier": "ada", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        assert (await browser.me())["user"]["name"] == "Åda Löv"
        assert await count("group_members", f"group_id = '{roads}'") == 1
