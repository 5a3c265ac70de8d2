"""Links that let somebody in: what they are worth, for how long, and what reaches the mail server."""

import asyncio
import base64
import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from folkmoot.assemble import assemble
from folkmoot.identity import links, mailing
from folkmoot.identity.link_tokens import read, token_of
from folkmoot.identity.links import Links, accept_for_external
from folkmoot.identity.models import Link, User
from folkmoot.identity.service import UserService
from folkmoot.identity.tasks import find_unsent_mail
from folkmoot.kit.access import Principal
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import AppError
from folkmoot.kit.jobs import DELAYED
from folkmoot.kit.recorder import Recorder
from folkmoot.main import create_app
from folkmoot.settings import LANES
from folkmoot.tenants.models import PLATFORM
from folkmoot.tenants.service import TenantService
from folkmoot.worker import working
from tests.identity.browsing import events
from tests.support.keyrings import Changing
from tests.support.people import PASSWORD
from tests.support.post_office import Mailbox, serving

NEW = "another four words"
SECONDS = 30
BUSY = "451 4.3.0 come back later"


def address() -> str:
    return f"{uuid4().hex[:12]}@people.example"


def code(response):
    return response.status_code, response.json().get("code")


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not (found := await condition()):  # noqa: ASYNC110 - the condition lies in a database
            await asyncio.sleep(0.02)
        return found


async def make(app, user, purpose="reset"):
    async with app.begin(Principal.system(user.tenant_id)) as work:
        return await Links(app).make(work, await work.session.get(User, user.id), purpose)


async def refused(awaitable):
    with pytest.raises(AppError) as error:
        await awaitable
    return error.value.code


@pytest.fixture
async def person(owner, tenancy):
    return await tenancy.colleague(owner)


@pytest.fixture
async def invited(owner, app):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        return await UserService(work).create(address(), None, state="invited")


@pytest.fixture
async def change(superuser):
    """Changes rows behind everybody's back."""

    async def changing(statement, **values):
        async with superuser.begin() as connection:
            await connection.execute(text(statement), values)

    return changing


# What a link is worth


async def test_the_token_is_nowhere_but_in_the_link(app, person, superuser):
    token = token_of(app.keyring, await make(app, person.user))
    raw = base64.urlsafe_b64decode(token.removeprefix("fml_") + "==")
    async with superuser.connect() as connection:
        rows = await connection.execute(text("SELECT to_jsonb(l)::text FROM links l UNION ALL SELECT to_jsonb(e)::text"
                                             " FROM events e WHERE action LIKE 'link.%'"))  # fmt: skip
        everything = "".join(row[0] for row in rows)
    assert token not in everything
    assert token[-40:] not in everything
    assert raw[32:].hex() not in everything


async def test_every_changed_token_is_refused(app, person, stranger):
    link = await make(app, person.user)
    token = token_of(app.keyring, link)
    assert read(app.keyring, token).link_id == link.id
    raw = base64.urlsafe_b64decode(token.removeprefix("fml_") + "==")
    spoilt = [
        "fml_" + base64.urlsafe_b64encode(bytes([*raw[:at], raw[at] ^ 1, *raw[at + 1 :]])).decode().rstrip("=")
        for at in range(len(raw))
    ]
    other = Keyring(b"x" * 32)
    spoilt += [
        token[4:],
        token[:-1],
        token + "A",
        token + "=",
        " " + token,
        "fmr_" + token[4:],
        "fml_",
        "fml_" + "A" * 86,
    ]
    spoilt += [token_of(other, link), "é" * 90, "fml_" + "\x00" * 86]
    for bad in spoilt:
        with pytest.raises(AppError) as error:
            read(app.keyring, bad)
        assert error.value.code == "link-invalid", bad
    for path, more in [("link", {}), ("link/accept", {"password": NEW})]:
        for bad in [*spoilt[:3], "x", token[4:]]:
            answer = await stranger.post(f"/api/v1/auth/{path}", json={"token": bad, **more})
            assert code(answer) == (400, "link-invalid")


