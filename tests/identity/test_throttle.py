"""Guessing passwords: slower and slower, then not at all, whatever is tried at once."""

import asyncio
import contextlib
from dataclasses import replace
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as RedisDown

from folkmoot.identity import passwords, throttle
from folkmoot.identity.service import UserService
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.throttle import Locked, Throttle
from folkmoot.kit.access import Principal
from folkmoot.kit.caller import Caller, called_by, network_of
from folkmoot.kit.errors import NotSignedIn
from folkmoot.tenants.models import PLATFORM
from tests.identity.browsing import address, at, events_of, login, noted, until
from tests.support.people import PASSWORD

WRONG = "wrong password"


@pytest.fixture
async def browser(api):
    async with at(api) as client:
        yield client


@pytest.fixture
def patient(monkeypatch):
    """Delays are so short that nobody notices them."""
    monkeypatch.setattr(throttle, "LONGEST_DELAY", 0)


@pytest.fixture
def checked(monkeypatch):
    """The passwords that were looked at."""
    seen = []
    matches = passwords.matches

    async def noting(password, stored):
        seen.append(password)
        return await matches(password, stored)

    monkeypatch.setattr(passwords, "matches", noting)
    return seen


async def test_after_a_few_failures_one_has_to_wait_and_longer_each_time(browser, owner):
    for _ in range(throttle.FREE):
        assert (await login(browser, owner, WRONG)).json()["code"] == "invalid-credentials"
    waits = []
    for _ in range(3):
        refused = await login(browser, owner)
        assert (refused.status_code, refused.json()["code"]) == (429, "too-many-attempts")
        waits.append(int(refused.headers["retry-after"]))
    assert waits == sorted(set(waits))


async def test_after_so_many_failures_not_even_the_right_password_opens(browser, owner, patient, superuser):
    for _ in range(10):
        assert (await login(browser, owner, WRONG)).status_code == 401
    refused = await login(browser, owner)
    assert (refused.status_code, refused.json()["code"]) == (429, "account-locked")
    assert 800 < int(refused.headers["retry-after"]) <= 900
    told = [found for found in await events_of(superuser, owner) if found[0] == "account.locked"]
    assert told == [("account.locked", {"reason": "password"})]
    await noted(superuser, "user_id = :u AND data ->> 'reason' = 'account-locked'", u=owner.user.id)


async def test_who_does_not_wait_is_locked_out_sooner_and_nothing_is_looked_at(browser, owner, checked, superuser):
    answers = [await login(browser, owner, WRONG) for _ in range(12)]
    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["invalid-credentials"] * 5 + ["too-many-attempts"] * 4 + ["account-locked"] * 3
    assert len(checked) == 5
    locked = await noted(superuser, "user_id = :u AND action = 'account.locked'", u=owner.user.id)
    assert len(locked) == 1


async def test_an_account_that_nobody_has_is_locked_just_the_same(browser, superuser):
    email = f"{uuid4().hex}@nowhere.example"
    answers = [await browser.post("/auth/login", json={"email": email, "password": WRONG}) for _ in range(12)]
    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["invalid-credentials"] * 5 + ["too-many-attempts"] * 4 + ["account-locked"] * 3
    found = await noted(superuser, "tenant_id = :t AND data ->> 'reason' = 'account-locked'", t=PLATFORM)
    assert email not in str(found)


async def test_the_email_counts_as_one_account_however_it_is_written(browser, owner, patient):
    for spelling in (str.upper, str.title, str.lower):
        for _ in range(4):
            email = spelling(owner.user.email)
            await browser.post("/auth/login", json={"email": f" {email}"[1:], "password": WRONG})
    assert (await login(browser, owner)).json()["code"] == "account-locked"


async def test_many_guesses_at_once_get_no_further_than_one_after_the_other(browser, owner, checked):
    answers = await asyncio.gather(*(login(browser, owner, f"guess {number}") for number in range(50)))
    assert len(checked) <= 10
    assert {answer.status_code for answer in answers} == {401, 429}
    assert (await login(browser, owner)).json()["code"] == "account-locked"


