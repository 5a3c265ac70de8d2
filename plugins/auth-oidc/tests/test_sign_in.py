"""A sign-in from the first redirect to a person, and the ways in which it ends without one."""

from __future__ import annotations

import hashlib
import logging
import traceback
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from folkmoot_sdk import AccountNotAllowed, AuthError, BackendUnavailable, LoginExpired
from folkmoot_sdk.testing.harness import LogCapture


async def test_the_browser_is_sent_away_with_all_that_binds_the_answer_to_it(meeting, fake):
    async with meeting.backend(prompt="select_account") as backend:
        start = await backend.begin(fake.back)
    url = urlsplit(start.url)
    asked = dict(parse_qsl(url.query))
    assert start.url.startswith(f"{fake.issuer}/authorize?kept=1&")
    assert asked == {
        "kept": "1",
        "response_type": "code",
        "client_id": fake.client_id,
        "redirect_uri": fake.back,
        "scope": "openid profile email",
        "state": start.state,
        "nonce": start.kept["nonce"],
        "code_challenge": fake.encoded(hashlib.sha256(start.kept["code_verifier"].encode()).digest()),
        "code_challenge_method": "S256",
        "prompt": "select_account",
    }
    # 43 letters of base64 are 256 bits; RFC 7636 wants at least as many for the verifier.
    assert min(len(start.state), len(start.kept["nonce"]), len(start.kept["code_verifier"])) >= 43


async def test_who_signed_in_is_told_with_what_the_provider_knows(meeting, fake):
    person = await meeting.sign_in({"sid": "s-1", "department": "Roads"})
    assert (person.issuer, person.subject) == (fake.issuer, "42")
    assert (person.email, person.email_verified, person.name) == ("ada@town.example", True, "Ada")
    assert person.groups == ("staff",)
    assert person.session == "s-1"
    assert person.logout_hint.count(".") == 2
    assert person.claims["department"] == "Roads"
    assert not {"nonce", "aud", "sid", "exp"} & set(person.claims)
    assert fake.count("/userinfo") == 0


@pytest.mark.parametrize(
    ("config", "offered", "way"),
    [
        ({}, None, "basic"),
        ({}, ["client_secret_post", "client_secret_basic"], "basic"),
        ({}, ["client_secret_post", "private_key_jwt"], "post"),
        ({"token_endpoint_auth_method": "client_secret_post"}, ["client_secret_basic"], "post"),
        ({"client_secret": None}, None, "none"),
        ({"client_secret": ""}, ["client_secret_basic"], "none"),
    ],
)
async def test_the_client_secret_goes_the_way_that_the_provider_takes(meeting, fake, config, offered, way):
    if offered:
        fake.metadata["token_endpoint_auth_methods_supported"] = offered
    if way == "none":
        fake.client_secret = None
    assert (await meeting.sign_in(**config)).subject == "42"
    (request,) = [each for each in fake.asked if each.url.path.endswith("/token")]
    form = parse_qs(request.content.decode())
    assert ("authorization" in request.headers) == (way == "basic")
    assert ("client_secret" in form) == (way == "post")
    assert ("client_id" in form) == (way != "basic")
    assert "code_verifier" in form


async def test_a_provider_that_takes_the_secret_in_no_known_way_is_named(meeting, fake):
    fake.metadata["token_endpoint_auth_methods_supported"] = ["tls_client_auth"]
    with pytest.raises(AuthError, match="neither as client_secret_basic nor as client_secret_post"):
        await meeting.sign_in()


async def came_back(meeting, fake, change, kept=None, **config):
    async with meeting.backend(**config) as backend:
        start = await backend.begin(fake.back)
        parameters = fake.sign_in(start) | change
        parameters = {name: value for name, value in parameters.items() if value is not None}
        return await backend.complete(fake.back, parameters, start.kept | (kept or {}))


