"""The promises of an auth backend, as tests that its author inherits.

A backend that takes names and passwords fills in `account` and `unknown_identifier`; one that sends the
browser away fills in `come_back`, and `logout_token` if it hears of sign-outs. What does not apply is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from folkmoot_sdk.auth import (
    AuthBackendSpec,
    CredentialBackend,
    EndsSession,
    ExternalIdentity,
    HearsLogout,
    LogoutNotice,
    RedirectBackend,
    RedirectStart,
)
from folkmoot_sdk.config import Secret
from folkmoot_sdk.errors import AuthError, BackendUnavailable, InvalidCredentials
from folkmoot_sdk.testing.harness import LogCapture, SpecConformance, told

_RETURN = "https://folkmoot.example/api/v1/auth/callback"
_HOME = "https://folkmoot.example"


class AuthConformance(SpecConformance):
    """Subclass it in a test file, say what is tested, and learn which promise is broken."""

    spec: AuthBackendSpec
    account: tuple[str, str] | None = None
    """A name and its password that the fake directory accepts."""
    unknown_identifier: str = "nobody-of-that-name"

    def come_back(self, start: RedirectStart) -> Mapping[str, str]:
        """The query parameters a browser brings back after a sign-in that went well."""
        raise NotImplementedError(f"say what a browser brings back to {start.state!r}: override come_back()")

    def logout_token(self, identity: ExternalIdentity) -> str | None:  # noqa: ARG002 - for those who override it
        """What the provider sends when the sign-in of `identity` ends there, new at each call.

        None, as it is unless overridden: only what must be refused is tried.
        """
        return None

    def broken_transport(self) -> httpx.AsyncBaseTransport | None:
        """The upstream when it does not answer; None if the backend does not use the lent client."""
        if self.transport() is None:
            return None

        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("the line is dead", request=request)

        return httpx.MockTransport(refuse)

    def test_the_connection_is_one_of_the_two_kinds(self) -> None:
        async def promise(connection: Any) -> None:
            both = (isinstance(connection, CredentialBackend), isinstance(connection, RedirectBackend))
            assert any(both), "the connection is neither a CredentialBackend nor a RedirectBackend"
            assert not both[0] or self.account is not None, "set `account` to a name and a password"

        self._with(promise)

    def test_the_right_password_gives_the_same_person_each_time(self) -> None:
        async def promise(backend: CredentialBackend, name: str, password: str) -> None:
            first = await backend.authenticate(name, Secret(password))
            again = await backend.authenticate(name, Secret(password))
            _looks_like_a_person(first)
            assert (first.issuer, first.subject) == (again.issuer, again.subject), (
                f"issuer and subject must never change: {first!r}, then {again!r}"
            )

        self._with_password(promise)

    def test_a_wrong_password_and_a_wrong_name_sound_alike(self) -> None:
        async def promise(backend: CredentialBackend, name: str, password: str) -> None:
            wrong = await _refused(backend.authenticate(name, Secret(f"{password}!")))
            unknown = await _refused(backend.authenticate(self.unknown_identifier, Secret(password)))
            for error in (wrong, unknown):
                assert isinstance(error, InvalidCredentials), f"{error!r} should be InvalidCredentials"
            assert str(wrong) == str(unknown), f"the words tell who exists: {wrong!s} / {unknown!s}"

        self._with_password(promise)

    def test_an_empty_password_lets_nobody_in(self) -> None:
        """A directory takes a name without a password for an anonymous visit, and says welcome."""

        async def promise(backend: CredentialBackend, name: str, _password: str) -> None:
            error = await _refused(backend.authenticate(name, Secret("")))
            assert isinstance(error, InvalidCredentials), f"{error!r} should be InvalidCredentials"

        self._with_password(promise)

    def test_names_full_of_syntax_are_only_names(self) -> None:
        async def promise(backend: CredentialBackend, _name: str, password: str) -> None:
            for name in ("*", "*)(uid=*", "' OR 1=1 --", "a\x00b", "", "å" * 5000):
                error = await _refused(backend.authenticate(name, Secret(password)))
                assert isinstance(error, InvalidCredentials), f"{name[:20]!r}: {error!r}"

        self._with_password(promise)

    def test_every_sign_in_has_a_state_of_its_own_and_shows_no_secret(self) -> None:
        async def promise(backend: RedirectBackend) -> None:
            one, two = await backend.begin(_RETURN), await backend.begin(_RETURN)
            assert one.state != two.state, "two sign-ins share a state"
            assert len(one.state) >= 20, f"a state of {len(one.state)} characters can be guessed"
            for start in (one, two):
                url = urlsplit(start.url)
                assert url.scheme in ("https", "http"), f"{start.url!r} is not where a browser can go"
                assert start.state in parse_qs(url.query).get("state", [start.state]), "another state in the URL"
                for hidden in (*self.secrets(), start.kept.get("code_verifier") or "\0"):
                    assert hidden not in start.url, "a secret stands in the URL"

        self._with_redirect(promise)

    def test_a_sign_in_that_came_back_gives_a_person(self) -> None:
        async def promise(backend: RedirectBackend) -> None:
            start = await backend.begin(_RETURN)
            _looks_like_a_person(await backend.complete(_RETURN, self.come_back(start), start.kept))

        self._with_redirect(promise)

    def test_what_was_started_elsewhere_does_not_end_here(self) -> None:
        """The code of one sign-in with what was kept of another: someone else's browser."""

        async def promise(backend: RedirectBackend) -> None:
            mine, theirs = await backend.begin(_RETURN), await backend.begin(_RETURN)
            error = await _refused(backend.complete(_RETURN, self.come_back(theirs), mine.kept))
            assert isinstance(error, AuthError), f"a mixed-up sign-in must raise AuthError, not {error!r}"

        self._with_redirect(promise)

    def test_a_refusal_or_nonsense_coming_back_is_an_auth_error(self) -> None:
        async def promise(backend: RedirectBackend) -> None:
            start = await backend.begin(_RETURN)
            for parameters in ({"error": "access_denied", "state": start.state}, {}, {"code": "\x00å<"}):
                error = await _refused(backend.complete(_RETURN, parameters, start.kept))
                assert isinstance(error, AuthError), f"{parameters} must raise AuthError, not {error!r}"

        self._with_redirect(promise)

    def test_signing_out_there_leads_to_a_web_address_and_shows_no_secret(self) -> None:
        async def promise(backend: RedirectBackend) -> None:
            if not isinstance(backend, EndsSession):
                return
            identity = await self._signed_in(backend)
            for hint in (identity.logout_hint, None):
                url = await backend.end_session_url(_HOME, hint)
                if url is None:
                    continue
                assert urlsplit(url).scheme in ("https", "http"), f"{url!r} is not where a browser can go"
                for hidden in self.secrets():
                    assert hidden not in url, "a secret stands in the URL"

        self._with_redirect(promise)

    def test_a_sign_out_that_the_provider_did_not_tell_of_is_an_auth_error(self) -> None:
        async def promise(backend: RedirectBackend) -> None:
            if not isinstance(backend, HearsLogout):
                return
            # Header and claims of a token with the algorithm `none`, and nothing for a signature.
            unsigned = "eyJhbGciOiJub25lIiwidHlwIjoibG9nb3V0K2p3dCJ9.eyJzdWIiOiI0MiIsImp0aSI6ImEifQ."
            for token in ("", "nonsense", "a.b.c", unsigned, "å\x00", "x" * 30_000):
                error = await _refused(backend.read_logout(token))
                assert isinstance(error, AuthError), f"{token[:20]!r} must raise AuthError, not {error!r}"

        self._with_redirect(promise)

    def test_a_sign_out_that_the_provider_told_of_names_whose_it_was(self) -> None:
        async def promise(backend: RedirectBackend) -> None:
            if not isinstance(backend, HearsLogout):
                return
            identity = await self._signed_in(backend)
            tokens = [token for token in (self.logout_token(identity), self.logout_token(identity)) if token]
            notices = [await backend.read_logout(token) for token in tokens]
            for notice in notices:
                assert isinstance(notice, LogoutNotice), f"{notice!r} is not a LogoutNotice"
                assert notice.issuer == identity.issuer, f"{notice.issuer!r} is not who vouched for {identity!r}"
                named = (notice.session, notice.subject)
                assert any(named), "the notice names neither a session nor a subject: nothing would end"
                assert notice.session in (None, identity.session), f"{notice.session!r} is another session"
                assert notice.subject in (None, identity.subject), f"{notice.subject!r} is another person"
            ids = {notice.token_id for notice in notices}
            assert len(ids) == len(notices) and "" not in ids, "each notice needs an id of its own, to be taken once"

        self._with_redirect(promise)

    def test_a_silent_upstream_is_backend_unavailable(self) -> None:
        broken = self.broken_transport()
        if broken is None:
            return

        async def promise() -> None:
            async def whole() -> None:
                async with self.connection(broken) as backend:
                    if isinstance(backend, CredentialBackend) and self.account:
                        await backend.authenticate(self.account[0], Secret(self.account[1]))
                    elif isinstance(backend, RedirectBackend):
                        start = await backend.begin(_RETURN)
                        await backend.complete(_RETURN, self.come_back(start), start.kept)

            error = await _refused(whole())
            assert isinstance(error, BackendUnavailable), f"{error!r} should be BackendUnavailable"

        self.run(promise)

    def test_errors_and_logs_hide_passwords_and_secrets(self) -> None:
        hidden = self.secrets()

        async def promise(backend: CredentialBackend, name: str, password: str) -> None:
            wrong = f"{password}-not-quite"
            error = await _refused(backend.authenticate(name, Secret(wrong)))
            hidden.append(wrong)
            shown.append(told(error) if error else "")
            await backend.authenticate(name, Secret(password))
            hidden.append(password)

        shown: list[str] = []
        with LogCapture().listening() as capture:
            self._with_password(promise)
        for secret in hidden:
            assert not any(secret in line for line in shown), "a password or secret stands in an error"
            assert not any(secret in line for line in capture.lines), "a password or secret stands in the log"

    async def _signed_in(self, backend: RedirectBackend) -> ExternalIdentity:
        start = await backend.begin(_RETURN)
        return await backend.complete(_RETURN, self.come_back(start), start.kept)

    def _with(self, promise: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        async def connected() -> None:
            async with self.connection(self.transport()) as connection:
                await promise(connection)

        self.run(connected)

    def _with_password(self, promise: Callable[[CredentialBackend, str, str], Coroutine[Any, Any, None]]) -> None:
        async def if_it_applies(connection: Any) -> None:
            if isinstance(connection, CredentialBackend) and self.account is not None:
                await promise(connection, *self.account)

        self._with(if_it_applies)

    def _with_redirect(self, promise: Callable[[RedirectBackend], Coroutine[Any, Any, None]]) -> None:
        async def if_it_applies(connection: Any) -> None:
            if isinstance(connection, RedirectBackend):
                await promise(connection)

        self._with(if_it_applies)


async def _refused(attempt: Coroutine[Any, Any, object]) -> Exception | None:
    try:
        await attempt
    except Exception as error:  # noqa: BLE001  the promise is about which one it is
        return error
    return None


def _looks_like_a_person(identity: object) -> None:
    assert isinstance(identity, ExternalIdentity), f"{identity!r} is not an ExternalIdentity"
    assert identity.issuer, "issuer is empty: accounts of two backends would be one"
    assert identity.subject, "subject is empty: all accounts would be one"
    assert identity.email is None or "@" in identity.email, f"{identity.email!r} is not an e-mail address"
    assert isinstance(identity.email_verified, bool), (
        f"email_verified is {identity.email_verified!r}, not true or false"
    )
    assert isinstance(identity.groups, tuple), f"groups is {type(identity.groups).__name__}, not a tuple"
    for group in identity.groups:
        assert isinstance(group, str), f"the group {group!r} is not a string"
    for name in ("session", "logout_hint"):
        value = getattr(identity, name)
        assert value is None or (isinstance(value, str) and value), (
            f"{name} is {value!r}: give None where there is none"
        )
