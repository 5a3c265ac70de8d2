"""Access and refresh tokens: what is signed, by which key, and everything that is none of ours."""

import base64
import json
import time
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from folkmoot.identity import tokens as module
from folkmoot.identity.tokens import AccessClaims, RefreshClaims, Tokens
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import NotSignedIn
from folkmoot.tenants.models import PLATFORM
from tests.identity.browsing import at, bearer, login, me, noted
from tests.support.keyrings import Changing

DAY = 86_400
CLAIMS = AccessClaims(uuid4(), uuid4(), uuid4())
KEYS = Keyring(b"k" * 32)


@pytest.fixture
async def browser(api):
    async with at(api) as client:
        yield client


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def encoded(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def forged(tokens: Tokens, claims: dict, *, without: str = "", headers: dict | None = None, key=None, **changed) -> str:
    """A token that is like ours but for what is said."""
    claims = {name: value for name, value in (claims | changed).items() if name != without}
    own = tokens._current()[0]
    headers = {"kid": own.id, "typ": "at+jwt"} | (headers or {})
    return jwt.encode(claims, key or own.private, algorithm="EdDSA", headers=headers)


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def hostile(tokens: Tokens, claims: dict, genuine: str) -> dict[str, tuple[str, str]]:
    """What is no token of ours, by what is wrong with it, with the code that it gets."""
    head, body, signature = genuine.split(".")
    own = tokens._current()[0]
    pem = own.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kid = {"kid": own.id, "typ": "at+jwt"}
    now = int(time.time())
    stranger = Ed25519PrivateKey.generate()

    def by_hmac(secret: bytes) -> str:
        # PyJWT itself refuses to sign with what looks like a public key.
        import hashlib
        import hmac

        signed = f"{encoded(kid | {'alg': 'HS256'})}.{body}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    bad = {
        "nothing but a dot": ".",
        "nonsense": "a.b.c",
        "not ascii": "é.é.é",
        "one part": head,
        "five parts": "a.b.c.d.e",
        "a NUL": genuine[:20] + "\x00" + genuine[20:],
        "no algorithm": f"{encoded(kid | {'alg': 'none'})}.{body}.",
        "no algorithm, oddly spelt": f"{encoded(kid | {'alg': 'nOnE'})}.{body}.",
        "no algorithm, signed": f"{encoded(kid | {'alg': 'none'})}.{body}.{signature}",
        "HMAC with the public key": by_hmac(own.public),
        "HMAC with the public key as PEM": by_hmac(pem),
        "HMAC with the key's id": by_hmac(own.id.encode()),
        "HMAC with nothing": by_hmac(b""),
        "RSA": jwt.encode(claims, rsa_key(), algorithm="RS256", headers=kid),
        "RSA in name only": f"{encoded(kid | {'alg': 'RS256'})}.{body}.{signature}",
        "another body": f"{head}.{encoded(claims | {'sub': str(uuid4())})}.{signature}",
        "without signature": f"{head}.{body}.",
        "cut": genuine[:-2],
        "padded": genuine + "==",
        "with bits that mean nothing": genuine[:-1] + chr(ord(genuine[-1]) + 1),
        "with more behind it": genuine + ".x",
        "with more in the signature": genuine + "AAAA",
        "huge": genuine + "A" * 100_000,
        "huge by its claims": forged(tokens, claims, more="x" * 5_000),
        "a key of another": forged(tokens, claims, key=stranger),
        "no key named": jwt.encode(claims, own.private, algorithm="EdDSA", headers={"typ": "at+jwt"}),
        "an unknown key": forged(tokens, claims, headers={"kid": "x"}),
        "a key named by a list": f"{encoded(kid | {'alg': 'EdDSA', 'kid': ['x']})}.{body}.{signature}",
        "a key from elsewhere": forged(
            tokens, claims, key=stranger, headers={"kid": "x", "jku": "https://evil.example/keys"}
        ),
        "a key brought along": forged(tokens, claims, key=stranger, headers={"jwk": module.SigningKey(stranger).jwk()}),
        "another kind of token": forged(tokens, claims, headers={"typ": "JWT"}),
        "a header that must be understood": forged(tokens, claims, headers={"crit": ["x"], "x": 1}),
        "another audience": forged(tokens, claims, aud="another"),
        "another issuer": forged(tokens, claims, iss="https://another.example"),
        "a tenant that is no id": forged(tokens, claims, tid="x"),
        "a session that is no text": forged(tokens, claims, sid=7),
        "an end that is no time": forged(tokens, claims, exp="tomorrow"),
        "an end that is true": forged(tokens, claims, exp=True),
        "claims that are a list": f"{head}.{base64.urlsafe_b64encode(b'[]').decode()}.{signature}",
        "a refresh token": tokens.refresh(RefreshClaims(uuid4(), uuid4(), 1)),
        "another installation's": Tokens(Keyring([b"z" * 32]), 600).access(CLAIMS),
    }
    found = {name: (token, "token-invalid") for name, token in bad.items()}
    for name in module.REQUIRED:
        found[f"without {name}"] = (forged(tokens, claims, without=name), "token-invalid")
    found["issued tomorrow"] = (forged(tokens, claims, iat=now + DAY), "token-not-yet-valid")
    found["good from tomorrow"] = (forged(tokens, claims, nbf=now + DAY), "token-not-yet-valid")
    found["expired"] = (forged(tokens, claims, exp=now - 1), "token-expired")
    found["expired long ago"] = (forged(tokens, claims, exp=0), "token-expired")
    found["of no session"] = (tokens.access(AccessClaims(CLAIMS.tenant_id, CLAIMS.user_id, uuid4())), "session-ended")
    return found