@pytest.mark.parametrize("state", [None, "", "another", "å" * 43])
async def test_an_answer_with_another_state_is_not_looked_at(meeting, fake, state):
    with pytest.raises(LoginExpired, match="in another browser"):
        await came_back(meeting, fake, {"state": state, "error": "server_error"})
    assert fake.count("/token") == 0


@pytest.mark.parametrize("name", ["state", "nonce", "code_verifier", "redirect_uri", "issuer", "client_id"])
async def test_nothing_ends_well_with_half_of_what_was_kept(meeting, fake, name):
    with pytest.raises(LoginExpired):
        await came_back(meeting, fake, {}, {name: ""})
    assert fake.count("/token") == 0


@pytest.mark.parametrize("changed", [{"issuer": "https://id.example.org/old"}, {"client_id": "old"}])
async def test_a_login_method_that_was_changed_meanwhile_ends_the_sign_in(meeting, fake, changed):
    with pytest.raises(LoginExpired, match="changed during this sign-in"):
        await came_back(meeting, fake, {}, changed)
    assert fake.count("/token") == 0


@pytest.mark.parametrize("sender", [None, "", "https://evil.example", "https://id.example.org/realms/town/"])
async def test_a_mixed_up_issuer_gets_no_code(meeting, fake, sender):
    """RFC 9207: the browser was sent to one provider and comes back from another."""
    with pytest.raises(AuthError, match="is not from") as refused:
        await came_back(meeting, fake, {"iss": sender})
    assert type(refused.value) is AuthError
    assert fake.count("/token") == 0


async def test_an_issuer_that_was_not_promised_may_be_missing_but_not_wrong(meeting, fake):
    del fake.metadata["authorization_response_iss_parameter_supported"]
    assert (await came_back(meeting, fake, {"iss": None})).subject == "42"
    with pytest.raises(AuthError, match="is not from"):
        await came_back(meeting, fake, {"iss": "https://evil.example"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("access_denied", AccountNotAllowed),
        ("login_required", AccountNotAllowed),
        ("server_error", BackendUnavailable),
        ("temporarily_unavailable", BackendUnavailable),
        ("unauthorized_client", AuthError),
        ("invalid_scope", AuthError),
        ("<script>alert(1)</script>", AuthError),
        ("", AuthError),
    ],
)
async def test_what_the_provider_refuses_is_told_and_its_words_are_only_logged(meeting, fake, error, kind):
    change = {"error": error, "error_description": 'AADSTS50105: "not assigned"\nroot: all is well', "code": None}
    with LogCapture().listening() as log, pytest.raises(AuthError) as refused:
        await came_back(meeting, fake, change)
    assert type(refused.value) is kind
    assert "<" not in str(refused.value)
    assert "AADSTS" not in str(refused.value)
    (line,) = [line for line in log.lines if "AADSTS50105" in line]
    assert "\n" not in line.partition(" {")[0]


@pytest.mark.parametrize("code", [None, "", "a\nb", "å", "x" * 9000])
async def test_an_answer_without_a_usable_code_asks_the_provider_nothing(meeting, fake, code):
    with pytest.raises(AuthError, match="without a code"):
        await came_back(meeting, fake, {"code": code})
    assert fake.count("/token") == 0


async def test_a_code_is_good_once(meeting, fake):
    async with meeting.backend() as backend:
        start = await backend.begin(fake.back)
        parameters = fake.sign_in(start)
        await backend.complete(fake.back, parameters, start.kept)
        with pytest.raises(LoginExpired, match="no longer good"):
            await backend.complete(fake.back, parameters, start.kept)


async def test_a_code_of_another_browser_fails_at_its_verifier(meeting, fake):
    """The thief has the code and even the state; the verifier never left the host."""
    async with meeting.backend() as backend:
        theirs, mine = await backend.begin(fake.back), await backend.begin(fake.back)
        stolen = fake.sign_in(theirs) | {"state": mine.state}
        with pytest.raises(LoginExpired, match="no longer good"):
            await backend.complete(fake.back, stolen, mine.kept)