async def test_a_link_that_lets_nobody_in_is_an_event_of_whoever_it_concerns(app, owner, person, stranger, superuser):
    link = await make(app, person.user)
    token = token_of(app.keyring, link)
    await Links(app).accept(token, NEW)
    for path, given in (("link", token), ("link/accept", token), ("link/accept", token[:-1] + "!")):
        body = {"token": given} | ({"password": NEW} if path != "link" else {})
        assert (await stranger.post(f"/api/v1/auth/{path}", json=body, headers={"X-Request-ID": link.id.hex})).is_error
    await app.part(Recorder).flush()
    said = "request_id = :id AND action = 'link.refused' AND tenant_id = :of"
    theirs = await events(superuser, said, id=link.id.hex, of=owner.tenant_id)
    ours = await events(superuser, said, id=link.id.hex, of=PLATFORM)
    assert [data for _, data in theirs] == [{"code": "link-used"}] * 2
    assert [data for _, data in ours] == [{"code": "link-invalid"}]


async def test_a_link_of_before_a_rotation_of_the_root_is_still_good_while_it_is_kept(app, person):
    link, store = await make(app, person.user), Changing()
    keyring = await store.keyring()
    token = token_of(keyring, link)
    await store.new_root(keyring, keep=["link"])
    assert read(keyring, token).link_id == link.id
    assert token_of(keyring, link) != token
    store.take("link", 1)
    await keyring.look()
    with pytest.raises(AppError):
        read(keyring, token)


async def test_a_link_of_one_organisation_does_not_name_a_person_of_another(app, owner, tenancy, stranger):
    other = await tenancy.owner()
    link = await make(app, owner.user)
    moved = Link(id=link.id, tenant_id=other.tenant_id)
    answer = await stranger.post("/api/v1/auth/link", json={"token": token_of(app.keyring, moved)})
    assert code(answer) == (400, "link-invalid")


async def test_a_link_is_good_once(app, person):
    token = token_of(app.keyring, await make(app, person.user))
    words = [f"four words number {number}" for number in range(4)]
    answers = await asyncio.gather(*(Links(app).accept(token, word) for word in words), return_exceptions=True)
    lost = [answer.code for answer in answers if isinstance(answer, AppError)]
    assert lost == ["link-used"] * 3
    assert await refused(Links(app).look(token)) == "link-used"


async def test_the_newest_link_counts_and_only_that(app, person):
    made = await asyncio.gather(*(make(app, person.user) for _ in range(3)))
    found = [await outcome(Links(app).look(token_of(app.keyring, link))) for link in made]
    assert sorted(found) == ["link-used", "link-used", "ok"]


async def outcome(awaitable):
    try:
        await awaitable
    except AppError as error:
        return error.code
    return "ok"


async def test_an_expired_link_is_refused(app, person, change):
    link = await make(app, person.user)
    await change("UPDATE links SET expires_at = now() - interval '1 second' WHERE id = :l", l=link.id)
    token = token_of(app.keyring, link)
    assert await refused(Links(app).look(token)) == "link-expired"
    assert await refused(Links(app).accept(token, NEW)) == "link-expired"


async def test_links_last_as_long_as_the_settings_say(app, changed, person, invited):
    shorter = changed(reset_minutes=5, invitation_days=3)
    now = datetime.now(UTC)
    reset, invitation = await make(shorter, person.user), await make(shorter, invited, "invitation")
    assert timedelta(minutes=4) < reset.expires_at - now < timedelta(minutes=6)
    assert timedelta(days=2, hours=23) < invitation.expires_at - now < timedelta(days=3, hours=1)


@pytest.mark.parametrize(("state", "said"), [("inactive", "account-inactive"), ("deleted", "link-invalid")])
async def test_somebody_who_may_not_come_in_does_not_come_in_by_a_link(app, person, change, state, said):
    token = token_of(app.keyring, await make(app, person.user))
    await change("UPDATE users SET state = :s WHERE id = :u", s=state, u=person.user.id)
    assert await refused(Links(app).look(token)) == said
    assert await refused(Links(app).accept(token, NEW)) == said


