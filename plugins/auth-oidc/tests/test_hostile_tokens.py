"""ID tokens that nobody may come in with, one fault at a time, beside the same token without it."""

from __future__ import annotations

import hashlib
import traceback

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from folkmoot_sdk import AuthError, LoginExpired


def half(algorithm, value):
    digest = algorithm(value.encode()).digest()
    return digest[: len(digest) // 2]


CLAIMS = {
    "another issuer": ("is not from", {"iss": "https://id.example.org/realms/city"}),
    "an issuer with a slash more": ("is not from", {"iss": "https://id.example.org/realms/town/"}),
    "no issuer": ("is not from", {"iss": None}),
    "an issuer in a list": ("is not from", {"iss": ["https://id.example.org/realms/town"]}),
    "another audience": ("is for another application", {"aud": "payroll"}),
    "no audience": ("is for another application", {"aud": None}),
    "an audience that begins alike": ("is for another application", {"aud": "folkmoot-admin"}),
    "an audience that is an object": ("is for another application", {"aud": {"folkmoot": True}}),
    "an empty audience": ("is for another application", {"aud": []}),
    "several audiences and none it was made for": ("several applications", {"aud": ["folkmoot", "payroll"]}),
    "made for another of its audiences": (
        "was made for another application",
        {"aud": ["folkmoot", "payroll"], "azp": "payroll"},
    ),
    "made for another application": ("was made for another application", {"azp": "payroll"}),
    "expired": ("has expired", {"iat": -700, "exp": -121}),
    "no end": ("has no end", {"exp": None}),
    "an end that is words": ("a time that is none", {"exp": "tomorrow"}),
    "an end that is true": ("a time that is none", {"exp": True}),
    "an end beyond all times": ("a time that is none", {"exp": 1e300}),
    "an end before the epoch": ("a time that is none", {"exp": -1e12}),
    "no time of making": ("when it was made", {"iat": None}),
    "made in the future": ("ahead of the time", {"iat": 125, "exp": 400}),
    "not valid yet": ("ahead of the time", {"nbf": 125}),
    "no subject": ("no usable sub", {"sub": None}),
    "an empty subject": ("no usable sub", {"sub": ""}),
    "a blank subject": ("no usable sub", {"sub": "  "}),
    "a subject that is a number": ("no usable sub", {"sub": 42}),
    "a subject beyond all lengths": ("no usable sub", {"sub": "4" * 256}),
    "a subject with a line break": ("no usable sub", {"sub": "42\nadmin"}),
    "an access token that is another's": ("together with the access token", {"at_hash": "A" * 22}),
    "a hash that is no text": ("together with the access token", {"at_hash": ["x"]}),
    "a logout token": ("is a logout token", {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
}


def moved(fake, claims):
    """Small numbers are seconds from now."""
    return {
        name: fake.seconds + value
        if name in ("iat", "exp", "nbf") and type(value) is int and abs(value) < 10_000
        else value
        for name, value in claims.items()
    }


@pytest.mark.parametrize(("words", "claims"), CLAIMS.values(), ids=CLAIMS)
async def test_a_token_that_says_something_wrong_lets_nobody_in(meeting, fake, words, claims):
    with pytest.raises(AuthError, match=words) as refused:
        await meeting.sign_in(moved(fake, claims))
    assert type(refused.value) is AuthError
    assert (await meeting.sign_in()).subject == "42"


@pytest.mark.parametrize("nonce", [None, "another", "", 7, ["x"]])
async def test_a_token_of_another_sign_in_is_an_expired_sign_in(meeting, nonce):
    with pytest.raises(LoginExpired, match="answered for another one"):
        await meeting.sign_in({"nonce": nonce})


def flipped(token):
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def swapped(fake, claims):
    """The signature of one token under the claims of another."""
    head, _, signature = fake.signed(claims).split(".")
    return f"{head}.{fake.encoded(claims | {'sub': 'admin'})}.{signature}"


def pem(fake, kind):
    return fake.private["rsa"].public_key().public_bytes(Encoding.PEM, kind)


TOKENS = {
    "no signature at all": (
        "which this login method does not take",
        lambda f, c: f"{f.encoded({'alg': 'none', 'typ': 'JWT'})}.{f.encoded(c)}.",
    ),
    "none in other letters": (
        "which this login method does not take",
        lambda f, c: f"{f.encoded({'alg': 'nOnE', 'kid': 'rsa'})}.{f.encoded(c)}.",
    ),
    "none with a signature": (
        "which this login method does not take",
        lambda f, c: f"{f.encoded({'alg': 'none', 'kid': 'rsa'})}." + f.signed(c).split(".", 1)[1],
    ),
    "a known algorithm without a signature": (
        "not signed with a key that",
        lambda f, c: f.signed(c).rpartition(".")[0] + ".",
    ),
    "HS256 with the public key": (
        "which this login method does not take",
        lambda f, c: f.with_password(c, pem(f, PublicFormat.SubjectPublicKeyInfo), kid="rsa"),
    ),
    "HS256 with the public key of PKCS1": (
        "which this login method does not take",
        lambda f, c: f.with_password(c, pem(f, PublicFormat.PKCS1), kid="rsa"),
    ),
    "HS256 with the modulus": (
        "which this login method does not take",
        lambda f, c: f.with_password(c, f.keys[0]["n"].encode(), kid="rsa"),
    ),
    "HS256 with the client secret": (
        "which this login method does not take",
        lambda f, c: f.with_password(c, f.secret.encode()),
    ),
    "a key brought along": (
        "not signed with a key that",
        lambda f, c: f.signed(c, "other", jwk=f.public("other"), kid="rsa"),
    ),
    "a key to be fetched": (
        "not signed with a key that",
        lambda f, c: f.signed(c, "other", jku="https://evil.example/keys"),
    ),
    "a key that is not published": ("not signed with a key that", lambda f, c: f.signed(c, "other")),
    "another's key under a known name": ("not signed with a key that", lambda f, c: f.signed(c, "other", kid="rsa")),
    "a key name that is a path": ("not signed with a key that", lambda f, c: f.signed(c, kid="../../../dev/null")),
    "a key name that is a list": ("is no signed token", lambda f, c: f.signed(c, kid=["rsa"])),
    "no key name where there are two": (
        "not signed with a key that",
        lambda f, c: (f.keys.append(f.public("other")), f.signed(c, kid=None))[1],
    ),
    "an algorithm nobody allowed": (
        "which this login method does not take",
        lambda f, c: f.signed(c, algorithm="RS512"),
    ),
    "an algorithm of another kind of key": ("not signed with a key that", lambda f, c: f.signed(c, "p256", kid="rsa")),
    "an algorithm that is a number": ("which this login method does not take", lambda f, c: f.signed(c, alg=256)),
    "an algorithm in small letters": ("which this login method does not take", lambda f, c: f.signed(c, alg="rs256")),
    "no algorithm": ("which this login method does not take", lambda f, c: f.signed(c, alg=None)),
    "a changed signature": ("not signed with a key that", lambda f, c: flipped(f.signed(c))),
    "changed claims": ("not signed with a key that", swapped),
    "a key too short to trust": (
        "not signed with a key that",
        lambda f, c: (f.keys.append(f.public("short")), f.signed(c, "short"))[1],
    ),
    "a key for encryption": (
        "not signed with a key that",
        lambda f, c: (f.keys.append(f.public("other", use="enc")), f.signed(c, "other"))[1],
    ),
    "a key for another algorithm": (
        "not signed with a key that",
        lambda f, c: (f.keys.append(f.public("other", alg="PS256")), f.signed(c, "other"))[1],
    ),
    "a key that may not verify": (
        "not signed with a key that",
        lambda f, c: (
            f.keys.append(f.public("other", key_ops=["encrypt"])),
            f.signed(c, "other"),
        )[1],
    ),
    "a key whose private half is published": (
        "not signed with a key that",
        lambda f, c: (
            f.keys.append(f.public("other", d="AQAB")),
            f.signed(c, "other"),
        )[1],
    ),
    "an extension that matters": (
        "extension that is not known|is no signed token",
        lambda f, c: f.signed(c, crit=["exp"]),
    ),
    "an extension that changes nothing": (
        "extension that is not known",
        lambda f, c: f.signed(c, b64=True, crit=["b64"]),
    ),
    "a payload that is not encoded": (
        "extension that is not known|is no signed token",
        lambda f, c: f.signed(c, b64=False, crit=["b64"]),
    ),
    "an access token": ("token of another kind", lambda f, c: f.signed(c, typ="at+jwt")),
    "a logout token": ("token of another kind", lambda f, c: f.signed(c, typ="logout+jwt")),
    "claims in a list": ("content is no JSON object", lambda f, c: f.signed([c])),
    "claims that are no JSON": ("content is no JSON object", lambda f, c: f.signed(b"\xff\xfe{}")),
    "claims too deep to read": (
        "content is no JSON object",
        lambda f, c: f.signed(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    ),
    "a number too long to read": ("content is no JSON object", lambda f, c: f.signed(b'{"exp":' + b"9" * 5000 + b"}")),
    "no claims": ("content is no JSON object", lambda f, c: f.signed(b"")),
    "more than fits": ("more than 65536 characters", lambda f, c: f.signed(c | {"filling": "x" * 70_000})),
    "two parts": ("is no signed token", lambda f, c: f.signed(c).rpartition(".")[0]),
    "four parts": ("is no signed token", lambda f, c: f.signed(c) + ".x"),
    "an encrypted token": ("is encrypted", lambda f, c: f"{f.encoded({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.a.b.c.d"),
    "three dots": ("is no signed token", lambda f, c: ".."),
    "nothing": ("is no signed token", lambda f, c: ""),
    "not a text": ("gave no ID token", lambda f, c: 7),
    "letters outside ASCII": ("is no signed token", lambda f, c: "å" + f.signed(c)),
    "a header that is no object": ("is no signed token", lambda f, c: f"{f.encoded([1])}.{f.encoded(c)}.AAAA"),
    "a header too deep to read": ("is no signed token", lambda f, c: f"{f.encoded(b'[' * 20000)}.{f.encoded(c)}.AAAA"),
    "signs that are no base64": ("is no signed token", lambda f, c: f.signed(c).replace(".", ".!", 1)),
}


@pytest.mark.parametrize(("words", "forge"), TOKENS.values(), ids=TOKENS)
async def test_a_token_that_is_not_the_providers_lets_nobody_in(meeting, fake, words, forge):
    fake.sign = lambda claims: forge(fake, claims)
    with pytest.raises(AuthError, match=words) as refused:
        await meeting.sign_in()
    assert type(refused.value) is AuthError
    said = "".join(traceback.format_exception(refused.value))
    assert fake.secret not in said
    assert "made-up" not in said
    meeting.clock.seconds += 10
    fake.sign = fake.signed
    assert (await meeting.sign_in()).subject == "42"


SOUND = {
    "the shortest": {},
    "a list of one": {"aud": ["folkmoot"]},
    "several, made for us": {"aud": ["payroll", "folkmoot"], "azp": "folkmoot"},
    "within the skew of its end": {"iat": -400, "exp": -100},
    "within the skew of its beginning": {"iat": 100, "nbf": 110, "exp": 400},
    "times with a fraction": {"iat": 1_904_299_200.25},
}


@pytest.mark.parametrize("claims", SOUND.values(), ids=SOUND)
async def test_a_token_with_what_is_allowed_lets_its_person_in(meeting, fake, claims):
    assert (await meeting.sign_in(moved(fake, claims))).subject == "42"


async def test_the_skew_is_as_wide_as_it_was_set(meeting, fake):
    late = {"iat": fake.seconds - 300, "exp": fake.seconds - 5}
    with pytest.raises(AuthError, match="has expired"):
        await meeting.sign_in(late, clock_skew_seconds=5)
    assert await meeting.sign_in(late, clock_skew_seconds=6)


@pytest.mark.parametrize("key", ["rsa", "p256", "ed"])
async def test_every_allowed_kind_of_key_checks_the_token_and_its_hash(meeting, fake, key):
    hashing = hashlib.sha512 if key == "ed" else hashlib.sha256
    bound = {"at_hash": fake.encoded(half(hashing, "access-token"))}
    fake.metadata["id_token_signing_alg_values_supported"] = ["RS256", "ES256", "EdDSA"]
    fake.sign = lambda claims: fake.signed(claims, key)
    assert (await meeting.sign_in(bound)).subject == "42"
    fake.tokens["access_token"] = "another-token"
    with pytest.raises(AuthError, match="together with the access token"):
        await meeting.sign_in(bound)


async def test_pss_is_checked_with_an_rsa_key(meeting, fake):
    fake.sign = lambda claims: fake.signed(claims, algorithm="PS256")
    assert (await meeting.sign_in()).subject == "42"


async def test_one_key_without_a_name_checks_a_token_without_one(meeting, fake):
    fake.keys = [{name: value for name, value in fake.public("rsa").items() if name != "kid"}]
    fake.sign = lambda claims: fake.signed(claims, kid=None)
    assert (await meeting.sign_in()).subject == "42"
