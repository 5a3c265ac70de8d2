"""A provider made of functions, which signs real tokens and can be told to misbehave in any one place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from folkmoot_auth_oidc import Config, connect
from folkmoot_sdk import PluginContext, decode_config

ISSUER = "https://id.example.org/realms/town"
CLIENT = "folkmoot"
SECRET = "made-up client+secret/åäö"
RETURN = "https://folkmoot.example/api/v1/auth/callback"
NOW = datetime(2030, 5, 6, 12, 0, 0, tzinfo=UTC)
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

PRIVATE = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "other": rsa.generate_private_key(65537, 2048),
    "short": rsa.generate_private_key(65537, 1024),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHMS = {"rsa": "RS256", "other": "RS256", "short": "RS256", "p256": "ES256", "ed": "EdDSA"}


def encoded(data) -> str:
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public(name: str, **more) -> dict:
    """A key as it stands in the key set."""
    algorithm = jwt.get_algorithm_by_name(ALGORITHMS[name])
    found = algorithm.to_jwk(PRIVATE[name].public_key(), as_dict=True)
    found.pop("key_ops", None)
    return {"use": "sig", "kid": name, **found, **more}


def signed(claims, key="rsa", algorithm=None, **header) -> str:
    """A token; a header of None leaves that out. `claims` may be bytes."""
    algorithm = algorithm or ALGORITHMS[key]
    head = {"alg": algorithm, "typ": "JWT", "kid": key} | header
    head = {name: value for name, value in head.items() if value is not None}
    body = f"{encoded(head)}.{encoded(claims)}"
    signature = jwt.get_algorithm_by_name(algorithm).sign(body.encode(), PRIVATE[key])
    return f"{body}.{encoded(signature)}"


def with_password(claims, password: bytes, **header) -> str:
    """A token signed as HS256."""
    body = f"{encoded({'alg': 'HS256', 'typ': 'JWT', **header})}.{encoded(claims)}"
    return f"{body}.{encoded(hmac.digest(password, body.encode(), hashlib.sha256))}"


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class FakeProvider:
    """Attributes that a test changes change the answers from then on."""

    issuer, client_id, secret, back = ISSUER, CLIENT, SECRET, RETURN
    seconds = int(NOW.timestamp())
    event = LOGOUT_EVENT
    public = staticmethod(public)
    signed = staticmethod(signed)
    with_password = staticmethod(with_password)
    encoded = staticmethod(encoded)
    private = PRIVATE

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.codes: dict[str, dict] = {}
        self.keys = [public("rsa"), public("p256"), public("ed")]
        self.metadata = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize?kept=1",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "end_session_endpoint": f"{ISSUER}/logout",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.claims: dict = {"email": "ada@town.example", "email_verified": True, "groups": ["staff"], "name": "Ada"}
        self.userinfo: dict = {"sub": "42"}
        self.tokens: dict = {}
        """Laid over the token endpoint's answer."""
        self.sign = signed
        self.instead: dict[str, object] = {}
        """By the last part of the path: a response, or an exception, instead of the right answer."""
        self.client_secret: str | None = SECRET

    def count(self, path: str) -> int:
        return sum(request.url.path.endswith(path) for request in self.asked)

    def id_token_claims(self, nonce: str, /, **more) -> dict:
        """As they should be; a value of None leaves a claim out."""
        seconds = int(NOW.timestamp())
        claims = {"iss": ISSUER, "sub": "42", "aud": CLIENT, "iat": seconds, "exp": seconds + 300, "nonce": nonce}
        claims |= self.claims | more
        return {name: value for name, value in claims.items() if value is not None}

    def logout_claims(self, **more) -> dict:
        seconds = int(NOW.timestamp())
        claims = {"iss": ISSUER, "sub": "42", "aud": CLIENT, "iat": seconds, "exp": seconds + 120, "jti": "j-1"}
        claims |= {"events": {LOGOUT_EVENT: {}}, "sid": "s-1"} | more
        return {name: value for name, value in claims.items() if value is not None}

    def sign_in(self, start, **claims) -> dict[str, str]:
        """A person signs in; what the browser brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(start.url).query).items()}
        code = f"code-{len(self.codes)}-{hashlib.sha256(start.state.encode()).hexdigest()}"
        self.codes[code] = {**asked, "claims": claims}
        return {"code": code, "state": asked["state"], "iss": ISSUER}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        last = request.url.path.rpartition("/")[2]
        if last in self.instead:
            answer = self.instead[last]
            if isinstance(answer, Exception):
                raise answer
            return answer() if callable(answer) else answer
        match last:
            case "openid-configuration":
                return httpx.Response(200, json=self.metadata)
            case "keys":
                return httpx.Response(200, json={"keys": self.keys})
            case "token":
                return self._token(request)
            case "userinfo":
                assert request.headers["authorization"] == "Bearer access-token"
                return httpx.Response(200, json=self.userinfo)
        return httpx.Response(404, text="nothing here")

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode()))
        if not self._knows_client(request, form):
            return httpx.Response(401, json={"error": "invalid_client", "error_description": f"wrong: {form}"})
        found = self.codes.pop(form.get("code", ""), None)
        challenge = encoded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            found is None
            or found["code_challenge"] != challenge
            or found["code_challenge_method"] != "S256"
            or found["redirect_uri"] != form["redirect_uri"]
        ):
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": f"no good: {form}"})
        id_token = self.sign(self.id_token_claims(found["nonce"], **found["claims"]))
        answer = {"access_token": "access-token", "token_type": "Bearer", "expires_in": 300, "id_token": id_token}
        return httpx.Response(200, json={k: v for k, v in (answer | self.tokens).items() if v is not None})

    def _knows_client(self, request: httpx.Request, form: dict[str, str]) -> bool:
        if self.client_secret is None:
            return form.get("client_id") == CLIENT and "authorization" not in request.headers
        if "client_secret" in form:
            return (form["client_id"], form["client_secret"]) == (CLIENT, self.client_secret)
        kind, _, pair = request.headers.get("authorization", "").partition(" ")
        # RFC 6749, 2.3.1: both halves are form-encoded first.
        return kind == "Basic" and dict(parse_qsl(base64.b64decode(pair).decode().replace(":", "="))) == {
            CLIENT: self.client_secret
        }


class Meeting:
    """The plugin and the fake provider, introduced to each other."""

    def __init__(self, fake: FakeProvider, clock: Clock) -> None:
        self.fake, self.clock = fake, clock
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(fake))

    @asynccontextmanager
    async def backend(self, **config):
        settings = {"issuer": ISSUER, "client_id": CLIENT, "client_secret": SECRET} | config
        context = PluginContext(http=self.http, log=logging.getLogger("folkmoot.auth.oidc"), clock=self.clock)
        async with connect(decode_config(Config, settings), context) as backend:
            yield backend

    async def sign_in(self, claims=None, **config):
        """A whole sign-in, with these claims in the ID token."""
        async with self.backend(**config) as backend:
            start = await backend.begin(RETURN)
            return await backend.complete(RETURN, self.fake.sign_in(start, **(claims or {})), start.kept)

    async def read_logout(self, token: str, **config):
        async with self.backend(**config) as backend:
            return await backend.read_logout(token)


@pytest.fixture
def fake():
    return FakeProvider()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def meeting(fake, clock):
    meeting = Meeting(fake, clock)
    yield meeting
    await meeting.http.aclose()