async def test_another_redirect_address_than_at_the_beginning_is_refused(meeting, fake):
    async with meeting.backend() as backend:
        start = await backend.begin(fake.back)
        with pytest.raises(LoginExpired):
            await backend.complete("https://other.example/callback", fake.sign_in(start), start.kept)


async def test_a_wrong_client_secret_is_an_administrators_matter_and_is_shown_nowhere(meeting, fake):
    wrong = "".join(["wrong", "-made-up-", "secret"])
    with LogCapture().listening() as log, pytest.raises(AuthError, match="enter them anew") as refused:
        await meeting.sign_in(client_secret=wrong)
    shown = "\n".join([*log.lines, *traceback.format_exception(refused.value)])
    assert "invalid_client" in shown
    for hidden in (wrong, *fake.codes):
        assert hidden not in shown


async def test_what_the_provider_repeats_of_a_secret_is_not_logged(meeting, fake):
    """The fake one puts the whole form into its description, as a careless one does."""
    async with meeting.backend(token_endpoint_auth_method="client_secret_post", client_secret="a-secret-x") as backend:
        start = await backend.begin(fake.back)
        parameters = fake.sign_in(start)
        with LogCapture().listening() as log, pytest.raises(AuthError):
            await backend.complete(fake.back, parameters, start.kept)
    assert any("wrong: {" in line for line in log.lines)
    for hidden in ("a-secret-x", start.kept["code_verifier"], parameters["code"]):
        assert not any(hidden in line for line in log.lines)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ({"id_token": None}, "gave no ID token"),
        ({"id_token": 7}, "gave no ID token"),
        ({"id_token": None, "error": "invalid_request"}, "invalid_request"),
    ],
)
async def test_an_answer_without_a_token_is_refused(meeting, fake, tokens, words):
    fake.tokens = tokens
    with pytest.raises(AuthError, match=words):
        await meeting.sign_in()


async def test_what_the_token_lacks_is_asked_of_userinfo(meeting, fake):
    fake.userinfo = {
        "sub": "42",
        "email": "ada@town.example",
        "email_verified": "true",
        "groups": ["a", "b"],
        "given_name": "Ada",
        "family_name": "Lind",
    }
    person = await meeting.sign_in({"email": None, "email_verified": None, "groups": None, "name": None})
    assert (person.email, person.email_verified, person.groups) == ("ada@town.example", True, ("a", "b"))
    assert person.name == "Ada Lind"


async def test_userinfo_vouches_only_for_its_own_address(meeting, fake):
    fake.userinfo = {"sub": "42", "email": "boss@town.example", "email_verified": True, "groups": ["boss"]}
    person = await meeting.sign_in({"email_verified": None, "groups": None})
    assert (person.email, person.email_verified) == ("ada@town.example", False)
    fake.userinfo = {"sub": "42", "email": "boss@town.example"}
    person = await meeting.sign_in({"email": None, "email_verified": True})
    assert (person.email, person.email_verified) == ("boss@town.example", False)


@pytest.mark.parametrize("who", ["43", None, 42, ["42"]])
async def test_userinfo_about_somebody_else_lets_nobody_in(meeting, fake, who):
    fake.userinfo = {"sub": who, "email": "boss@town.example", "email_verified": True}
    with pytest.raises(AuthError, match="about somebody else"):
        await meeting.sign_in({"email": None})


async def test_userinfo_that_refuses_is_told_with_the_way_out(meeting, fake):
    fake.instead["userinfo"] = httpx.Response(403, json={"error": "insufficient_scope"})
    with pytest.raises(AuthError, match="switch userinfo off"):
        await meeting.sign_in({"email": None})
    assert (await meeting.sign_in({"email": None}, userinfo=False)).email is None


