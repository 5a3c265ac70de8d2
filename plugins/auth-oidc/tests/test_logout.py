"""Signing out: at the provider from here, and here from the provider."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from folkmoot_sdk import AuthError, BackendUnavailable, LogoutNotice

HOME = "https://folkmoot.example/signed-out"


async def test_the_browser_is_sent_to_sign_out_with_the_token_it_came_in_with(meeting, fake):
    person = await meeting.sign_in()
    async with meeting.backend() as backend:
        url = await backend.end_session_url(HOME, person.logout_hint)
    assert url.startswith(f"{fake.issuer}/logout?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": fake.client_id,
        "post_logout_redirect_uri": HOME,
        "id_token_hint": person.logout_hint,
    }


async def test_a_token_too_long_for_an_address_is_left_out_of_it(meeting, fake):
    fake.claims["filling"] = "x" * 10_000
    person = await meeting.sign_in()
    assert person.logout_hint is None
    async with meeting.backend() as backend:
        for hint in (None, "x" * 10_000):
            assert "id_token_hint" not in await backend.end_session_url(HOME, hint)


async def test_a_provider_without_an_end_of_sessions_has_no_address_for_it(meeting, fake):
    del fake.metadata["end_session_endpoint"]
    async with meeting.backend() as backend:
        assert await backend.end_session_url(HOME, None) is None


@pytest.mark.parametrize(
    ("claims", "header", "subject", "session"),
    [
        ({}, {"typ": "logout+jwt"}, "42", "s-1"),
        ({}, {"typ": "application/logout+jwt"}, "42", "s-1"),
        ({}, {"typ": None}, "42", "s-1"),
        ({}, {}, "42", "s-1"),
        ({"sub": None}, {}, None, "s-1"),
        ({"sid": None}, {}, "42", None),
        ({"exp": None}, {}, "42", "s-1"),
        ({"aud": ["folkmoot"]}, {}, "42", "s-1"),
    ],
)
async def test_a_logout_token_says_whose_sign_in_ended(meeting, fake, claims, header, subject, session):
    token = fake.signed(fake.logout_claims(**claims), **header)
    assert await meeting.read_logout(token) == LogoutNotice(fake.issuer, subject, session, "j-1")


WRONG = {
    "another issuer": ("is not from", {"iss": "https://evil.example"}),
    "another audience": ("another application", {"aud": "payroll"}),
    "several audiences": ("several applications", {"aud": ["folkmoot", "payroll"]}),
    "no audience": ("another application", {"aud": None}),
    "no events": ("does not say that somebody signed out", {"events": None}),
    "another event": ("does not say that somebody signed out", {"events": {"urn:other": {}}}),
    "an event that is no object": (
        "does not say",
        {"events": {"http://schemas.openid.net/event/backchannel-logout": 1}},
    ),
    "events in a list": ("does not say", {"events": ["http://schemas.openid.net/event/backchannel-logout"]}),
    "a nonce": ("has a nonce", {"nonce": "n"}),
    "an empty nonce": ("has a nonce", {"nonce": ""}),
    "nobody": ("neither who signed out", {"sub": None, "sid": None}),
    "a subject that is a number": ("no usable sub", {"sub": 42}),
    "an empty session": ("no usable sid", {"sid": ""}),
    "no id": ("no usable jti", {"jti": None}),
    "an endless id": ("no usable jti", {"jti": "j" * 256}),
    "no time": ("when it was made", {"iat": None}),
    "stale": ("older than 600 seconds", {"iat": -721, "exp": None}),
    "stale with a long life": ("older than 600 seconds", {"iat": -721, "exp": 9000}),
    "from the future": ("ahead of the time", {"iat": 121, "exp": 200}),
    "expired": ("has expired", {"iat": -300, "exp": -121}),
}


def moved(fake, claims):
    return {name: fake.seconds + value if name in ("iat", "exp") and value else value for name, value in claims.items()}


@pytest.mark.parametrize(("words", "claims"), WRONG.values(), ids=WRONG)
async def test_a_logout_token_that_says_something_wrong_signs_nobody_out(meeting, fake, words, claims):
    claims = {"nonce": None} | fake.logout_claims() | moved(fake, claims)
    claims = {name: value for name, value in claims.items() if value is not None}
    with pytest.raises(AuthError, match=words) as refused:
        await meeting.read_logout(fake.signed(claims, typ="logout+jwt"))
    assert type(refused.value) is AuthError


@pytest.mark.parametrize(
    ("words", "forge"),
    [
        ("another kind", lambda f, c: f.signed(c, typ="at+jwt")),
        ("another kind", lambda f, c: f.signed(c, typ=7)),
        ("does not take", lambda f, c: f"{f.encoded({'alg': 'none'})}.{f.encoded(c)}."),
        ("does not take", lambda f, c: f.with_password(c, f.secret.encode())),
        ("not signed with a key", lambda f, c: f.signed(c, "other")),
        ("not signed with a key", lambda f, c: f.signed(c, "other", kid="rsa")),
        ("no signed token", lambda f, c: ""),
        ("no signed token", lambda f, c: "\x00.å.x"),
        ("no signed token", lambda f, c: "a.b.c"),
        ("characters", lambda f, c: "x" * 1_000_000),
    ],
)
async def test_a_logout_token_that_is_not_the_providers_signs_nobody_out(meeting, fake, words, forge):
    with pytest.raises(AuthError, match=words):
        await meeting.read_logout(forge(fake, fake.logout_claims()))


async def test_an_id_token_signs_nobody_out(meeting, fake):
    person = await meeting.sign_in({"jti": "j-2"})
    with pytest.raises(AuthError, match="does not say that somebody signed out"):
        await meeting.read_logout(person.logout_hint)


async def test_a_logout_is_to_be_sent_again_while_the_keys_cannot_be_had(meeting, fake):
    fake.instead["openid-configuration"] = httpx.ConnectError("the line is dead")
    with pytest.raises(BackendUnavailable):
        await meeting.read_logout(fake.signed(fake.logout_claims()))
