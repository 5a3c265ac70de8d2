"""Signing in, staying in, getting out; and everything that must not get in."""

import asyncio
from uuid import uuid4

import bcrypt
import pytest
from sqlalchemy import text

from folkmoot.identity.models import Session
from folkmoot.identity.passwords import hash_password, matches
from folkmoot.identity.service import UserService
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.tokens import Tokens
from folkmoot.kit.access import Principal
from folkmoot.kit.errors import Forbidden, NotSignedIn
from folkmoot.tenants.models import PLATFORM
from folkmoot.tenants.service import TenantService
from tests.identity.browsing import address, at, bearer, events, events_of, login, me, noted
from tests.support.people import PASSWORD

COOKIE = "folkmoot_refresh"


@pytest.fixture
async def browser(api):
    """Somebody who is not signed in, at the same address as the service, with a cookie jar."""
    async with at(api) as client:
        yield client


async def actions(superuser, person):
    return [action for action, _ in await events_of(superuser, person)]


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
    assert told["tenant"] == {"id": str(owner.tenant_id), "name": owner.tenant_name, "ai_mark": "AI-generated"}
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


async def suspend(app, person):
    async with app.begin(Principal.platform()) as work:
        (await TenantService(work).get(person.tenant_id)).state = "suspended"


async def test_a_suspended_organisation_is_shut_at_once_and_says_so(browser, owner, app, superuser):
    refresh = (await login(browser, owner, body=True)).json()["refresh_token"]
    await suspend(app, owner)
    for answer in (
        await owner.get("/me"),
        await owner.get("/spaces"),
        await browser.post("/auth/refresh", json={"refresh_token": refresh}),
        await login(browser, owner),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "tenant-suspended")
    # Refusals are noted beside the request, so one of them may come after it.
    assert ("session.failed", {"reason": "tenant-suspended"}) in await events_of(superuser, owner)
    found = await noted(superuser, "action = 'access.refused' AND tenant_id = :t", t=owner.tenant_id)
    assert found[0][1] == {"code": "tenant-suspended"}


async def test_a_refresh_that_was_refused_for_suspension_is_good_again_afterwards(browser, owner, app):
    refresh = (await login(browser, owner, body=True)).json()["refresh_token"]
    await suspend(app, owner)
    assert (await browser.post("/auth/refresh", json={"refresh_token": refresh})).status_code == 403
    async with app.begin(Principal.platform()) as work:
        (await TenantService(work).get(owner.tenant_id)).state = "active"
    assert (await browser.post("/auth/refresh", json={"refresh_token": refresh})).status_code == 200


async def test_who_does_not_know_the_password_does_not_learn_of_a_suspension(browser, owner, app):
    await suspend(app, owner)
    refused = await login(browser, owner, "wrong password")
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid-credentials")


async def test_where_passwords_are_off_only_the_right_one_hears_of_it(browser, owner, app, superuser):
    async with app.begin(Principal.platform()) as work:
        (await TenantService(work).get(owner.tenant_id)).settings = {"password_login": False}
    wrong = await login(browser, owner, "wrong password")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid-credentials")
    right = await login(browser, owner)
    assert (right.status_code, right.json()["code"]) == (403, "password-login-off")
    assert ("session.failed", {"reason": "password-login-off"}) in await events_of(superuser, owner)


@pytest.mark.parametrize("state", ["invited", "inactive", "deleted"])
async def test_who_may_not_enter_is_answered_as_anybody_with_a_wrong_password(
    browser, owner, tenancy, superuser, monkeypatch, state
):
    person = await tenancy.colleague(owner)
    password = None if state == "invited" else person.user.password_hash
    async with superuser.begin() as connection:
        change = text("UPDATE users SET state = :s, password_hash = :p WHERE id = :u")
        await connection.execute(change, {"s": state, "p": password, "u": person.user.id})
    checked = []
    checkpw = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: checked.append(1) or checkpw(*given))
    refused = await login(browser, person)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid-credentials")
    assert len(checked) == 1


