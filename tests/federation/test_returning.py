"""No link that somebody made leads a browser away from here after signing in."""

from uuid import uuid4

import pytest

from folkmoot.federation.returning import Pending, digest, keep, local_path, take

ATTACKS = [
    "https://evil.example",
    "http:evil.example",
    "https:/evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example/a",
    "/\\evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "\\/evil.example",
    "/%2fevil.example",
    "/%2Fevil.example",
    "/%252fevil.example",
    "/%25252fevil.example",
    "/%2525252525252fevil.example",
    "/%5cevil.example",
    "/%255cevil.example",
    "%2f%2fevil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    "/\n/evil.example",
    "/%0a/evil.example",
    "/a\r\nSet-Cookie: x=y",
    "/a%0d%0aSet-Cookie:%20x=y",
    "/\x00/evil.example",
    "/%00",
    " //evil.example",
    " /",
    "/.//evil.example",
    "/..//evil.example",
    "/a/..//evil.example",
    "/a/%2e%2e//evil.example",
    "/\u2028/evil.example",
    "/\u200b/evil.example",
    "/\uff0fevil.example",
    "\uff0f\uff0fevil.example",
    "/\uff3cevil.example",
    "/%ef%bc%8fevil.example",
    "/\x7f/evil.example",
    "/\ud800",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "@evil.example",
    "?next=//evil.example",
    "#/x",
    "",
    None,
    "/" + "a" * 3000,
    "/api/v1/auth/methods/01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d/start",
    "/API/v1/auth/callback",
    "/api",
    "/x/../api/v1/me",
    "/x/%2e%2e/api/v1/me",
    "/./api/v1/me",
    "/%61pi/v1/me",
    "/v1/models",
]


@pytest.mark.parametrize("wanted", ATTACKS)
def test_what_could_lead_elsewhere_leads_home(wanted):
    assert local_path(wanted) == "/"


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/", "/"),
        ("/spaces", "/spaces"),
        ("/spaces/1?tab=members&q=a%20b#top", "/spaces/1?tab=members&q=a%20b#top"),
        ("/search?q=https://example.org//a", "/search?q=https://example.org//a"),
        ("/områden/1", "/omr%C3%A5den/1"),
        ("/a b", "/a%20b"),
        ('/"<x>', "/%22%3Cx%3E"),
        ("/@ada", "/@ada"),
        ("/apis", "/apis"),
        ("/a/../b", "/a/../b"),
    ],
)
def test_a_path_of_ours_is_kept_and_fit_for_a_header(wanted, led):
    assert local_path(wanted) == led
    assert local_path(wanted).isascii()


async def test_a_sign_in_whose_key_is_gone_has_to_be_begun_again(app):
    states = [uuid4().hex, uuid4().hex]
    pending = Pending(tenant_id=uuid4(), method_id=uuid4(), browser=b"b", kept={}, return_to="/")
    for state in states:
        assert await keep(app, state, pending)
    assert await take(app, states[0]) == pending
    name = f"folkmoot:sign-in:{digest(states[1]).hex()}"
    sealed = await app.redis.get(name)
    await app.redis.set(name, sealed[:1] + b"\x00\x00\x00\x63" + sealed[5:], keepttl=True)
    assert await take(app, states[1]) is None
