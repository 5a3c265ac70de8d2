"""A backend may be slow, raise anything and answer anything: nobody gets in by it, and nothing breaks."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from folkmoot_sdk import AccountNotAllowed, ExternalIdentity, RedirectStart
from folkmoot_sdk.context import anywhere

from folkmoot.federation import backends
from folkmoot.federation.backends import Backends
from folkmoot.federation.models import LoginMethod
from folkmoot.kit.access import Principal
from folkmoot.plugins.manager import PluginManager
from tests.federation import fakes
from tests.federation.fakes import CLIENT_SECRET, never

GOOD = {"issuer": "https://id.example", "subject": "42", "email": "ada@hostile.example", "email_verified": True}


class Ugly(BaseException):
    """Not even an Exception."""


@pytest.fixture
async def made(method):
    return await method(create=True)


@pytest.fixture
def hurried(monkeypatch):
    """Backends have half a second."""
    monkeypatch.setattr(backends.Backends.call, "__kwdefaults__", {"seconds": 0.5})
    fakes.never_again.clear()
    yield
    fakes.never_again.set()


async def complete(browser, world, made, value):
    """What the browser is told when the backend says that `value` signed in."""

    async def says(*_arguments):
        return value

    world.faults["complete"] = value if isinstance(value, BaseException) else says
    world.people[made.issuer]["x"] = ("", None)
    return await browser.goes_to(await browser.get(f"/auth/methods/{made.id}/start"), "x")


@pytest.mark.parametrize(
    "identity",
    [
        None,
        "42",
        {"issuer": "https://id.example", "subject": "42"},
        RedirectStart("https://a.example", "s" * 20, {}),
        ExternalIdentity(**GOOD | {"subject": ""}),
        ExternalIdentity(**GOOD | {"subject": "   "}),
        ExternalIdentity(**GOOD | {"subject": None}),
        ExternalIdentity(**GOOD | {"subject": 42}),
        ExternalIdentity(**GOOD | {"subject": ["42"]}),
        ExternalIdentity(**GOOD | {"subject": "a\x00b"}),
        ExternalIdentity(**GOOD | {"subject": "\ud800"}),
        ExternalIdentity(**GOOD | {"subject": "x" * 1_000_000}),
        ExternalIdentity(**GOOD | {"issuer": ""}),
        ExternalIdentity(**GOOD | {"issuer": "å" * 600}),
        ExternalIdentity(**GOOD | {"issuer": b"https://id.example"}),
        ExternalIdentity(**GOOD | {"groups": "admins"}),
        ExternalIdentity(**GOOD | {"groups": 7}),
        ExternalIdentity(**GOOD | {"groups": ("g",) * 100_000}),
        ExternalIdentity(**GOOD | {"session": "x" * 1_000_000}),
        ExternalIdentity(**GOOD | {"session": 7}),
        ExternalIdentity(**GOOD | {"logout_hint": "x" * 1_000_000}),
        ExternalIdentity(**GOOD | {"logout_hint": {"a": 1}}),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_what_names_nobody_lets_nobody_in(browser, made, world, count, owner, identity):
    answer = await complete(browser, world, made, identity)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")
    assert await count("external_accounts", f"tenant_id = '{owner.tenant_id}'") == 0


@pytest.mark.parametrize(
    "more",
    [
        {"claims": {"x": "y" * 5_000_000}},
        {"claims": None},
        {"name": 7},
        {"name": "A\x00d\na\u202e" + "x" * 5000},
        {"groups": (None, 7, "g" * 10_000, b"admins", ["boss"])},
        {"groups": ["office"]},
        {"email_verified": "false"},
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_what_is_beside_the_point_is_left_out(browser, made, world, more):
    address = f"{uuid4().hex[:12]}@hostile.example"
    identity = ExternalIdentity(**GOOD | {"subject": uuid4().hex, "email": address} | more)
    answer = await complete(browser, world, made, identity)
    assert answer.status_code == 303, answer.text
    told = (await browser.me())["user"]
    assert told["email"] == address
    assert len(told["name"]) <= 200
    assert told["name"].isprintable()


@pytest.mark.parametrize(
    "email", ["no address", 7, "a@b\x00", "x" * 400 + "@b.example", "a@b@c", "<a@b.example>", "a b@c.example"]
)
async def test_an_odd_email_is_none(browser, made, world, email):
    answer = await complete(browser, world, made, ExternalIdentity(**GOOD | {"email": email}))
    assert (answer.status_code, answer.json()["code"]) == (403, "account-not-allowed")


async def test_only_true_is_verified(browser, owner, made, world):
    await owner.patch(f"/login-methods/{made.id}", json={"provisioning": {"allowed_domains": ["hostile.example"]}})
    for said in ("true", 1, "false", [True], None):
        answer = await complete(browser, world, made, ExternalIdentity(**GOOD | {"email_verified": said}))
        assert answer.json()["code"] == "account-not-allowed", said
    assert (await complete(browser, world, made, ExternalIdentity(**GOOD))).status_code == 303


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CLIENT_SECRET),
        RecursionError(),
        KeyboardInterrupt(),
        SystemExit(3),
        asyncio.CancelledError(),
        StopAsyncIteration(),
        GeneratorExit(),
        Ugly(),
        BaseExceptionGroup("many", [ValueError("x")]),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", ["connect", "begin", "complete"])
async def test_whatever_it_raises_is_an_answer(browser, owner, made, world, events, error, where):
    world.people[made.issuer]["x"] = ("", None)
    world.faults[where] = error
    start = await browser.get(f"/auth/methods/{made.id}/start")
    answer = await browser.goes_to(start, "x") if where == "complete" else start
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable"), answer.text
    assert CLIENT_SECRET not in answer.text
    world.faults.clear()
    assert (await browser.get(f"/auth/methods/{made.id}/start")).status_code == 302
    assert [event["data"]["reason"] for event in await events(owner.tenant_id, "session.failed")] == [
        "provider-unavailable"
    ]


@pytest.mark.parametrize("where", ["connect", "begin", "complete"])
async def test_one_that_never_answers_is_left_behind(browser, made, world, hurried, where):
    world.people[made.issuer]["x"] = ("", None)
    world.faults[where] = never
    start = await browser.get(f"/auth/methods/{made.id}/start")
    answer = await browser.goes_to(start, "x") if where == "complete" else start
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")
    world.faults.clear()
    assert (await browser.get(f"/auth/methods/{made.id}/start")).status_code == 302


async def test_one_organisation_waits_for_nobody_elses_provider(browser, browsers, tenancy, method, world, hurried):
    made = await method()
    other = await method(by=await tenancy.owner())

    async def slow_for_one(config):
        if config.issuer == made.issuer:
            await never()
        return fakes.Provider(world, config)

    world.faults["connect"] = slow_for_one
    waiting = asyncio.create_task(browser.get(f"/auth/methods/{made.id}/start"))
    assert (await browsers().get(f"/auth/methods/{other.id}/start")).status_code == 302
    assert not waiting.done()
    assert (await waiting).status_code == 503


@pytest.mark.parametrize("connection", [None, 7, object(), "backend"])
async def test_a_connection_that_is_none_is_not_used(browser, made, world, connection):
    async def odd(_config):
        return connection

    world.faults["connect"] = odd
    answer = await browser.get(f"/auth/methods/{made.id}/start")
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")


@pytest.mark.parametrize(
    "start",
    [
        None,
        "https://id.example",
        RedirectStart("javascript:alert(1)", "s" * 30, {}),
        RedirectStart("data:text/html,x", "s" * 30, {}),
        RedirectStart("//evil.example", "s" * 30, {}),
        RedirectStart("https://", "s" * 30, {}),
        RedirectStart("https://id.example/\r\nSet-Cookie: a=b", "s" * 30, {}),
        RedirectStart("https://id.example/" + "x" * 10_000, "s" * 30, {}),
        RedirectStart(None, "s" * 30, {}),
        RedirectStart("https://id.example", "short", {}),
        RedirectStart("https://id.example", "s" * 1000, {}),
        RedirectStart("https://id.example", "\x00" * 30, {}),
        RedirectStart("https://id.example", None, {}),
        RedirectStart("https://id.example", "s" * 30, None),
        RedirectStart("https://id.example", "s" * 30, {"a": 1}),
        RedirectStart("https://id.example", "s" * 30, {1: "a"}),
        RedirectStart("https://id.example", "s" * 30, {"a": "x" * 1_000_000}),
        RedirectStart("https://id.example", "s" * 30, {str(number): "x" for number in range(100)}),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_start_that_leads_nowhere_good_is_not_followed(browser, made, world, start):
    async def says(_uri):
        return start

    world.faults["begin"] = says
    answer = await browser.get(f"/auth/methods/{made.id}/start")
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")
    assert "location" not in answer.headers


async def test_a_state_that_everybody_gets_is_nobodys(browser, browsers, made, world):
    state = uuid4().hex

    async def says(_uri):
        return RedirectStart("https://id.example", state, {})

    world.faults["begin"] = says
    assert (await browser.get(f"/auth/methods/{made.id}/start")).status_code == 302
    second = await browsers().get(f"/auth/methods/{made.id}/start")
    assert (second.status_code, second.json()["code"]) == (503, "provider-unavailable")


async def test_what_a_plugin_says_is_cut_and_cleaned(browser, made, world):
    answer = await complete(browser, world, made, AccountNotAllowed("no\r\nnever\x00 " + "x" * 100_000))
    detail = answer.json()["detail"]
    assert detail.isprintable()
    assert len(detail) <= 500


async def test_the_process_that_ends_closes_what_is_open_and_leaves_what_hangs(app, owner, made, world, browser):
    await browser.get(f"/auth/methods/{made.id}/start")
    own = Backends(app.part(PluginManager), app.keyring, httpx.AsyncClient(), anywhere)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        row = await work.session.get(LoginMethod, made.id)
    before = world.closed
    assert await own.type_of(row) == "redirect"
    await own.close()
    assert world.closed == before + 1