async def test_every_token_that_is_not_ours_is_refused_with_its_code(browser, owner, app, count, superuser):
    tokens = app.part(Tokens)
    genuine = (await login(browser, owner, body=True)).json()["access_token"]
    claims = jwt.decode(genuine, options={"verify_signature": False})
    before = await count("sessions", f"tenant_id = '{owner.tenant_id}'")
    for name, (token, code) in hostile(tokens, claims, genuine).items():
        answer = await browser.get("/me", headers=[(b"Authorization", b"Bearer " + token.encode())])
        assert (answer.status_code, answer.json().get("code")) == (401, code), f"{name}: {answer.text}"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await me(browser, genuine)).status_code == 200
    assert await count("sessions", f"tenant_id = '{owner.tenant_id}'") == before
    found = await noted(superuser, "action = 'token.refused' AND data ->> 'code' = 'token-not-yet-valid'")
    assert found[0] == ("token.refused", {"code": "token-not-yet-valid"})


async def test_the_walk_of_bad_tokens_would_find_one_that_is_let_in(app, owner):
    tokens = app.part(Tokens)
    own = jwt.decode(tokens.access(CLAIMS), options={"verify_signature": False})
    assert tokens.read_access(forged(tokens, own, more="harmless")) == CLAIMS


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer\tx"])
async def test_what_is_no_bearer_token_is_told_how_to_sign_in(browser, owner, given):
    await login(browser, owner)
    answer = await browser.get("/me", headers={"Authorization": given})
    # The cookie is there and good, but a header counts before it.
    assert answer.status_code == 401, given


async def test_a_token_of_one_organisation_does_not_open_another(browser, owner, tenancy, app):
    other = await tenancy.owner()
    session = jwt.decode((await login(browser, owner)).json()["access_token"], options={"verify_signature": False})
    for claims in (
        AccessClaims(other.tenant_id, owner.user.id, session["sid"]),
        AccessClaims(other.tenant_id, other.user.id, session["sid"]),
        AccessClaims(owner.tenant_id, other.user.id, session["sid"]),
    ):
        answer = await me(browser, app.part(Tokens).access(claims))
        assert (answer.status_code, answer.json()["code"]) == (401, "session-ended")


@pytest.mark.parametrize("token", ["", "x", "fmr_", "fmr_AAAA", "é", "fmr_" + "A" * 96, "\x00", "fmr_" + "=" * 96])
async def test_a_refresh_token_that_is_not_ours_is_refused(browser, token):
    answer = await browser.post("/auth/refresh", json={"refresh_token": token})
    assert answer.status_code in (400, 401)


async def test_each_refused_refresh_is_an_event_of_whoever_it_concerns(browser, owner, superuser, unique):
    session = await login(browser, owner, body=True)
    await browser.post("/auth/logout", headers=bearer(session.json()["access_token"]))
    for given in (session.json()["refresh_token"], "fmr_" + "A" * 96):
        answer = await browser.post(
            "/auth/refresh", json={"refresh_token": given}, headers={"X-Request-ID": f"refresh-{unique}"}
        )
        assert answer.status_code == 401
    said = "request_id = :id AND action = 'token.refused' AND tenant_id = :of"
    assert await noted(superuser, said, id=f"refresh-{unique}", of=owner.tenant_id) == [
        ("token.refused", {"code": "session-ended"})
    ]
    assert await noted(superuser, said, id=f"refresh-{unique}", of=PLATFORM) == [
        ("token.refused", {"code": "token-invalid"})
    ]


def test_each_bit_of_a_refresh_token_counts():
    tokens = Tokens(KEYS, 600)
    token = tokens.refresh(RefreshClaims(uuid4(), uuid4(), 3))
    raw = bytearray(base64.urlsafe_b64decode(token.removeprefix("fmr_")))
    for place in range(len(raw)):
        raw[place] ^= 1
        with pytest.raises(NotSignedIn):
            tokens.read_refresh("fmr_" + base64.urlsafe_b64encode(raw).decode())
        raw[place] ^= 1


def test_keys_change_by_the_calendar_and_the_last_one_holds_until_its_tokens_expire():
    clock = Clock(1000 * DAY * 30 - 60)
    tokens = Tokens(KEYS, 600, 30, clock=clock)
    old = tokens.access(CLAIMS)
    clock.now += 120
    new = tokens.access(CLAIMS)
    assert kid(old) != kid(new)
    fresh = Tokens(KEYS, 600, 30, clock=clock)
    assert fresh.read_access(old) == fresh.read_access(new) == CLAIMS
    clock.now += 500
    with pytest.raises(NotSignedIn) as refused:
        fresh.read_access(old)
    assert refused.value.code == "token-expired"
    assert fresh.read_access(new) == CLAIMS
    clock.now += 60 * DAY
    with pytest.raises(NotSignedIn) as refused:
        Tokens(KEYS, 600, 30, clock=clock).read_access(old)
    assert refused.value.code == "token-invalid"


