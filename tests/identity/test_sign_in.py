"""Signing in, staying in, getting out; and everything that must not get in."""

import base64
import json
import time
from uuid import uuid4

import bcrypt
import httpx
import jwt
import pytest
from sqlalchemy import text

from folkmoot.identity.passwords import hash_password, matches
from folkmoot.identity.service import UserService
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.tokens import AccessClaims, RefreshClaims, Tokens
from folkmoot.kit.access import Principal
from folkmoot.kit.crypto import Keyring
from folkmoot.tenants.service import TenantService
from tests.support.people import PASSWORD

COOKIE = "folkmoot_refresh"


@pytest.fixture
async def browser(api):
    """Somebody who is not signed in, at the same address as the service, with a cookie jar."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://folkmoot.test/api/v1") as client:
        yield client


async def login(browser, person, password=PASSWORD, **fields):
    params = {"cookie": "false"} if fields.pop("body", False) else {}
    return await browser.post(
        "/auth/login", json={"email": person.user.email, "password": password, **fields}, params=params
    )


async def me(browser, token):
    return await browser.get("/me", headers={"Authorization": f"Bearer {token}"})


async def actions(superuser, person):
    async with superuser.connect() as connection:
        rows = await connection.scalars(
            text("SELECT action FROM events WHERE user_id = :u ORDER BY seq"), {"u": person.user.id}
        )
        return rows.all()


async def test_a_browser_signs_in_and_keeps_the_refresh_token_where_no_script_reads_it(browser, owner):
    answer = await login(browser, owner)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 600
    assert body.get("refresh_token") is None
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE)
    for part in ("httponly", "samesite=strict", "path=/api/v1/auth"):
        assert part in cookie
    told = (await me(browser, body["access_token"])).json()
    assert told["user"]["email"] == owner.user.email
    assert told["tenant"] == {"id": str(owner.tenant_id), "name": owner.tenant_name}
    assert told["roles"] == ["owner"]
    assert "admin" in told["permissions"]


async def test_another_client_gets_the_refresh_token_in_the_body(browser, owner):
    answer = await login(browser, owner, body=True)
    assert "set-cookie" not in answer.headers
    refreshed = await browser.post("/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]})
    assert refreshed.status_code == 200
    assert "set-cookie" not in refreshed.headers
    assert refreshed.json()["refresh_token"] != answer.json()["refresh_token"]
    assert (await me(browser, refreshed.json()["access_token"])).status_code == 200


async def test_the_email_is_the_same_in_capitals(browser, owner):
    answer = await browser.post("/auth/login", json={"email": owner.user.email.upper(), "password": PASSWORD})
    assert answer.status_code == 200


async def test_a_refresh_rotates_and_a_copy_ends_the_session(browser, owner, superuser):
    first = (await login(browser, owner, body=True)).json()
    second = (await browser.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})).json()
    copied = await browser.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert (copied.status_code, copied.json()["code"]) == (401, "token-reused")
    after = await browser.post("/auth/refresh", json={"refresh_token": second["refresh_token"]})
    assert (after.status_code, after.json()["code"]) == (401, "session-ended")
    for token in (first["access_token"], second["access_token"]):
        assert (await me(browser, token)).json()["code"] == "session-ended"
    assert "session.token_reused" in await actions(superuser, owner)


async def test_logging_out_ends_both_tokens_at_once_and_only_this_session(browser, owner, superuser):
    here, there = [(await login(browser, owner, body=True)).json() for _ in range(2)]
    headers = {"Authorization": f"Bearer {here['access_token']}"}
    assert (await browser.post("/auth/logout", headers=headers)).status_code == 204
    assert (await me(browser, here["access_token"])).json()["code"] == "session-ended"
    again = await browser.post("/auth/refresh", json={"refresh_token": here["refresh_token"]})
    assert again.json()["code"] == "session-ended"
    assert (await me(browser, there["access_token"])).status_code == 200
    assert "session.ended" in await actions(superuser, owner)


async def test_nobody_learns_from_the_answer_who_has_an_account(browser, owner, monkeypatch):
    checked = []
    checkpw = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: checked.append(1) or checkpw(*given))
    wrong = await login(browser, owner, "wrong password")
    counts = [len(checked)]
    unknown = await browser.post(
        "/auth/login", json={"email": f"{uuid4().hex}@x.example", "password": "wrong password"}
    )
    counts.append(len(checked) - counts[0])
    assert counts == [1, 1]
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}


async def test_each_log_in_and_each_failed_one_is_an_event(browser, owner, superuser):
    before = len(await actions(superuser, owner))
    await login(browser, owner)
    await login(browser, owner, "wrong password")
    assert (await actions(superuser, owner))[before:] == ["session.started", "session.failed"]


async def test_who_was_made_inactive_is_out_at_once(browser, owner, tenancy, app):
    person = await tenancy.colleague(owner)
    refresh = (await login(browser, person, body=True)).json()["refresh_token"]
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        users = UserService(work)
        await users.set_state(await users.with_email(person.user.email), "inactive")
    assert (await person.get("/me")).status_code == 401
    assert (await browser.post("/auth/refresh", json={"refresh_token": refresh})).status_code == 401
    refused = await login(browser, person)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid-credentials")


async def test_a_suspended_organisation_is_shut(browser, owner, app):
    refresh = (await login(browser, owner, body=True)).json()["refresh_token"]
    async with app.begin(Principal.platform()) as work:
        (await TenantService(work).get(owner.tenant_id)).state = "suspended"
    assert (await owner.get("/me")).status_code == 401
    assert (await browser.post("/auth/refresh", json={"refresh_token": refresh})).status_code == 401
    assert (await login(browser, owner)).status_code == 401


async def test_a_new_password_ends_every_session(browser, owner, app):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        users = UserService(work)
        await users.set_password(await users.with_email(owner.user.email), owner.user.password_hash)
    assert (await owner.get("/me")).json()["code"] == "session-ended"


async def test_somebody_in_two_organisations_says_which(browser, owner, tenancy):
    tenant_id, name = await tenancy.tenant()
    other = await tenancy.person(tenant_id, name, email=owner.user.email)
    unsaid = await login(browser, owner)
    assert (unsaid.status_code, unsaid.json()["code"]) == (409, "tenant-required")
    for person in (owner, other):
        token = (await login(browser, owner, tenant=person.tenant_name)).json()["access_token"]
        assert (await me(browser, token)).json()["tenant"]["name"] == person.tenant_name
    assert (await login(browser, owner, tenant="nowhere")).status_code == 401


def encoded(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def unsigned(claims: dict, header: dict) -> str:
    return f"{encoded(header)}.{encoded(claims)}."


async def test_a_token_that_is_not_ours_is_refused(browser, owner, app):
    genuine = (await login(browser, owner)).json()["access_token"]
    claims = jwt.decode(genuine, options={"verify_signature": False})
    public = app.part(Tokens)._verifying.public_bytes_raw()
    head, body, signature = genuine.split(".")
    foreign = Tokens(Keyring([b"z" * 32]), 600)
    someone = AccessClaims(owner.tenant_id, owner.user.id, uuid4())
    tokens = {
        "empty": ".",
        "nonsense": "a.b.c",
        "not ascii": "é.é.é",
        "no algorithm": unsigned(claims, {"alg": "none", "typ": "JWT"}),
        "HMAC with the public key": jwt.encode(claims, public, algorithm="HS256"),
        "HMAC with nothing": jwt.encode(claims, "x" * 32, algorithm="HS256"),
        "another body": f"{head}.{encoded(claims | {'x': 1})}.{signature}",
        "without signature": f"{head}.{body}.",
        "another installation's": foreign.access(someone),
        "of no session": app.part(Tokens).access(someone),
        "another audience": jwt.encode(claims | {"aud": "x"}, app.part(Tokens)._signing, algorithm="EdDSA"),
        "without end": jwt.encode(
            {key: value for key, value in claims.items() if key != "exp"}, app.part(Tokens)._signing, algorithm="EdDSA"
        ),
        "ids that are none": jwt.encode(claims | {"tid": "x"}, app.part(Tokens)._signing, algorithm="EdDSA"),
        "refresh token": app.part(Tokens).refresh(RefreshClaims(owner.tenant_id, uuid4(), 1)),
    }
    for name, token in tokens.items():
        headers = [(b"Authorization", f"Bearer {token}".encode())]
        answer = await browser.get("/me", headers=headers)
        assert answer.status_code == 401, name
    expired = jwt.encode(claims | {"exp": int(time.time()) - 1}, app.part(Tokens)._signing, algorithm="EdDSA")
    assert (await me(browser, expired)).json()["code"] == "token-expired"
    assert (await me(browser, genuine)).status_code == 200


async def test_a_token_of_one_organisation_does_not_open_another(browser, owner, tenancy, app):
    other = await tenancy.owner()
    session = jwt.decode((await login(browser, owner)).json()["access_token"], options={"verify_signature": False})
    mixed = app.part(Tokens).access(AccessClaims(other.tenant_id, owner.user.id, session["sid"]))
    assert (await me(browser, mixed)).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "fmr_", "fmr_AAAA", "é", "fmr_" + "A" * 96, "\x00"])
async def test_a_refresh_token_that_is_not_ours_is_refused(browser, token):
    answer = await browser.post("/auth/refresh", json={"refresh_token": token})
    assert answer.status_code in (400, 401)


async def test_another_site_cannot_refresh_with_the_cookie(browser, owner):
    await login(browser, owner)
    crossed = await browser.post("/auth/refresh", headers={"Origin": "https://evil.example"})
    assert (crossed.status_code, crossed.json()["code"]) == (403, "cross-site")
    hidden = await browser.post("/auth/refresh", headers={"Origin": "null"})
    assert hidden.status_code == 403
    own = await browser.post("/auth/refresh", headers={"Origin": "http://folkmoot.test"})
    assert own.status_code == 200
    assert COOKIE in own.headers["set-cookie"]
    assert own.json().get("refresh_token") is None


async def test_without_any_refresh_token_one_is_told_to_sign_in(browser):
    assert (await browser.post("/auth/refresh")).json()["code"] == "not-signed-in"


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"email": "a\u0000@b", "password": "x"}',
        rb'{"email": "a\ud800@b", "password": "x"}',
        rb'{"email": "a@b", "password": "x", "tenant": "\u0000"}',
        b'{"email": "a@b"}',
        b'{"email": "ab", "password": "x"}',
        b'{"email": "a@b", "password": ""}',
        b'{"email": "a@b", "password": 1}',
        b'{"email": "' + b"a" * 300 + b'@b", "password": "x"}',
        b'{"email": "a@b", "password": "' + b"x" * 1025 + b'"}',
    ],
)
async def test_a_log_in_that_makes_no_sense_is_refused_before_anything_is_checked(browser, raw):
    answer = await browser.post("/auth/login", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] in ("validation-failed", "bad-request")


async def test_a_password_of_any_characters_and_length_is_compared_whole():
    long = "å" * 72
    stored = await hash_password(long + "a")
    assert await matches(long + "a", stored)
    assert not await matches(long + "b", stored)
    nul = await hash_password("abc\x00def")
    assert not await matches("abc\x00xyz", nul)
    assert not await matches("anything", None)


async def test_the_clock_of_a_session_that_is_not_used_runs_out(app, browser, owner, superuser):
    signed = await SignIn(app).login(owner.user.email, PASSWORD, owner.tenant_name)
    session = app.part(Tokens).read_refresh(signed.refresh_token).session_id
    async with superuser.begin() as connection:
        await connection.execute(text("UPDATE sessions SET expires_at = now() WHERE id = :s"), {"s": session})
    answer = await browser.post("/auth/refresh", json={"refresh_token": signed.refresh_token})
    assert answer.json()["code"] == "session-ended"
