"""Toys of both kinds of sign-in pass the kit; broken ones fail the promise they break."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from folkmoot_sdk import (
    AuthBackendSpec,
    AuthError,
    BackendUnavailable,
    ExternalIdentity,
    InvalidCredentials,
    LoginExpired,
    LogoutNotice,
    PluginContext,
    RedirectStart,
    Secret,
)
from folkmoot_sdk.testing.auth import AuthConformance

BREAKS: set[str] = set()
PEOPLE = {"ada": "correct horse"}


class ToyConfig(msgspec.Struct, frozen=True):
    client_secret: Secret


class Directory:
    def __init__(self, context: PluginContext) -> None:
        self.context = context

    async def authenticate(self, identifier: str, password: Secret) -> ExternalIdentity:
        try:
            await self.context.http.get("https://directory.example/")
        except httpx.TransportError as error:
            raise BackendUnavailable("the directory does not answer") from error
        if "log" in BREAKS:
            self.context.log.info("checking %s", password.reveal())
        if "anonymous" in BREAKS and identifier in PEOPLE and not password.reveal():
            return ExternalIdentity("directory", "anonymous")
        if "tells" in BREAKS and identifier not in PEOPLE:
            raise InvalidCredentials("no such person")
        if PEOPLE.get(identifier) != password.reveal():
            raise InvalidCredentials("wrong name or password")
        subject = secrets.token_hex(4) if "subject" in BREAKS else identifier
        return ExternalIdentity("directory", subject)


class Away:
    def __init__(self, config: ToyConfig, context: PluginContext) -> None:
        self.config = config
        self.context = context

    async def begin(self, redirect_uri: str) -> RedirectStart:
        state = "one-state-for-everybody" if "state" in BREAKS else secrets.token_urlsafe(24)
        shown = self.config.client_secret.reveal() if "url" in BREAKS else ""
        url = f"https://id.example/?state={state}&redirect_uri={redirect_uri}&x={shown}"
        return RedirectStart(url, state, {"nonce": secrets.token_hex(8) + state})

    async def complete(
        self, redirect_uri: str, parameters: Mapping[str, str], kept: Mapping[str, str]
    ) -> ExternalIdentity:
        try:
            await self.context.http.post("https://id.example/token")
        except httpx.TransportError as error:
            raise BackendUnavailable("the identity provider does not answer") from error
        if "error" in parameters or "code" not in parameters:
            raise InvalidCredentials("the identity provider let nobody in")
        if parameters["code"] != kept["nonce"] and "elsewhere" not in BREAKS:
            raise LoginExpired("this sign-in was started in another browser")
        groups = ["clerks"] if "groups" in BREAKS else ("clerks",)
        session = "" if "session" in BREAKS else "sid-1"
        return ExternalIdentity(
            "https://id.example", "42", "ada@example.org", True, groups=groups, session=session, logout_hint="hint"
        )

    async def end_session_url(self, return_to: str, logout_hint: str | None) -> str | None:
        if "leads" in BREAKS:
            return "javascript:alert(1)"
        shown = self.config.client_secret.reveal() if "tells-there" in BREAKS else logout_hint
        return f"https://id.example/logout?hint={shown}" if logout_hint else None

    async def read_logout(self, token: str) -> LogoutNotice:
        if not token.startswith("genuine-") and "believes" not in BREAKS:
            raise AuthError("the provider did not make this token")
        token_id = "always-the-same" if "replay" in BREAKS else token
        subject = "43" if "another" in BREAKS else "42"
        issuer = "https://other.example" if "issuer" in BREAKS else "https://id.example"
        return LogoutNotice(issuer, None if "nobody" in BREAKS else subject, None, token_id)


@asynccontextmanager
async def connect_directory(config: ToyConfig, context: PluginContext) -> AsyncIterator[Directory]:
    yield Directory(context)


@asynccontextmanager
async def connect_away(config: ToyConfig, context: PluginContext) -> AsyncIterator[Away]:
    yield Away(config, context)


class Both(AuthConformance):
    def config(self):
        return {"client_secret": "made-up-secret"}

    def transport(self):
        return httpx.MockTransport(lambda request: httpx.Response(204))


class TestDirectory(Both):
    spec = AuthBackendSpec("directory", "Directory", ToyConfig, connect_directory)
    account = ("ada", "correct horse")


class TestAway(Both):
    spec = AuthBackendSpec("away", "Away", ToyConfig, connect_away)

    def come_back(self, start: RedirectStart) -> Mapping[str, str]:
        return {"code": start.kept["nonce"], "state": start.state}

    def logout_token(self, identity: ExternalIdentity) -> str:
        return f"genuine-{secrets.token_hex(8)}"


class TestAwayThatTellsOfNoSignOut(TestAway):
    def logout_token(self, identity: ExternalIdentity) -> None:
        return None


def broken(conformance: AuthConformance) -> list[str]:
    failed: list[str] = []
    for name in [name for name in dir(AuthConformance) if name.startswith("test_")]:
        try:
            getattr(conformance, name)()
        except AssertionError:
            failed.append(name)
    return failed


@pytest.mark.parametrize(
    ("kit", "fault", "promise"),
    [
        (TestDirectory, "log", "test_errors_and_logs_hide_passwords_and_secrets"),
        (TestDirectory, "anonymous", "test_an_empty_password_lets_nobody_in"),
        (TestDirectory, "tells", "test_a_wrong_password_and_a_wrong_name_sound_alike"),
        (TestDirectory, "subject", "test_the_right_password_gives_the_same_person_each_time"),
        (TestAway, "state", "test_every_sign_in_has_a_state_of_its_own_and_shows_no_secret"),
        (TestAway, "url", "test_every_sign_in_has_a_state_of_its_own_and_shows_no_secret"),
        (TestAway, "elsewhere", "test_what_was_started_elsewhere_does_not_end_here"),
        (TestAway, "groups", "test_a_sign_in_that_came_back_gives_a_person"),
        (TestAway, "session", "test_a_sign_in_that_came_back_gives_a_person"),
        (TestAway, "leads", "test_signing_out_there_leads_to_a_web_address_and_shows_no_secret"),
        (TestAway, "tells-there", "test_signing_out_there_leads_to_a_web_address_and_shows_no_secret"),
        (TestAway, "believes", "test_a_sign_out_that_the_provider_did_not_tell_of_is_an_auth_error"),
        (TestAway, "replay", "test_a_sign_out_that_the_provider_told_of_names_whose_it_was"),
        (TestAway, "another", "test_a_sign_out_that_the_provider_told_of_names_whose_it_was"),
        (TestAway, "issuer", "test_a_sign_out_that_the_provider_told_of_names_whose_it_was"),
        (TestAway, "nobody", "test_a_sign_out_that_the_provider_told_of_names_whose_it_was"),
    ],
)
def test_a_broken_promise_fails_its_own_test_and_no_other(kit, fault, promise):
    BREAKS.add(fault)
    try:
        assert broken(kit()) == ([promise] if fault != "elsewhere" else broken_by_a_stranger(promise))
    finally:
        BREAKS.clear()


def broken_by_a_stranger(promise: str) -> list[str]:
    """A backend that takes any code takes nonsense for one too."""
    return ["test_a_refusal_or_nonsense_coming_back_is_an_auth_error", promise]