def test_the_next_key_is_published_a_whole_period_before_it_signs():
    clock = Clock(500 * DAY * 7 + 3_600)
    tokens = Tokens(KEYS, 600, 7, clock=clock)
    seen = {key["kid"] for key in tokens.published()}
    assert len(seen) == 2
    clock.now += 7 * DAY
    assert kid(tokens.access(CLAIMS)) in seen
    assert len(seen & {key["kid"] for key in tokens.published()}) == 1


def test_the_last_key_stays_published_while_its_tokens_live():
    clock = Clock(500 * DAY * 7 - 10)
    tokens = Tokens(KEYS, 600, 7, clock=clock)
    token = tokens.access(CLAIMS)
    clock.now += 300
    assert kid(token) in {key["kid"] for key in tokens.published()}
    clock.now += 600
    assert kid(token) not in {key["kid"] for key in tokens.published()}


def test_a_host_whose_clock_is_a_little_ahead_is_believed():
    clock = Clock(500 * DAY * 7 - 2)
    tokens = Tokens(KEYS, 600, 7, clock=clock)
    ahead = Tokens(KEYS, 600, 7, clock=Clock(clock.now + 4))
    assert tokens.read_access(ahead.access(CLAIMS)) == CLAIMS


async def test_a_new_root_signs_and_what_the_old_one_signed_is_good_while_it_is_kept():
    clock, store = Clock(1e9), Changing()
    keyring = await store.keyring()
    tokens = Tokens(keyring, 600, clock=clock)
    session, claims = uuid4(), RefreshClaims(uuid4(), uuid4(), 1)
    token, refresh, csrf = tokens.access(CLAIMS), tokens.refresh(claims), tokens.csrf(session)
    assert tokens.read_access(token) == CLAIMS
    period = int(clock.now // (30 * DAY))
    await store.new_root(keyring, keep=["refresh-token", "csrf", module.signing_purpose(period)])
    assert tokens.read_access(token) == CLAIMS
    assert tokens.read_refresh(refresh) == claims
    assert tokens.is_csrf(session, csrf)
    assert kid(tokens.access(CLAIMS)) != kid(token)
    assert tokens.refresh(claims) != refresh
    assert tokens.csrf(session) != csrf
    assert tokens.is_csrf(session, tokens.csrf(session))
    assert not tokens.is_csrf(uuid4(), csrf)
    assert {kid(token), kid(tokens.access(CLAIMS))} <= {key["kid"] for key in tokens.published()}
    await store.new_root(keyring)
    for kept in ("refresh-token", "csrf", module.signing_purpose(period)):
        store.take(kept, 1)
    await keyring.look()
    assert not tokens.is_csrf(session, csrf)
    for read, given in ((tokens.read_access, token), (tokens.read_refresh, refresh)):
        with pytest.raises(NotSignedIn):
            read(given)


def test_a_token_that_was_checked_before_still_expires():
    clock = Clock(1e9)
    tokens = Tokens(KEYS, 600, clock=clock)
    token = tokens.access(CLAIMS)
    assert tokens.read_access(token) == tokens.read_access(token) == CLAIMS
    clock.now += 600
    for _ in range(2):
        with pytest.raises(NotSignedIn) as refused:
            tokens.read_access(token)
        assert refused.value.code == "token-expired"


def test_what_is_remembered_of_checked_tokens_has_a_bound(monkeypatch):
    monkeypatch.setattr(module, "CACHED", 20)
    tokens = Tokens(KEYS, 600)
    for _ in range(100):
        claims = AccessClaims(uuid4(), uuid4(), uuid4())
        assert tokens.read_access(tokens.access(claims)) == claims
        assert len(tokens._checked) <= 21


async def test_anybody_can_check_a_token_by_the_published_keys(api, browser, owner):
    token = (await login(browser, owner)).json()["access_token"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://folkmoot.test") as stranger:
        answer = await stranger.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert "max-age=" in answer.headers["cache-control"]
    keys = jwt.PyJWKSet.from_dict(answer.json())
    assert all("d" not in key for key in answer.json()["keys"])
    claims = jwt.decode(token, keys[kid(token)].key, algorithms=["EdDSA"], audience="folkmoot", issuer="folkmoot")
    assert claims["sub"] == str(owner.user.id)
    assert claims["exp"] - claims["iat"] == 600


async def test_a_websocket_takes_no_worse_token_than_a_request(browser, owner, app):
    own = jwt.decode((await login(browser, owner)).json()["access_token"], options={"verify_signature": False})
    expired = forged(app.part(Tokens), own, exp=1)
    assert (await browser.get("/me", headers=bearer(expired))).json()["code"] == "token-expired"


def kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]
