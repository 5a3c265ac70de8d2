"""Discovery, keys and the wire: what is asked, how often, and what is not believed."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from folkmoot_auth_oidc import wire
from folkmoot_sdk import AuthError, BackendUnavailable


async def test_discovery_and_keys_are_asked_for_once_for_many_sign_ins(meeting, fake):
    for _ in range(3):
        # A connection of its own each time, as a host may make them.
        await meeting.sign_in()
    assert (fake.count("openid-configuration"), fake.count("/keys")) == (1, 1)


async def test_discovery_and_keys_are_asked_for_again_when_they_have_aged(meeting, fake):
    await meeting.sign_in()
    for seconds, asked in ((901, (1, 2)), (3601, (2, 3))):
        meeting.clock.seconds = seconds
        fake.claims |= {"iat": fake.seconds + seconds, "exp": fake.seconds + seconds + 300}
        await meeting.sign_in()
        assert (fake.count("openid-configuration"), fake.count("/keys")) == asked


async def test_many_at_once_ask_once(meeting, fake):
    async with meeting.backend() as backend:
        await asyncio.gather(*(backend.begin(fake.back) for _ in range(20)))
    assert fake.count("openid-configuration") == 1


async def test_many_at_once_wait_for_one_silence_only(meeting, fake):
    fake.instead["openid-configuration"] = httpx.ConnectError("the line is dead")
    async with meeting.backend() as backend:
        found = await asyncio.gather(*(backend.begin(fake.back) for _ in range(20)), return_exceptions=True)
        assert {type(error) for error in found} == {BackendUnavailable}
        assert fake.count("openid-configuration") == 1
        fake.instead.clear()
        meeting.clock.seconds += 5
        assert await backend.begin(fake.back)


async def test_new_keys_of_the_provider_are_found_without_a_restart(meeting, fake):
    await meeting.sign_in()
    fake.keys = [fake.public("other")]
    fake.sign = lambda claims: fake.signed(claims, "other")
    meeting.clock.seconds += 5
    assert (await meeting.sign_in()).subject == "42"
    # The old one is believed no more.
    fake.sign = fake.signed
    with pytest.raises(AuthError, match="not signed with a key"):
        await meeting.sign_in()


async def test_a_new_key_under_an_old_name_is_found_too(meeting, fake):
    await meeting.sign_in()
    fake.keys = [fake.public("other", kid="rsa")]
    fake.sign = lambda claims: fake.signed(claims, "other", kid="rsa")
    meeting.clock.seconds += 5
    assert (await meeting.sign_in()).subject == "42"


async def test_a_flood_of_unknown_key_names_does_not_reach_the_provider(meeting, fake):
    async with meeting.backend() as backend:
        for moment in range(100):
            meeting.clock.seconds = moment / 10
            with pytest.raises(AuthError):
                await backend.read_logout(fake.signed(fake.logout_claims(), kid=f"invented-{moment}"))
    assert fake.count("/keys") == 2


async def test_keys_that_cannot_be_had_do_not_take_away_those_that_are_known(meeting, fake):
    await meeting.sign_in()
    fake.instead["keys"] = httpx.Response(500)
    meeting.clock.seconds += 5
    with pytest.raises(BackendUnavailable):
        await meeting.read_logout(fake.signed(fake.logout_claims(), "other"))
    assert (await meeting.sign_in()).subject == "42"


def changed(**more):
    def change(fake):
        fake.metadata |= more
        fake.metadata = {name: value for name, value in fake.metadata.items() if value is not None}

    return change


DISCOVERY = {
    "another issuer": (changed(issuer="https://evil.example"), "answers as 'https://evil.example'"),
    "a slash more": (changed(issuer="https://id.example.org/realms/town/"), "with the slash at its end"),
    "every directory": (changed(issuer="https://id.example.org/{tenantid}/v2.0"), "enter the issuer of your own"),
    "no issuer": (changed(issuer=None), "does not name itself"),
    "an issuer in a list": (changed(issuer=["https://id.example.org/realms/town"]), "does not name itself"),
    "no token endpoint": (changed(token_endpoint=None), "token_endpoint is not an address"),
    "no keys": (changed(jwks_uri=None), "jwks_uri is not an address"),
    "a token endpoint without encryption": (changed(token_endpoint="http://id.example.org/token"), "must begin with"),
    "keys on this machine": (changed(jwks_uri="http://127.0.0.1:6379/"), "jwks_uri is not https"),
    "a script for the browser": (changed(authorization_endpoint="javascript:alert(1)"), "not an address"),
    "an address with a password": (changed(token_endpoint="https://a:b@id.example.org/"), "neither a user name"),
    "an address with a fragment": (changed(authorization_endpoint="https://id.example.org/#x"), "nor a fragment"),
    "an address with a line break": (changed(end_session_endpoint="https://id.example.org/\r\nx: y"), "not an address"),
    "an address that is a number": (changed(userinfo_endpoint=7), "userinfo_endpoint is not an address"),
    "no code flow": (changed(response_types_supported=["id_token"]), "authorization code flow"),
    "signatures with a password only": (changed(id_token_signing_alg_values_supported=["HS256", "none"]), "signs with"),
}


@pytest.mark.parametrize(("change", "words"), DISCOVERY.values(), ids=DISCOVERY)
async def test_a_discovery_document_that_says_something_wrong_is_not_used(meeting, fake, change, words):
    change(fake)
    with pytest.raises(AuthError, match=words) as refused:
        await meeting.sign_in()
    assert type(refused.value) is AuthError
    assert fake.count("/token") == 0


def answer(status=200, kind="application/json", body=b"{}", **headers):
    return httpx.Response(status, headers={"content-type": kind, **headers}, content=body)


WIRE = {
    "a dead line": (httpx.ConnectError("the line is dead"), BackendUnavailable),
    "a time-out": (httpx.ReadTimeout("too slow"), BackendUnavailable),
    "a line that breaks": (httpx.RemoteProtocolError("cut off"), BackendUnavailable),
    "a failure of its own": (answer(500), BackendUnavailable),
    "a page for maintenance": (answer(503, "text/html", b"<h1>Soon back</h1>"), BackendUnavailable),
    "too many questions": (answer(429), BackendUnavailable),
    "half a document": (answer(body=b'{"issuer": "ht'), BackendUnavailable),
    "a list": (answer(body=b"[]"), BackendUnavailable),
    "nothing": (answer(body=b""), BackendUnavailable),
    "bytes that are no text": (answer(body=b'{"issuer": "\xff"}'), BackendUnavailable),
    "a document too deep to read": (answer(body=b'{"a":' * 50_000), BackendUnavailable),
    "a redirect": (answer(302, location="https://evil.example/"), AuthError),
    "a redirect to itself": (answer(307, location="/realms/town/keys"), AuthError),
    "a web page": (answer(kind="text/html", body=b"<html>"), AuthError),
    "no type": (answer(kind=""), AuthError),
    "more than fits": (answer(body=b" " * (wire.MOST + 1)), AuthError),
    "a packed answer": (answer(body=b"", **{"content-encoding": "br"}), AuthError),
}


@pytest.mark.parametrize(("sent", "kind"), WIRE.values(), ids=WIRE)
@pytest.mark.parametrize("place", ["openid-configuration", "keys", "token", "userinfo"])
async def test_an_answer_that_is_none_ends_the_sign_in(meeting, fake, place, sent, kind):
    # A response can be read once, and the table is used four times.
    fake.instead[place] = (
        sent
        if isinstance(sent, Exception)
        else lambda: httpx.Response(sent.status_code, headers=sent.headers, content=sent.content)
    )
    with pytest.raises(AuthError) as refused:
        await meeting.sign_in({"email": None})
    assert type(refused.value) is kind
    assert not any("evil" in request.url.host for request in fake.asked)


@pytest.mark.parametrize("place", ["openid-configuration", "keys", "userinfo"])
async def test_a_refusal_where_there_should_be_an_answer_is_told_with_its_status(meeting, fake, place):
    fake.instead[place] = lambda: httpx.Response(404, text="nothing here")
    with pytest.raises(AuthError, match="status 404"):
        await meeting.sign_in({"email": None})


async def test_a_drip_of_bytes_is_not_waited_for(meeting, fake, monkeypatch):
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b" "
                await asyncio.sleep(0.001)

    monkeypatch.setattr(wire, "DEADLINE", 0.05)
    fake.instead["openid-configuration"] = httpx.Response(
        200, headers={"content-type": "application/json"}, stream=Drip()
    )
    with pytest.raises(BackendUnavailable, match="in time"):
        await meeting.sign_in()


GARBAGE = [
    None,
    7,
    "key",
    [],
    {},
    {"kty": "RSA"},
    {"kty": ["RSA"]},
    {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"},
    {"kty": "RSA", "n": 7, "e": "AQAB", "kid": "rsa"},
    {"kty": "RSA", "n": "ååå", "e": "AQAB", "kid": "rsa"},
    {"kty": "RSA", "n": "A" * 9000, "e": "AQAB", "kid": "rsa"},
    {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "p256"},
    {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA", "kid": "rsa"},
    {"kty": "EC", "crv": "Ed25519", "x": "AAAA", "y": "AAAA", "kid": "rsa"},
    {"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "rsa"},
    {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "ed"},
    {"kty": "RSA", "n": "A" * 342, "e": "AQAB", "kid": 7},
    {"kty": "RSA", "n": "A" * 342, "e": "AQAB", "kid": "rsa", "alg": ["RS256"]},
    {"kty": "RSA", "n": "_" * 342, "e": "AA", "kid": "rsa"},
]


async def test_a_sound_key_is_found_among_garbage(meeting, fake):
    fake.keys = [*GARBAGE, fake.public("rsa"), fake.public("p256"), fake.public("ed")]
    assert (await meeting.sign_in()).subject == "42"
    for key in ("p256", "ed"):
        fake.sign = lambda claims, key=key: fake.signed(claims, key)
        assert (await meeting.sign_in()).subject == "42"


@pytest.mark.parametrize("keys", [GARBAGE[:8], [], None, {}, "keys"])
async def test_a_key_set_without_a_usable_key_is_told(meeting, fake, keys):
    fake.keys = keys
    with pytest.raises(AuthError, match="has no key in its key set"):
        await meeting.sign_in()


async def test_every_question_refuses_redirects_and_packed_answers(meeting, fake):
    fake.userinfo = {"sub": "42"}
    await meeting.sign_in({"email": None})
    assert len(fake.asked) == 4
    assert {request.headers["accept-encoding"] for request in fake.asked} == {"identity"}
    assert {request.url.host for request in fake.asked} == {"id.example.org"}