@pytest.mark.parametrize(
    ("claims", "verified"),
    [
        ({"email_verified": True}, True),
        ({"email_verified": "true"}, True),
        ({"email_verified": 1}, False),
        ({"email_verified": "True"}, False),
        ({"email_verified": "yes"}, False),
        ({"email_verified": [True]}, False),
        ({"email_verified": False}, False),
        ({"email_verified": None}, False),
        ({"email_verified": None, "xms_edov": "1"}, True),
        ({"email_verified": False, "xms_edov": True}, False),
    ],
)
async def test_an_address_is_verified_only_when_the_provider_says_so(meeting, claims, verified):
    assert (await meeting.sign_in(claims)).email_verified is verified


async def test_an_administrator_can_vouch_for_addresses_of_which_nothing_is_said(meeting):
    assert (await meeting.sign_in({"email_verified": None}, email_always_verified=True)).email_verified
    assert not (await meeting.sign_in({"email_verified": False}, email_always_verified=True)).email_verified


async def test_an_address_from_another_claim_is_not_vouched_for_by_the_one_for_e_mail(meeting):
    claims = {"upn": "ada@corp.example"}
    person = await meeting.sign_in(claims, email_claim="upn")
    assert (person.email, person.email_verified) == ("ada@corp.example", False)
    assert (await meeting.sign_in(claims, email_claim="upn", email_always_verified=True)).email_verified


@pytest.mark.parametrize(
    "email", ["ada", "@town.example", "ada@", "a b@town.example", "a@b@c", "ada@town\n", 7, ["a@b"], "a" * 400 + "@b"]
)
async def test_what_is_no_address_is_none(meeting, email):
    person = await meeting.sign_in({"email": email})
    assert (person.email, person.email_verified) == (None, False)


@pytest.mark.parametrize(
    ("path", "claims", "groups"),
    [
        ("groups", {"groups": ["a", "b", "a"]}, ("a", "b")),
        ("groups", {"groups": "only"}, ("only",)),
        ("groups", {"groups": []}, ()),
        ("groups", {"groups": ["Ärenden", "/Town/Roads"]}, ("Ärenden", "/Town/Roads")),
        ("realm_access.roles", {"realm_access": {"roles": ["r"]}}, ("r",)),
        ("resource_access.my.app.roles", {"resource_access": {"my.app": {"roles": ["r"]}}}, ("r",)),
        ("https://town.example/groups", {"https://town.example/groups": ["g"]}, ("g",)),
        ("realm_access.roles", {"realm_access": ["roles"]}, ()),
        ("", {"groups": ["a"]}, ()),
    ],
)
async def test_groups_are_read_where_the_provider_puts_them(meeting, path, claims, groups):
    person = await meeting.sign_in({"groups": None} | claims, groups_claim=path)
    assert person.groups == groups
    assert "groups_incomplete" not in person.claims


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"groups": ["a", 7, None, {"name": "b"}, "", "x" * 201, "c\nd", "e"]}, ("a", "e")),
        ({"groups": {"a": True}}, ()),
        ({"groups": 7}, ()),
        ({"groups": [f"g{n}" for n in range(600)]}, tuple(f"g{n}" for n in range(500))),
        ({"groups": None, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "x"}}}, ()),
        ({"groups": None, "hasgroups": True}, ()),
    ],
)
async def test_groups_that_are_missing_are_logged_and_marked(meeting, fake, caplog, claims, groups):
    with caplog.at_level(logging.WARNING):
        person = await meeting.sign_in(claims)
    assert person.groups == groups
    assert person.claims["groups_incomplete"] is True
    assert "groups of '42'" in caplog.text
    assert fake.count("/userinfo") == 0


async def test_a_provider_cannot_mark_groups_as_incomplete_itself(meeting):
    assert "groups_incomplete" not in (await meeting.sign_in({"groups_incomplete": True})).claims


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "  Ada\nLind\x00 "}, "Ada Lind"),
        ({"name": "x" * 5000}, "x" * 200),
        ({"name": 7, "given_name": "Ada"}, "Ada"),
        ({"name": "\n", "preferred_username": "ada"}, "ada"),
        ({"name": None}, None),
    ],
)
async def test_a_name_is_one_short_line(meeting, claims, name):
    assert (await meeting.sign_in(claims)).name == name
