"""The second factor, from the first code to the last recovery code."""

import asyncio
import time
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from pyotp import TOTP
from sqlalchemy import text

from folkmoot.identity import second_factor, throttle
from folkmoot.identity.models import User
from folkmoot.identity.sign_in import SignIn
from folkmoot.kit.access import Principal
from folkmoot.kit.envelope import Keyring
from folkmoot.tenants.service import TenantService
from tests.identity.browsing import at, bearer, events_of, login, me
from tests.support.keyrings import Changing
from tests.support.people import PASSWORD


@pytest.fixture
async def browser(api):
    async with at(api) as client:
        yield client


class Authenticator:
    """A telephone, whose clock the test sets."""

    def __init__(self, secret: str) -> None:
        self.totp = TOTP(secret)
        self.step = int(time.time()) // 30

    def code(self, steps: int = 0) -> str:
        return self.totp.generate_otp(self.step + steps)


@pytest.fixture
def clock(monkeypatch):
    """Time as the service sees it, standing still: `clock.now += 30`."""

    class Clock:
        now = time.time()

        def time(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(second_factor, "time", made)
    return made


async def enrol(person):
    begun = await person.post("/me/second-factor", json={"password": PASSWORD})
    assert begun.status_code == 201, begun.text
    phone = Authenticator(begun.json()["secret"])
    confirmed = await person.post("/me/second-factor/confirm", json={"code": phone.code()})
    assert confirmed.status_code == 200, confirmed.text
    return phone, confirmed.json()["recovery_codes"]


def told(answer):
    return answer.status_code, answer.json().get("code")


async def test_an_authenticator_is_set_up_with_a_secret_and_a_first_code(owner, clock, superuser, count):
    begun = await owner.post("/me/second-factor", json={"password": PASSWORD})
    assert begun.headers["cache-control"] == "no-store"
    uri = urlsplit(begun.json()["uri"])
    asked = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert asked["secret"] == [begun.json()["secret"]]
    assert asked["issuer"] == ["Folkmoot"]
    assert owner.user.email.split("@")[0] in uri.path
    assert (await owner.get("/me")).json()["second_factor"] is False
    wrong = await owner.post("/me/second-factor/confirm", json={"code": "000000"})
    assert told(wrong) == (400, "second-factor-wrong")
    code = Authenticator(begun.json()["secret"]).code()
    confirmed = await owner.post("/me/second-factor/confirm", json={"code": f"{code[:3]} {code[3:]}"})
    codes = confirmed.json()["recovery_codes"]
    assert len(set(codes)) == 10
    assert (await owner.get("/me")).json()["second_factor"] is True
    found = await events_of(superuser, owner)
    assert found[-1] == ("second_factor.enabled", {})
    async with superuser.connect() as connection:
        row = str((await connection.execute(text("SELECT * FROM users WHERE id = :u"), {"u": owner.user.id})).one())
    for secret in [begun.json()["secret"], *codes, *(code.replace("-", "").upper() for code in codes)]:
        assert secret not in row


async def test_until_a_code_is_confirmed_one_signs_in_without(browser, owner):
    await owner.post("/me/second-factor", json={"password": PASSWORD})
    assert (await login(browser, owner)).status_code == 200


async def test_setting_it_up_needs_the_password_and_happens_once(owner, clock):
    wrong = await owner.post("/me/second-factor", json={"password": "wrong password"})
    assert told(wrong) == (400, "password-wrong")
    early = await owner.post("/me/second-factor/confirm", json={"code": "123456"})
    assert told(early) == (409, "second-factor-not-begun")
    await enrol(owner)
    again = await owner.post("/me/second-factor", json={"password": PASSWORD})
    assert told(again) == (409, "second-factor-exists")
    assert told(await owner.post("/me/second-factor/confirm", json={"code": "123456"})) == (409, "second-factor-exists")


async def test_the_first_code_cannot_be_guessed_by_who_sits_at_the_desk(owner, clock, superuser):
    begun = await owner.post("/me/second-factor", json={"password": PASSWORD})
    phone = Authenticator(begun.json()["secret"])
    wrong = next(code for code in ("000000", "111111") if code not in {phone.code(steps) for steps in (-1, 0, 1)})
    answers = [await owner.post("/me/second-factor/confirm", json={"code": wrong}) for _ in range(throttle.FREE + 1)]
    assert [told(answer) for answer in answers[:-1]] == [(400, "second-factor-wrong")] * throttle.FREE
    assert told(answers[-1]) == (429, "too-many-attempts")
    failed = [data for action, data in await events_of(superuser, owner) if action == "session.failed"]
    assert failed == [{"reason": "second-factor-wrong", "signed_in": True}] * throttle.FREE


async def test_signing_in_asks_for_a_code_once_the_password_was_right(browser, owner, clock):
    phone, _ = await enrol(owner)
    clock.now += 60
    assert told(await login(browser, owner, "wrong password")) == (401, "invalid-credentials")
    assert told(await login(browser, owner, "wrong password", code=phone.code(2))) == (401, "invalid-credentials")
    assert told(await login(browser, owner)) == (401, "second-factor-required")
    assert told(await login(browser, owner, code="")) == (401, "second-factor-required")
    assert told(await login(browser, owner, code="000000")) == (401, "second-factor-wrong")
    signed = await login(browser, owner, code=phone.code(2))
    assert signed.status_code == 200
    assert (await me(browser, signed.json()["access_token"])).status_code == 200


async def test_no_code_is_good_twice(browser, owner, clock):
    phone, _ = await enrol(owner)
    assert told(await login(browser, owner, code=phone.code())) == (401, "second-factor-wrong")
    clock.now += 30
    assert (await login(browser, owner, code=phone.code(1))).status_code == 200
    assert told(await login(browser, owner, code=phone.code(1))) == (401, "second-factor-wrong")
    # Nor is the one before it, which a slow telephone would still show.
    assert told(await login(browser, owner, code=phone.code(0))) == (401, "second-factor-wrong")


async def test_of_several_sign_ins_with_one_code_one_wins(browser, owner, clock):
    phone, codes = await enrol(owner)
    clock.now += 30
    for code in (phone.code(1), codes[0]):
        answers = await asyncio.gather(*(login(browser, owner, code=code, body=True) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_the_clock_of_a_telephone_may_be_half_a_minute_off(browser, owner, clock):
    phone, _ = await enrol(owner)
    clock.now += 300
    assert (await login(browser, owner, code=phone.code(9))).status_code == 200
    clock.now += 300
    assert (await login(browser, owner, code=phone.code(21))).status_code == 200
    clock.now += 300
    for steps in (28, 32):
        assert told(await login(browser, owner, code=phone.code(steps))) == (401, "second-factor-wrong")


@pytest.mark.parametrize(
    "code", ["12345", "1234567", "١٢٣٤٥٦", "-12345", "+12345", "abcdef", "0" * 100, "💥💥💥💥💥💥"]
)
async def test_what_is_no_code_is_a_wrong_one(browser, owner, clock, code):
    await enrol(owner)
    assert told(await login(browser, owner, code=code)) == (401, "second-factor-wrong")


async def test_a_recovery_code_is_good_once(browser, owner, clock, superuser):
    _, codes = await enrol(owner)
    assert (await login(browser, owner, code=codes[3])).status_code == 200
    assert told(await login(browser, owner, code=codes[3])) == (401, "second-factor-wrong")
    assert (await login(browser, owner, code=codes[4].upper().replace("-", " "))).status_code == 200
    used = [data for action, data in await events_of(superuser, owner) if action == "second_factor.recovery_used"]
    assert used == [{"left": 9}, {"left": 8}]


async def test_the_recovery_codes_of_another_are_of_no_use(browser, owner, tenancy, clock):
    other = await tenancy.colleague(owner)
    _, codes = await enrol(other)
    await enrol(owner)
    assert told(await login(browser, owner, code=codes[0])) == (401, "second-factor-wrong")


async def test_new_recovery_codes_void_the_old_ones(browser, owner, clock):
    phone, old = await enrol(owner)
    clock.now += 30
    proof = {"password": PASSWORD, "code": phone.code(1)}
    new = (await owner.post("/me/second-factor/recovery-codes", json=proof)).json()["recovery_codes"]
    assert not set(new) & set(old)
    assert told(await login(browser, owner, code=old[0])) == (401, "second-factor-wrong")
    assert (await login(browser, owner, code=new[0])).status_code == 200
    used = await owner.post("/me/second-factor/recovery-codes", json=proof)
    assert told(used) == (400, "second-factor-wrong")


async def test_guessing_codes_locks_the_account_even_for_who_has_the_password(browser, owner, clock, monkeypatch):
    monkeypatch.setattr(throttle, "LONGEST_DELAY", 0)
    phone, _ = await enrol(owner)
    clock.now += 30
    for number in range(10):
        # The right password alone clears nothing.
        assert told(await login(browser, owner)) == (401, "second-factor-required")
        assert told(await login(browser, owner, code=f"00000{number}")) == (401, "second-factor-wrong")
    assert told(await login(browser, owner, code=phone.code(1))) == (429, "account-locked")


async def remove(person, **proof):
    return await person.request("DELETE", "/me/second-factor", json=proof)


async def test_it_is_taken_away_with_password_and_code(browser, owner, clock, superuser):
    assert (await remove(owner, password=PASSWORD, code="123456")).status_code == 404
    phone, _ = await enrol(owner)
    clock.now += 30
    assert told(await remove(owner, password="wrong password", code=phone.code(1))) == (400, "password-wrong")
    assert told(await remove(owner, password=PASSWORD, code="000000")) == (400, "second-factor-wrong")
    assert (await login(browser, owner)).status_code == 401
    assert (await remove(owner, password=PASSWORD, code=phone.code(1))).status_code == 204
    assert (await login(browser, owner)).status_code == 200
    assert ("second_factor.disabled", {"by": "self"}) in await events_of(superuser, owner)


async def test_an_administrator_can_take_it_away(browser, owner, tenancy, app, clock, superuser):
    person = await tenancy.colleague(owner)
    await enrol(person)
    administrator = Principal(tenant_id=owner.tenant_id, user_id=owner.user.id, kind="user")
    async with app.begin(administrator) as work:
        user = await work.session.get_one(User, person.user.id)
        assert second_factor.remove(work, user) is True
    async with app.begin(administrator) as work:
        assert second_factor.remove(work, await work.session.get_one(User, person.user.id)) is False
    assert (await login(browser, person)).status_code == 200
    disabled = [data for action, data in await events_of(superuser, person) if action == "second_factor.disabled"]
    assert disabled == [{"by": "other"}]


async def asked_for(app, person):
    async with app.begin(Principal.platform()) as work:
        (await TenantService(work).get(person.tenant_id)).settings = {"require_second_factor": True}


async def test_where_it_is_asked_for_nothing_else_works_until_it_is_there(owner, app, clock):
    await asked_for(app, owner)
    for path in ("/spaces", "/models", "/users"):
        assert told(await owner.get(path)) in [(403, "second-factor-needed"), (405, "method-not-allowed")]
    assert told(await owner.get("/spaces")) == (403, "second-factor-needed")
    assert told(await owner.post("/me/password", json={})) == (403, "second-factor-needed")
    assert (await owner.get("/me")).json()["second_factor_needed"] is True
    assert (await owner.get("/me/sessions")).status_code == 200
    await enrol(owner)
    assert (await owner.get("/me")).json()["second_factor_needed"] is False
    assert (await owner.get("/spaces")).status_code == 200


async def test_who_has_yet_to_set_it_up_can_sign_out(owner, app):
    await asked_for(app, owner)
    assert (await owner.post("/auth/logout")).status_code == 204


async def test_it_is_not_asked_of_who_signs_in_elsewhere(browser, owner, app):
    await asked_for(app, owner)
    signed = await SignIn(app).open(owner.user, method="oidc")
    assert (await browser.get("/spaces", headers=bearer(signed.access_token))).status_code == 200


def test_one_recovery_code_is_stored_differently_for_each_person_and_tenant():
    keyring, tenant = Keyring([b"k" * 32]), uuid4()
    people = [
        User(id=uuid4(), tenant_id=tenant),
        User(id=uuid4(), tenant_id=tenant),
        User(id=uuid4(), tenant_id=uuid4()),
    ]
    assert len({second_factor._recovery_hashes(keyring, user, "A" * 16)[0] for user in people}) == 3


async def test_recovery_codes_outlive_a_change_of_the_root():
    user, store = User(id=uuid4(), tenant_id=uuid4()), Changing()
    keyring = await store.keyring()
    (code, *_) = second_factor._new_codes(keyring, user)
    plain = code.replace("-", "").upper()
    await store.new_root(keyring, keep=["recovery-code"])
    assert second_factor._recovery_hashes(keyring, user, plain)[1:] == user.recovery_codes[:1]