async def test_a_deleted_account_does_not_stand_in_the_way_of_its_successor(browser, owner, tenancy, superuser):
    gone = await tenancy.colleague(owner)
    async with superuser.begin() as connection:
        await connection.execute(text("UPDATE users SET state = 'deleted' WHERE id = :u"), {"u": gone.user.id})
    next_one = await tenancy.person(owner.tenant_id, owner.tenant_name, email=gone.user.email)
    token = (await login(browser, gone)).json()["access_token"]
    assert (await me(browser, token)).json()["user"]["id"] == str(next_one.user.id)


async def test_an_unknown_email_is_noted_for_the_platform_and_not_in_clear(browser, superuser):
    email = f"{uuid4().hex}@nowhere.example"
    await browser.post("/auth/login", json={"email": email, "password": "wrong password"})
    hashed = (await events(superuser, "tenant_id = :t AND action = 'session.failed'", t=PLATFORM))[-1][1]
    assert hashed["reason"] == "unknown"
    async with superuser.connect() as connection:
        rows = (
            await connection.execute(text("SELECT data::text FROM events WHERE tenant_id = :t"), {"t": PLATFORM})
        ).all()
    assert not any(email in row[0] for row in rows)


async def test_a_sign_in_tells_how_and_whether_the_address_is_new(api, owner, superuser):
    ip = address()
    async with at(api, ip) as first, at(api, ip) as again:
        await login(first, owner)
        await login(again, owner)
    started = [data for action, data in await events_of(superuser, owner) if action == "session.started"]
    assert started[-2:] == [
        {"method": "password", "new_address": True},
        {"method": "password", "new_address": False},
    ]


async def test_of_two_refreshes_at_the_same_moment_one_wins_and_nothing_ends(browser, owner):
    token = (await login(browser, owner, body=True)).json()["refresh_token"]
    answers = await asyncio.gather(*(browser.post("/auth/refresh", json={"refresh_token": token}) for _ in range(5)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    lost = [answer for answer in answers if answer.status_code != 200]
    assert len(won) == 1
    assert {(answer.status_code, answer.json()["code"]) for answer in lost} == {(401, "token-reused")}
    assert (await me(browser, won[0]["access_token"])).status_code == 200
    assert (await browser.post("/auth/refresh", json={"refresh_token": won[0]["refresh_token"]})).status_code == 200


async def test_a_password_that_was_replaced_while_it_was_checked_opens_nothing(owner, app, tenancy):
    person = await tenancy.colleague(owner)
    with pytest.raises(NotSignedIn):
        await SignIn(app).open(person.user, method="password", password_hash="another")


async def test_somebody_proven_elsewhere_gets_a_session_with_what_its_provider_needs(owner, app):
    method = uuid4()
    signed = await SignIn(app).open(
        owner.user, method="oidc", login_method_id=method, external_session="sid-1", logout_hint="an ID token"
    )
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        session = await work.session.get_one(Session, signed.session_id)
    assert (session.method, session.login_method_id, session.external_session) == ("oidc", method, "sid-1")
    assert b"an ID token" not in session.logout_hint
    assert await SignIn(app).logout_hint(session) == "an ID token"


async def test_nobody_is_let_in_from_elsewhere_who_is_shut_out_here(owner, app, tenancy):
    person = await tenancy.colleague(owner)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        users = UserService(work)
        await users.set_state(await users.with_email(person.user.email), "inactive")
    with pytest.raises(Forbidden, match="not active"):
        await SignIn(app).open(person.user, method="oidc")
    await suspend(app, owner)
    with pytest.raises(Forbidden, match="suspended"):
        await SignIn(app).open(owner.user, method="oidc")


async def test_the_token_of_an_ended_session_is_an_event_of_its_organisation(browser, owner, superuser):
    token = (await login(browser, owner, body=True)).json()["access_token"]
    await browser.post("/auth/logout", headers=bearer(token))
    assert (await me(browser, token)).json()["code"] == "session-ended"
    found = await noted(superuser, "action = 'token.refused' AND tenant_id = :t", t=owner.tenant_id)
    assert found == [("token.refused", {"code": "session-ended"})]


async def test_what_is_refused_to_a_person_is_an_event_of_their_organisation(owner, tenancy, superuser):
    person = await tenancy.colleague(owner)
    refused = await person.get("/plugins")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    found = await noted(superuser, "action = 'access.refused' AND actor_id = :u", u=person.user.id)
    assert found[0][1] == {"operation": "list_plugins", "code": "forbidden"}


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
