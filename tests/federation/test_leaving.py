"""Signing out at the provider, and hearing from it."""

from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from folkmoot_sdk import BackendUnavailable, LogoutNotice
from sqlalchemy import update

from folkmoot.tenants.models import Tenant
from tests.federation.fakes import down


@pytest.fixture
async def made(method, world):
    found = await method(create=True)
    for name in ("ada", "eve"):
        world.add(found.issuer, name, email=f"{uuid4().hex[:12]}@x.example", logout_hint=f"id-token-of-{name}")
    return found


async def signed_in(browser, world, made, name="ada", session=None):
    """A bearer header of a session that the provider calls `session`."""
    password, before = world.people[made.issuer][name]
    world.people[made.issuer][name] = (password, type(before)(**{
        field: getattr(before, field) for field in before.__struct_fields__
    } | {"session": session}))  # fmt: skip
    assert (await browser.signs_in(made.id, name)).status_code == 303
    return {"Authorization": f"Bearer {await browser.token()}"}


async def tell(browser, made, token, **more):
    return await browser.post(f"/auth/methods/{made.id}/backchannel-logout", data={"logout_token": token} | more)


def genuine(token_id="", session="", subject=""):
    return f"genuine:{token_id or uuid4().hex},{session},{subject}"


async def status(browser, headers):
    return (await browser.get("/me", headers=headers)).status_code


async def test_signing_out_here_says_where_to_sign_out_there(browser, made, world, app):
    headers = await signed_in(browser, world, made)
    answer = await browser.post("/auth/provider-logout", headers=headers)
    assert answer.status_code == 200, answer.text
    query = parse_qs(urlsplit(answer.json()["url"]).query)
    assert query == {"hint": ["id-token-of-ada"], "to": [app.settings.url()]}
    assert answer.headers["cache-control"] == "no-store"
    assert await status(browser, headers) == 401
    assert (await browser.post("/auth/refresh")).status_code == 401


async def test_the_hint_lies_sealed(browser, made, world, count):
    await signed_in(browser, world, made)
    assert await count("sessions", f"login_method_id = '{made.id}' AND logout_hint IS NOT NULL") == 1
    clear = "position('id-token-of-ada' in encode(logout_hint, 'escape')) > 0"
    assert await count("sessions", f"login_method_id = '{made.id}' AND {clear}") == 0


@pytest.mark.parametrize("fault", [down, ValueError("boom"), "javascript:alert(1)", "//evil.example", None, 7])
async def test_a_provider_that_fails_keeps_nobody_signed_in(browser, made, world, fault):
    headers = await signed_in(browser, world, made)

    async def odd(*_arguments):
        return fault

    world.faults["end_session_url"] = fault if isinstance(fault, Exception) else odd
    answer = await browser.post("/auth/provider-logout", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"url": None})
    assert await status(browser, headers) == 401


async def test_who_signed_in_with_a_password_has_nowhere_else_to_sign_out(owner):
    answer = await owner.post("/auth/provider-logout")
    assert (answer.status_code, answer.json()) == (200, {"url": None})
    assert (await owner.get("/me")).status_code == 401


