"""One's own sessions, and a change of password."""

from uuid import uuid4

import pytest

from folkmoot.identity import throttle
from tests.identity.browsing import at, bearer, events_of, login, me
from tests.support.people import PASSWORD

NEW = "four words that rhyme with nothing"


@pytest.fixture
async def browser(api):
    async with at(api) as client:
        yield client


async def token_of(browser, person, **fields):
    return (await login(browser, person, body=True, **fields)).json()["access_token"]


async def test_one_sees_where_one_is_signed_in(api, owner):
    async with at(api, "192.0.2.77") as there:
        there.headers["User-Agent"] = "A browser on another desk"
        token = await token_of(there, owner)
        items = (await there.get("/me/sessions", headers=bearer(token))).json()["items"]
    assert [item["current"] for item in items] == [True, False]
    assert items[0]["ip"] == "192.0.2.77"
    assert items[0]["user_agent"] == "A browser on another desk"
    assert items[0]["method"] == "password"
    assert {"id", "created_at", "last_used_at", "expires_at"} <= items[0].keys()


async def test_sessions_come_in_pages(browser, owner):
    for _ in range(3):
        await token_of(browser, owner)
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await owner.get("/me/sessions", params=params)).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if not (cursor := page["next_cursor"]):
            break
    assert len(seen) == len(set(seen)) == 4


async def test_a_session_is_ended_by_itself(browser, owner, superuser):
    there = await token_of(browser, owner)
    items = (await owner.get("/me/sessions")).json()["items"]
    (other,) = [item["id"] for item in items if not item["current"]]
    assert (await owner.delete(f"/me/sessions/{other}")).status_code == 204
    assert (await me(browser, there)).json()["code"] == "session-ended"
    assert (await owner.get("/me")).status_code == 200
    assert (await owner.delete(f"/me/sessions/{other}")).status_code == 404
    assert (await events_of(superuser, owner))[-1] == ("session.ended", {"reason": "ended-by-person"})


async def test_all_other_sessions_are_ended_at_once(browser, owner):
    tokens = [await token_of(browser, owner) for _ in range(3)]
    assert (await owner.delete("/me/sessions")).status_code == 204
    for token in tokens:
        assert (await me(browser, token)).status_code == 401
    items = (await owner.get("/me/sessions")).json()["items"]
    assert [item["current"] for item in items] == [True]


async def test_nobody_ends_the_session_of_another(owner, tenancy):
    colleague, foreigner = await tenancy.colleague(owner), await tenancy.owner()
    theirs = (await owner.get("/me/sessions")).json()["items"][0]["id"]
    for person in (colleague, foreigner):
        assert (await person.delete(f"/me/sessions/{theirs}")).status_code == 404
    assert (await owner.delete(f"/me/sessions/{uuid4()}")).status_code == 404
    assert (await owner.get("/me")).status_code == 200


async def change(person, current=PASSWORD, new=NEW):
    return await person.post("/me/password", json={"current_password": current, "new_password": new})


async def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(browser, owner, superuser):
    other = await token_of(browser, owner)
    assert (await change(owner)).status_code == 204
    assert (await owner.get("/me")).status_code == 200
    assert (await me(browser, other)).json()["code"] == "session-ended"
    assert (await login(browser, owner)).status_code == 401
    assert (await login(browser, owner, NEW)).status_code == 200
    found = await events_of(superuser, owner)
    assert ("session.ended", {"reason": "password-changed"}) in found
    assert "user.password_changed" in [action for action, _ in found]
    assert NEW not in str(found)


async def test_a_password_that_is_easily_guessed_is_refused_and_nothing_changes(browser, owner):
    for bad, code in {
        "elevenchars": "password-too-short",
        "123456789012345": "password-breached",
        "aaaaaaaaaaaaaa": "password-breached",
        "abcdefghijklmnop": "password-breached",
        "SwordfishSwordfish": "password-breached",
        owner.user.email: "password-breached",
        f"{owner.user.email.partition('@')[0]}2026!": "password-breached",
        owner.tenant_name.upper(): "password-breached",
    }.items():
        refused = await change(owner, new=bad)
        assert refused.status_code == 400, bad
        assert refused.json()["code"] == code, bad
        assert refused.json()["errors"][0]["path"] == "new_password"
        assert bad not in refused.text
    assert (await login(browser, owner)).status_code == 200


async def test_a_wrong_current_password_counts_as_a_failed_sign_in(owner, browser, superuser, monkeypatch):
    monkeypatch.setattr(throttle, "LONGEST_DELAY", 0)
    for _ in range(10):
        refused = await change(owner, current="wrong password")
        assert (refused.status_code, refused.json()["code"]) == (400, "password-wrong")
        assert refused.json()["errors"][0]["path"] == "current_password"
    assert (await change(owner)).json()["code"] == "account-locked"
    assert (await login(browser, owner)).json()["code"] == "account-locked"
    assert (await owner.get("/me")).status_code == 200
    assert [action for action, _ in await events_of(superuser, owner)].count("account.locked") == 1


async def test_an_api_key_changes_no_password_and_ends_no_session(api):
    for route in api.routes:
        for handler in getattr(route, "route_handlers", []):
            # What it costs and may still cost, a program may ask.
            own = route.path.startswith("/api/v1/me/") and not route.path.endswith(("/usage", "/budgets"))
            if own and handler.http_methods != {"OPTIONS"}:
                assert handler.opt["person"] is True, route.path
