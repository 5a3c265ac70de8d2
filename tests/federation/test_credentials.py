"""Signing in with the password of a directory: as with one of ours, and held up in the same way."""

import asyncio
from uuid import uuid4

import pytest
from folkmoot_sdk import AccountNotAllowed
from sqlalchemy import update

from folkmoot.identity.models import User
from tests.federation.fakes import down


@pytest.fixture
async def directory(method, world):
    made = await method(kind="fake-directory", create=True)
    world.add(made.issuer, "ada", email=f"{uuid4().hex[:12]}@x.example", name="Ada")
    return made


async def login(browser, directory, identifier="ada", password="open sesame", params=None, headers=None, **fields):
    body = {"identifier": identifier, "password": password} | fields
    return await browser.post(f"/auth/methods/{directory.id}/login", json=body, params=params, headers=headers)


async def test_the_right_password_signs_in_as_one_of_ours_does(browser, directory, owner):
    answer = await login(browser, directory)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["refresh_token"] is None
    assert "folkmoot_refresh" in answer.headers["set-cookie"]
    assert (await browser.me())["tenant"]["id"] == str(owner.tenant_id)


async def test_without_cookies_the_refresh_token_is_in_the_body(browser, directory):
    answer = await login(browser, directory, params={"cookie": "false"})
    assert "set-cookie" not in answer.headers
    refreshed = await browser.post("/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]})
    assert refreshed.status_code == 200


async def test_another_site_does_not_sign_a_browser_in(browser, directory, world):
    answer = await login(browser, directory, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    assert world.seen == []


async def test_a_wrong_name_and_a_wrong_password_sound_alike(browser, directory, owner, events):
    wrong, unknown = await login(browser, directory, password="x"), await login(browser, directory, "nobody")
    for answer in (wrong, unknown):
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-credentials")
    assert wrong.json()["detail"] == unknown.json()["detail"]
    noted = await events(owner.tenant_id, "session.failed")
    assert [event["data"] for event in noted] == [{"method": "fake-directory", "reason": "invalid-credentials"}] * 2


async def test_who_guesses_on_is_locked_out_of_that_name_alone(browser, directory, world, owner, events, app):
    object.__setattr__(app.settings, "login_attempts", 3)
    try:
        world.add(directory.issuer, "eve", email=f"{uuid4().hex[:12]}@x.example")
        answers = [await login(browser, directory, "Ada ", password="x") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401] * 3
        asked = len(world.seen)
        locked = await login(browser, directory)
        assert (locked.status_code, locked.json()["code"]) == (429, "account-locked")
        assert int(locked.headers["retry-after"]) > 0
        assert len(world.seen) == asked
        assert (await login(browser, directory, "eve")).status_code == 200
    finally:
        object.__setattr__(app.settings, "login_attempts", 10)
    assert len(await events(owner.tenant_id, "account.locked")) == 1
    assert (await events(owner.tenant_id, "session.failed"))[-1]["data"]["reason"] == "account-locked"


async def test_one_name_in_many_spellings_is_one_name_to_guess_at(browser, directory):
    spellings = ("ada", "\uff21\uff24\uff21", "a\u200bda", "a\u0300da", "a d a", "ad\u00ada")
    answers = [await login(browser, directory, name, password="x") for name in spellings]
    assert [answer.json()["code"] for answer in answers] == ["invalid-credentials"] * 5 + ["too-many-attempts"]


async def test_a_directory_that_is_down_costs_no_guess(browser, directory, world):
    world.faults["authenticate"] = down
    for _ in range(12):
        answer = await login(browser, directory)
        assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")
        assert "10.9.8.7" not in answer.text
    world.faults.clear()
    assert (await login(browser, directory)).status_code == 200


async def test_who_may_not_come_in_is_told_so(browser, directory, world):
    world.faults["authenticate"] = AccountNotAllowed("your account in the directory has expired")
    answer = await login(browser, directory)
    assert (answer.status_code, answer.json()["code"]) == (403, "account-not-allowed")
    assert "has expired" in answer.json()["detail"]


async def test_the_second_factor_of_the_account_here_is_asked_for_too(browser, directory, system, owner, monkeypatch):
    await login(browser, directory)
    user_id = (await browser.me())["user"]["id"]
    from datetime import UTC, datetime

    from folkmoot.federation import enter

    async def right(_work, _keyring, _user, code):
        return code == "123456"

    monkeypatch.setattr(enter, "use_code", right)
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(User).where(User.id == user_id).values(totp_confirmed_at=datetime.now(UTC)))
    missing = await login(browser, directory)
    assert (missing.status_code, missing.json()["code"]) == (401, "second-factor-required")
    wrong = await login(browser, directory, code="654321")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "second-factor-wrong")
    assert (await login(browser, directory, code="123456")).status_code == 200


async def test_an_invitation_is_accepted_with_the_password_of_a_directory(browser, owner, method, world):
    made = await method(kind="fake-directory")
    address = f"{uuid4().hex[:12]}@x.example"
    token = (await owner.post("/users", json={"email": address})).json()["link"].partition("#")[2]
    world.add(made.issuer, "ada")
    assert (await login(browser, made)).json()["code"] == "account-not-allowed"
    assert (await login(browser, made, invitation=token)).status_code == 200
    assert (await browser.me())["user"]["email"] == address


async def test_an_account_in_a_directory_is_linked_by_who_is_signed_in(browser, owner, method, world):
    made = await method(kind="fake-directory")
    world.add(made.issuer, "olga")
    wrong = await owner.post(f"/me/accounts/{made.id}/login", json={"identifier": "olga", "password": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid-credentials")
    linked = await owner.post(f"/me/accounts/{made.id}/login", json={"identifier": "olga", "password": "open sesame"})
    assert linked.status_code == 204
    assert (await login(browser, made, "olga")).status_code == 200
    assert (await browser.me())["user"]["id"] == str(owner.user.id)


async def test_each_kind_has_its_own_door(browser, directory, method):
    away = await method()
    start = await browser.get(f"/auth/methods/{directory.id}/start")
    assert (start.status_code, start.json()["code"]) == (400, "wrong-login-type")
    posted = await login(browser, away)
    assert (posted.status_code, posted.json()["code"]) == (400, "wrong-login-type")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"identifier": "ada"},
        {"identifier": "", "password": "x"},
        {"identifier": "ada", "password": ""},
        {"identifier": "a\x00b", "password": "x"},
        {"identifier": "ada", "password": "a\x00b"},
        {"identifier": "a" * 400, "password": "x"},
        {"identifier": "ada", "password": "x" * 1100},
        {"identifier": ["ada"], "password": "x"},
        {"identifier": "ada", "password": "x", "role": "owner"},
    ],
)
async def test_what_makes_no_sense_reaches_no_directory(browser, directory, world, body):
    answer = await browser.post(f"/auth/methods/{directory.id}/login", json=body)
    assert answer.status_code == 400
    assert world.seen == []


async def test_names_full_of_syntax_are_only_names(browser, directory):
    for name in ("*", "*)(uid=*", "' OR 1=1 --", "ada\n", "å" * 300, "../../x", "%00"):
        answer = await login(browser, directory, name)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-credentials"), name


async def test_two_sign_ins_at_one_moment_both_get_in(browsers, directory, owner, count):
    answers = await asyncio.gather(*(login(browser, directory) for browser in (browsers(), browsers())))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 1