async def test_a_suspended_organisation_lets_nobody_in(app, person):
    token = token_of(app.keyring, await make(app, person.user))
    async with app.begin(Principal.platform()) as work:
        (await TenantService(work).get(person.tenant_id)).state = "suspended"
    assert await refused(Links(app).accept(token, NEW)) == "tenant-suspended"


async def test_where_passwords_are_off_no_link_sets_one(app, person, invited, change, stranger):
    token = token_of(app.keyring, await make(app, invited, "invitation"))
    await change("""UPDATE tenants SET settings = '{"password_login": false}' WHERE id = :t""", t=person.tenant_id)
    assert (await stranger.post("/api/v1/auth/link", json={"token": token})).json()["password_login"] is False
    assert await refused(Links(app).accept(token, NEW)) == "password-login-off"
    async with app.begin(Principal.system(person.tenant_id)) as work:
        assert (await accept_for_external(app, work, token)).state == "active"


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "password-too-short"), ("aaaaaaaaaaaa", "password-breached"), (None, "password-breached")],
)
async def test_a_weak_password_leaves_the_link_good(app, person, password, said, stranger):
    token = token_of(app.keyring, await make(app, person.user))
    accept = {"token": token, "password": person.user.email if password is None else password}
    answer = await stranger.post("/api/v1/auth/link/accept", json=accept)
    assert code(answer) == (400, said)
    assert answer.json()["errors"][0]["path"] == "password"
    assert await outcome(Links(app).look(token)) == "ok"


async def test_accepting_ends_sessions_and_leaves_a_second_factor(app, person, change):
    await change("UPDATE users SET totp_confirmed_at = now(), totp_secret = 'x' WHERE id = :u", u=person.user.id)
    await Links(app).accept(token_of(app.keyring, await make(app, person.user)), NEW)
    assert (await person.get("/me")).status_code == 401
    async with app.begin(Principal.system(person.tenant_id)) as work:
        user = await work.session.get(User, person.user.id)
    assert user.totp_confirmed_at is not None
    assert user.totp_secret == b"x"


async def test_a_new_password_voids_the_links_that_were_open(app, person):
    token = token_of(app.keyring, await make(app, person.user))
    async with app.begin(Principal.system(person.tenant_id)) as work:
        await UserService(work).set_password(await work.session.get(User, person.user.id), "x")
    assert await refused(Links(app).look(token)) == "link-used"


async def test_an_invitation_is_accepted_by_signing_in_elsewhere(app, invited, tenancy, person, count):
    token = token_of(app.keyring, await make(app, invited, "invitation"))
    other, _ = await tenancy.tenant()
    async with app.begin(Principal.system(other)) as work:
        assert await refused(accept_for_external(app, work, token)) == "link-invalid"
    async with app.begin(Principal.system(invited.tenant_id)) as work:
        user = await accept_for_external(app, work, token)
    assert (user.id, user.state, user.password_hash) == (invited.id, "active", None)
    async with app.begin(Principal.system(invited.tenant_id)) as work:
        assert await refused(accept_for_external(app, work, token)) == "link-used"
    reset = token_of(app.keyring, await make(app, person.user))
    async with app.begin(Principal.system(person.tenant_id)) as work:
        assert await refused(accept_for_external(app, work, reset)) == "link-invalid"
    assert await count("events", f"action = 'link.used' AND user_id = '{invited.id}'") == 1


# Forgotten passwords


@pytest.fixture
def patient(monkeypatch):
    """All tests come from one address."""
    monkeypatch.setattr(links, "FORGOT_PER_ADDRESS", 0)


async def test_without_a_mail_server_an_administrator_hears_of_it(patient, stranger, person, count):
    answer = await stranger.post("/api/v1/auth/forgot", json={"email": person.user.email.upper()})
    assert answer.status_code == 202
    who = f"object_id = '{person.user.id}' AND action = 'user.reset_requested'"
    assert await until(lambda: count("events", who))
    assert await count("links", f"user_id = '{person.user.id}'") == 0