async def test_many_right_sign_ins_at_once_all_get_in(browser, owner):
    answers = await asyncio.gather(*(login(browser, owner, body=True) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def test_the_right_password_clears_the_account_but_not_the_address(api, owner, tenancy, changed):
    app, ip = changed(login_attempts_per_address=6), address()
    others = [await tenancy.colleague(owner) for _ in range(2)]

    async def attempt(person, password):
        with called_by(Caller("", ip)):
            return await SignIn(app).login(person.user.email, password)

    for _ in range(4):
        with pytest.raises(NotSignedIn):
            await attempt(owner, WRONG)
    await attempt(owner, PASSWORD)
    for person in others:
        with pytest.raises(NotSignedIn):
            await attempt(person, WRONG)
    with pytest.raises(Locked) as refused:
        await attempt(owner, PASSWORD)
    assert refused.value.code == "address-locked"
    async with at(api) as elsewhere:
        for _ in range(4):
            assert (await login(elsewhere, owner, WRONG)).json()["code"] == "invalid-credentials"
        assert (await login(elsewhere, owner)).status_code == 200


async def test_signing_in_to_ones_own_organisation_gives_no_new_guesses_at_another(app, owner, tenancy):
    email = owner.user.email
    own, name = await tenancy.tenant()
    async with app.begin(Principal.system(own)) as work:
        await UserService(work).create(email, await passwords.hash_password("the guesser's own one"), role="owner")
    codes = []
    for number in range(throttle.FREE + 3):
        with called_by(Caller("", address())):
            try:
                await SignIn(app).login(email, f"{WRONG} {number}", owner.tenant_name)
            except (NotSignedIn, Locked) as refusal:
                codes.append(refusal.code)
            with contextlib.suppress(Locked):
                await SignIn(app).login(email, "the guesser's own one", name)
            await Throttle(app).forgive(email)
    assert codes.count("invalid-credentials") == throttle.FREE, codes
    assert codes[-1] in ("too-many-attempts", "account-locked")


async def test_an_address_gets_no_further_by_guessing_at_many_accounts_at_once(changed):
    app, ip = changed(login_attempts_per_address=7), address()

    async def guess():
        try:
            await SignIn(app).login(f"{uuid4().hex}@nowhere.example", WRONG)
        except Locked as refusal:
            return refusal.code
        except NotSignedIn as refusal:
            return refusal.code

    with called_by(Caller("", ip)):
        codes = await asyncio.gather(*(guess() for _ in range(30)))
    assert codes.count("invalid-credentials") == 7
    assert codes.count("address-locked") == 23


async def test_an_ipv6_address_is_the_network_that_somebody_has(changed):
    app = changed(login_attempts_per_address=2)
    network = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}"
    for end in ("1", "ffff:2"):
        with called_by(Caller("", f"{network}::{end}")), pytest.raises(NotSignedIn):
            await SignIn(app).login(f"{uuid4().hex}@nowhere.example", WRONG)
    with called_by(Caller("", f"{network}:a:b:c:d")), pytest.raises(Locked) as refused:
        await SignIn(app).login(f"{uuid4().hex}@nowhere.example", WRONG)
    assert refused.value.code == "address-locked"


async def test_an_ipv4_address_in_the_form_of_ipv6_is_the_same_address():
    assert network_of("::ffff:192.0.2.7") == network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") == network_of("2001:db8::1%eth0")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")


async def test_a_new_password_by_link_unlocks_the_account(browser, owner, app, patient):
    for _ in range(11):
        await login(browser, owner, WRONG)
    await Throttle(app).forgive(owner.user.email)
    assert (await login(browser, owner)).status_code == 200


async def test_somebody_who_hangs_up_gives_the_place_back(app):
    email = f"{uuid4().hex}@nowhere.example"
    holding = Throttle(app)

    async def hang() -> None:
        async with holding.attempt(email):
            await asyncio.Event().wait()

    waiting = [asyncio.create_task(hang()) for _ in range(throttle.FREE)]
    key = f"folkmoot:guess:account:{holding.fingerprint(email)}:held"

    async def held(number: int) -> bool:
        return await app.redis.zcard(key) == number

    await until(lambda: held(throttle.FREE))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await until(lambda: held(0))


async def test_who_waits_too_long_for_a_place_is_told_to_come_back(app, monkeypatch):
    monkeypatch.setattr(throttle, "PATIENCE_SECONDS", 0.0)
    limits = Throttle(app)
    email = f"{uuid4().hex}@nowhere.example"
    async with limits.attempt(email), limits.attempt(email), limits.attempt(email), limits.attempt(email):
        async with limits.attempt(email):
            with pytest.raises(Locked) as refused:
                async with limits.attempt(email):
                    pass
    assert refused.value.code == "too-many-attempts"


async def test_without_redis_people_get_in(app, owner):
    class Gone:
        async def eval(self, *_given):
            raise RedisDown("gone")

        def pipeline(self, **_given):
            raise RedisDown("gone")

    without = replace(app, redis=Gone())
    assert (await SignIn(without).login(owner.user.email, PASSWORD)).access_token
    with pytest.raises(NotSignedIn):
        await SignIn(without).login(owner.user.email, WRONG)