async def test_the_provider_ends_the_session_that_it_names_and_no_other(browsers, owner, made, world, events):
    one, two = browsers(), browsers()
    first = await signed_in(one, world, made, session="sid-1")
    second = await signed_in(two, world, made, session="sid-2")
    answer = await tell(one, made, genuine(session="sid-1"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert await status(one, first) == 401
    assert await status(two, second) == 200
    (ended,) = await events(owner.tenant_id, "session.ended")
    assert ended["data"] == {"reason": "provider-logout"}


async def test_the_provider_ends_all_sessions_of_a_person(browsers, made, world):
    ada_here, ada_there, eve = browsers(), browsers(), browsers()
    sessions = [
        (ada_here, await signed_in(ada_here, world, made, session="sid-1")),
        (ada_there, await signed_in(ada_there, world, made)),
    ]
    other = await signed_in(eve, world, made, "eve", session="sid-1")
    assert (await tell(eve, made, genuine(subject="subject-of-ada"))).status_code == 200
    assert [await status(*session) for session in sessions] == [401, 401]
    assert await status(eve, other) == 200


async def test_session_and_subject_must_fit_each_other(browser, made, world):
    headers = await signed_in(browser, world, made, session="sid-1")
    assert (await tell(browser, made, genuine(session="sid-1", subject="subject-of-eve"))).status_code == 200
    assert await status(browser, headers) == 200
    assert (await tell(browser, made, genuine(session="sid-1", subject="subject-of-ada"))).status_code == 200
    assert await status(browser, headers) == 401


async def test_one_method_does_not_end_the_sessions_of_another(browser, made, method, world):
    headers = await signed_in(browser, world, made, session="sid-1")
    other = await method(create=True)
    assert (await tell(browser, other, genuine(session="sid-1"))).status_code == 200
    assert (await tell(browser, other, genuine(subject="subject-of-ada"))).status_code == 200
    assert await status(browser, headers) == 200


async def test_a_session_that_is_not_there_is_no_error(browser, made):
    assert (await tell(browser, made, genuine(session="unknown"))).status_code == 200


async def test_a_logout_token_is_good_once(browser, owner, made, world, events):
    token = genuine("the-only-one", session="sid-1")
    await signed_in(browser, world, made, session="sid-1")
    assert (await tell(browser, made, token)).status_code == 200
    headers = await signed_in(browser, world, made, session="sid-1")
    again = await tell(browser, made, token)
    assert (again.status_code, again.json()["code"]) == (400, "logout-token-invalid")
    assert again.headers["cache-control"] == "no-store"
    assert await status(browser, headers) == 200
    (refused,) = await events(owner.tenant_id, "logout.refused")
    assert refused["data"] == {"method": "fake-id", "code": "logout-token-invalid"}


@pytest.mark.parametrize("token", ["", "forged:x,sid-1,", "x" * 40_000, "\x00", "genuine", "genuine:a,,", None])
async def test_what_the_provider_did_not_say_ends_nothing(browser, made, world, token):
    headers = await signed_in(browser, world, made, session="sid-1")
    answer = await browser.post(
        f"/auth/methods/{made.id}/backchannel-logout", data={} if token is None else {"logout_token": token}
    )
    assert answer.status_code in (400, 503), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert await status(browser, headers) == 200


async def test_a_body_of_another_kind_is_refused_without_being_kept(browser, made):
    for body in ({"json": {"logout_token": "x"}}, {"content": b"\xff\xfe"}, {}):
        answer = await browser.post(f"/auth/methods/{made.id}/backchannel-logout", **body)
        assert answer.status_code == 400, answer.text
        assert answer.headers["cache-control"] == "no-store"


async def test_a_directory_tells_of_no_sign_outs(browser, method):
    made = await method(kind="fake-directory")
    answer = await tell(browser, made, genuine(session="x"))
    assert (answer.status_code, answer.json()["code"]) == (400, "logout-token-invalid")
    assert (
        await browser.post(f"/auth/methods/{uuid4()}/backchannel-logout", data={"logout_token": "x"})
    ).status_code == 404


async def test_keys_that_cannot_be_fetched_are_our_fault_and_the_token_stays_good(browser, made, world):
    headers = await signed_in(browser, world, made, session="sid-1")
    token = genuine(session="sid-1")
    world.faults["read_logout"] = BackendUnavailable("no keys")
    answer = await tell(browser, made, token)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")
    world.faults.clear()
    assert (await tell(browser, made, token)).status_code == 200
    assert await status(browser, headers) == 401


async def test_a_notice_that_names_nobody_ends_nothing(browser, made, world):
    headers = await signed_in(browser, world, made, session="sid-1")

    async def nobody(_token):
        return LogoutNotice(made.issuer)

    world.faults["read_logout"] = nobody
    assert (await tell(browser, made, "x")).status_code == 503
    assert await status(browser, headers) == 200


async def test_it_is_heard_for_a_method_that_is_switched_off_and_an_organisation_that_is_suspended(
    browser, made, world, owner, system, count
):
    await signed_in(browser, world, made, session="sid-1")
    await owner.patch(f"/login-methods/{made.id}", json={"enabled": False})
    async with system(owner.tenant_id) as work:
        await work.session.execute(update(Tenant).where(Tenant.id == owner.tenant_id).values(state="suspended"))
    assert (await tell(browser, made, genuine(session="sid-1"))).status_code == 200
    assert await count("sessions", f"login_method_id = '{made.id}' AND revoked_at IS NULL") == 0