async def test_known_and_unknown_are_answered_alike(patient, stranger, person, app, count):
    async with app.begin(Principal.system(person.tenant_id)) as work:
        elsewhere = await UserService(work).create(address(), None)
    asked = [person.user.email, elsewhere.email, address(), "<x>@y"]
    answers = [await stranger.post("/api/v1/auth/forgot", json={"email": mail}) for mail in asked]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert len({frozenset(answer.headers) for answer in answers}) == 1
    await until(lambda: count("events", f"object_id = '{person.user.id}' AND action = 'user.reset_requested'"))
    # Somebody who signs in elsewhere has no password that they could forget.
    assert await count("events", f"object_id = '{elsewhere.id}' AND action = 'user.reset_requested'") == 0
    assert (await stranger.post("/api/v1/auth/forgot", json={"email": "nonsense"})).status_code == 400


async def test_an_organisation_can_be_named(patient, stranger, person, tenancy, count):
    tenant_id, name = await tenancy.tenant()
    other = await tenancy.person(tenant_id, name, email=person.user.email)
    await stranger.post("/api/v1/auth/forgot", json={"email": person.user.email, "tenant": name.upper()})
    assert await until(lambda: count("events", f"object_id = '{other.user.id}' AND action = 'user.reset_requested'"))
    assert await count("events", f"object_id = '{person.user.id}' AND action = 'user.reset_requested'") == 0


async def test_an_address_that_asks_too_often_is_told_and_an_e_mail_passed_over(stranger, person, monkeypatch, count):
    unlike = f"{uuid4().int % 255}.{uuid4().int % 255}.1.1"
    monkeypatch.setattr(links, "FORGOT_PER_ADDRESS", 8)
    monkeypatch.setattr(links, "caller", FakeCaller(unlike))
    for _ in range(8):
        assert (await stranger.post("/api/v1/auth/forgot", json={"email": person.user.email})).status_code == 202
    answer = await stranger.post("/api/v1/auth/forgot", json={"email": address()})
    assert code(answer) == (429, "too-many-requests")
    assert int(answer.headers["retry-after"]) > 0
    who = f"object_id = '{person.user.id}' AND action = 'user.reset_requested'"
    await until(lambda: enough(count, who, links.FORGOT_PER_EMAIL))
    assert await count("events", who) == links.FORGOT_PER_EMAIL


async def enough(count, where, most):
    return await count("events", where) >= most


class FakeCaller:
    def __init__(self, ip):
        self.ip = ip

    def get(self):
        return self


# By mail


@pytest.fixture
async def office(settings):
    """An installation with a mail server: its own worker and Redis, so that nobody else sends its mails."""
    mailbox = Mailbox()
    base, _, number = settings.redis_url.rpartition("db=")
    redis_url = f"{base}db={14 - int(number)}"
    redis = Redis.from_url(redis_url)
    await redis.flushdb()
    async with serving(mailbox) as port:
        with_mail = replace(
            settings,
            redis_url=redis_url,
            smtp_url=f"smtp://127.0.0.1:{port}?tls=off",
            mail_from="Folkmoot <no-reply@folkmoot.example>",
            public_url="https://folkmoot.example/",
        )
        async with assemble(with_mail) as app, working(app):
            litestar = create_app(with_mail)
            litestar.state.app = app
            transport = httpx.ASGITransport(litestar, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://folkmoot.test/api/v1") as client:
                yield app, mailbox, client
    await redis.flushdb()
    await redis.aclose()


async def link_state(app, user):
    async with app.begin(Principal.system(user.tenant_id)) as work:
        rows = await work.session.execute(
            text("SELECT mail, mail_attempts FROM links WHERE user_id = :u ORDER BY id DESC LIMIT 1"), {"u": user.id}
        )
        return tuple(rows.one())


def in_state(app, user, state):
    async def check():
        return (await link_state(app, user))[0] == state

    return check


async def test_an_invitation_comes_by_mail_and_nowhere_else(office, owner, superuser):
    app, mailbox, client = office
    client.headers["Authorization"] = owner.headers["Authorization"]
    to = address()
    answer = await client.post("/users", json={"email": to, "name": "Zoë"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["mail"] == "queued"
    assert "link" not in made
    (mail,) = await until(arrived(mailbox, to))
    body = mail.get_body().get_content()
    assert mail["From"] == "Folkmoot <no-reply@folkmoot.example>"
    assert mail["Subject"] == f"{owner.tenant_name}: your invitation / din inbjudan"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "Du är inbjuden" in body
    (link,) = re.findall(r"https://folkmoot\.example/link#(fml_[\w-]+)", body)
    user = User(id=UUID(made["id"]), tenant_id=owner.tenant_id)
    await until(in_state(app, user, "sent"))
    assert (await client.get(f"/users/{made['id']}")).json()["link"]["mail"] == "sent"
    accepted = await client.post("/auth/link/accept", json={"token": link, "password": NEW})
    assert accepted.status_code == 200
    async with superuser.connect() as connection:
        happened = (
            await connection.scalars(text("SELECT data::text FROM events WHERE user_id = :u"), {"u": made["id"]})
        ).all()
    assert to not in str(happened)
    assert "fml_" not in str(happened)


def to_whom(mailbox, address):
    """The mails to one address."""
    return [
        email.message_from_bytes(raw, policy=email.policy.default)
        for _, recipients, raw in mailbox.mails
        if recipients == [address]
    ]


def arrived(mailbox, address):
    async def check():
        return to_whom(mailbox, address)

    return check


async def test_the_queue_never_holds_a_token(office, owner):
    app, mailbox, client = office
    client.headers["Authorization"] = owner.headers["Authorization"]
    mailbox.answers["RCPT"] = BUSY
    to = address()
    made = (await client.post("/users", json={"email": to})).json()
    user = User(id=UUID(made["id"]), tenant_id=owner.tenant_id)

    async def tried():
        return (await link_state(app, user))[1] >= 1

    await until(tried)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        link = await work.session.scalar(text("SELECT id FROM links WHERE user_id = :u"), {"u": user.id})
    token = token_of(app.keyring, Link(id=link, tenant_id=owner.tenant_id))
    held = await app.redis.zrange(DELAYED, 0, -1)
    for lane in LANES:
        held += [value for _, fields in await app.redis.xrange(f"folkmoot:lane:{lane}") for value in fields.values()]
    everything = b" ".join(held)
    assert str(link).encode() in everything
    assert token.encode() not in everything
    assert to.encode() not in everything


async def test_a_forgotten_password_comes_by_mail(patient, office, person):
    _, mailbox, client = office
    for mail in (person.user.email, address()):
        assert (await client.post("/auth/forgot", json={"email": mail})).status_code == 202
    (mail,) = await until(arrived(mailbox, person.user.email))
    (token,) = re.findall(r"#(fml_[\w-]+)", mail.get_body().get_content())
    assert (await client.post("/auth/link/accept", json={"token": token, "password": NEW})).status_code == 200
    login = {"email": person.user.email, "password": NEW}
    assert (await client.post("/auth/login", json=login)).status_code == 200
    login["password"] = PASSWORD
    assert (await client.post("/auth/login", json=login)).status_code == 401
    assert len(mailbox.mails) == 1


async def test_a_refused_recipient_is_told_in_the_log_and_not_tried_again(office, invited, superuser):
    app, mailbox, _ = office
    mailbox.refused.add(invited.email)
    await make(app, invited, "invitation")
    await until(in_state(app, invited, "failed"))
    assert await link_state(app, invited) == ("failed", 1)
    async with superuser.connect() as connection:
        data = await connection.scalar(
            text("SELECT data FROM events WHERE user_id = :u AND action = 'mail.failed'"), {"u": invited.id}
        )
    assert data == {"reason": "refused", "smtp_code": 550}


async def test_a_server_that_is_busy_or_down_gets_the_mail_when_it_is_back(office, invited, monkeypatch):
    app, mailbox, _ = office
    monkeypatch.setattr(mailing, "FIRST_PAUSE", 0.2)
    mailbox.answers["RCPT"] = BUSY
    await make(app, invited, "invitation")

    async def tried():
        state, attempts = await link_state(app, invited)
        return state == "queued" and attempts >= 2

    await until(tried)
    mailbox.answers.clear()
    await until(in_state(app, invited, "sent"))
    assert len(to_whom(mailbox, invited.email)) == 1


async def test_a_server_that_is_not_there_is_tried_until_the_end(app, changed, invited, monkeypatch, superuser):
    monkeypatch.setattr(mailing, "MOST_ATTEMPTS", 2)
    monkeypatch.setattr(mailing, "FIRST_PAUSE", 0.0)
    # Nobody listens at port 9; the worker beside has no mail server, so only we deliver.
    dead = changed(smtp_url="smtp://127.0.0.1:9?tls=off")
    link = await make(dead, invited, "invitation")
    for state in (("queued", 1), ("failed", 2)):
        await mailing.deliver(dead, link.tenant_id, link.id)
        assert await link_state(app, invited) == state
    async with superuser.connect() as connection:
        data = await connection.scalar(text("SELECT data FROM events WHERE action = 'mail.failed' AND object_id = :l"),
                                       {"l": link.id})  # fmt: skip
    assert data == {"reason": "not-reached", "smtp_code": 0}


async def test_a_link_is_sent_once_however_often_it_is_asked_for(office, invited):
    app, mailbox, _ = office
    link = await make(app, invited, "invitation")
    await asyncio.gather(*(mailing.deliver(app, link.tenant_id, link.id) for _ in range(5)))
    await until(in_state(app, invited, "sent"))
    await mailing.deliver(app, link.tenant_id, link.id)
    assert len(to_whom(mailbox, invited.email)) == 1


async def test_what_a_crash_left_is_sent_by_the_sweep(office, invited, change, monkeypatch):
    app, mailbox, _ = office
    sent = app.sessions.jobs.send

    async def lose(*arguments, **named):
        return None

    monkeypatch.setattr(app.sessions.jobs, "send", lose)
    link = await make(app, invited, "invitation")
    monkeypatch.setattr(app.sessions.jobs, "send", sent)
    await find_unsent_mail(app, invited.tenant_id)
    assert await link_state(app, invited) == ("queued", 0)
    # Who sent it died with the claim in hand: long ago.
    await change("""UPDATE links SET mail_attempts = 1, details = '{"mail_at": 1000.5}' WHERE id = :l""", l=link.id)
    await find_unsent_mail(app, invited.tenant_id)
    await until(in_state(app, invited, "sent"))
    assert len(to_whom(mailbox, invited.email)) == 1


async def test_a_mail_that_waited_too_long_is_not_sent(office, invited, change, count, monkeypatch):
    app, mailbox, _ = office
    mailbox.answers["RCPT"] = BUSY
    monkeypatch.setattr(mailing, "FIRST_PAUSE", 0.1)
    link = await make(app, invited, "invitation")
    await change("UPDATE links SET expires_at = now() - interval '1 second' WHERE id = :l", l=link.id)
    await until(in_state(app, invited, "failed"))
    assert await count("events", f"object_id = '{link.id}' AND action = 'mail.failed'") == 1
    assert mailbox.mails == []


async def test_a_replaced_link_is_not_sent(office, invited, monkeypatch):
    app, mailbox, _ = office
    mailbox.answers["RCPT"] = BUSY
    monkeypatch.setattr(mailing, "FIRST_PAUSE", 0.2)
    first = await make(app, invited, "invitation")
    second = await make(app, invited, "invitation")
    mailbox.answers.clear()
    await until(in_state(app, invited, "sent"))
    await mailing.deliver(app, first.tenant_id, first.id)
    (mail,) = to_whom(mailbox, invited.email)
    assert token_of(app.keyring, second) in mail.get_body().get_content()
