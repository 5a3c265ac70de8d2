"""One sign-in by the authorization code flow with PKCE, from the first redirect to signing out again.

The order of the checks matters: until `state` and the issuer in the answer are right, what came back is believed
in nothing, not even in its error; and no code goes to a provider that may not be the one that made it
(RFC 9700, 4.4: mix-up).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote_plus

import msgspec
from folkmoot_sdk import (
    AccountNotAllowed,
    AuthError,
    BackendUnavailable,
    ExternalIdentity,
    LoginExpired,
    LogoutNotice,
    PluginContext,
    RedirectStart,
)

from folkmoot_auth_oidc.address import with_query
from folkmoot_auth_oidc.config import Config
from folkmoot_auth_oidc.person import lacks, person
from folkmoot_auth_oidc.provider import Metadata, Provider, known
from folkmoot_auth_oidc.tokens import (
    Expected,
    Signed,
    check_id_token,
    check_logout_token,
    check_signature,
    same,
    subject,
)
from folkmoot_auth_oidc.wire import Answer, ask

LONGEST_HINT = 6000
"""Characters of an ID token that go into an address; web servers refuse more than about 8,000 in all."""

_CODE = re.compile(r"[\x20-\x7e]{1,8192}")
_ERROR = re.compile(r"[a-z_]{1,60}")
_NOT_LET_IN = frozenset(
    ["access_denied", "account_selection_required", "consent_required", "interaction_required", "login_required"]
)


class OpenIDConnect:
    """A `RedirectBackend` that also ends sessions and hears of ended ones."""

    def __init__(self, config: Config, context: PluginContext) -> None:
        self._config = config
        self._http = context.http
        self._log = context.log
        self._clock = context.clock

    @property
    def _provider(self) -> Provider:
        return known(self._config.issuer, self._http, self._clock)

    async def begin(self, redirect_uri: str) -> RedirectStart:
        """Where to send the browser. Raises `BackendUnavailable` or `AuthError` if discovery fails."""
        config, metadata = self._config, await self._provider.metadata(self._http)
        self._check_algorithms(metadata)
        state, nonce, verifier = (secrets.token_urlsafe(size) for size in (32, 32, 48))
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": config.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(config.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if config.prompt:
            asked["prompt"] = config.prompt
        kept = {
            "state": state,
            "nonce": nonce,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
            "issuer": config.issuer,
            "client_id": config.client_id,
        }
        return RedirectStart(with_query(metadata.authorization_endpoint, asked), state, kept)

    def _check_algorithms(self, metadata: Metadata) -> None:
        if metadata.algorithms and not set(metadata.algorithms) & set(self._config.algorithms):
            raise AuthError(
                f"{self._config.issuer} signs with none of {', '.join(self._config.algorithms)}: an administrator "
                "must allow another algorithm for this login method, or change it at the provider"
            )

    async def complete(
        self, redirect_uri: str, parameters: Mapping[str, str], kept: Mapping[str, str]
    ) -> ExternalIdentity:
        """Who came back. Raises `LoginExpired`, `AccountNotAllowed`, `BackendUnavailable`, else `AuthError`."""
        config = self._config
        needed = ("state", "nonce", "code_verifier", "redirect_uri", "issuer", "client_id")
        if not all(kept.get(name) for name in needed) or not same(parameters.get("state", ""), kept["state"]):
            raise LoginExpired("this sign-in was started in another browser, or too long ago: start again")
        if (kept["redirect_uri"], kept["issuer"], kept["client_id"]) != (
            redirect_uri,
            config.issuer,
            config.client_id,
        ):
            raise LoginExpired("the login method was changed during this sign-in: start again")
        metadata = await self._provider.metadata(self._http)
        self._check_sender(parameters, metadata)
        if "error" in parameters:
            raise self._refusal(parameters)
        code = parameters.get("code", "")
        if not _CODE.fullmatch(code):
            raise AuthError(f"{config.issuer} sent the browser back without a code: start again")
        answer = await self._redeem(metadata, code, redirect_uri, kept["code_verifier"])
        return await self._identify(metadata, answer, kept["nonce"])

    def _check_sender(self, parameters: Mapping[str, str], metadata: Metadata) -> None:
        """RFC 9207: the answer names its issuer, where the provider promised so."""
        sender = parameters.get("iss")
        if (sender is None and metadata.sends_issuer) or (sender is not None and sender != self._config.issuer):
            raise AuthError(
                f"the answer that the browser brought is not from {self._config.issuer}, where this sign-in began: "
                "start again, and tell an administrator if it happens again"
            )

    def _refusal(self, parameters: Mapping[str, str]) -> AuthError:
        error = parameters["error"]
        name = error if _ERROR.fullmatch(error) else "an error without a name"
        self._log.warning(
            "%s refused a sign-in: %s (%s)", self._config.issuer, name, _scrub(parameters.get("error_description"))
        )
        if name in _NOT_LET_IN:
            return AccountNotAllowed(f"{self._config.issuer} let nobody in ({name})")
        if name in ("server_error", "temporarily_unavailable"):
            return BackendUnavailable(f"{self._config.issuer} has trouble of its own ({name}): try again in a moment")
        return AuthError(
            f"{self._config.issuer} refused the sign-in ({name}): an administrator must compare the settings here "
            "with the provider's; the log has its words"
        )

    async def _redeem(self, metadata: Metadata, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """The code for tokens, once."""
        config = self._config
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        authorization = None
        match self._auth_method(metadata):
            case "client_secret_basic":
                pair = f"{quote_plus(config.client_id)}:{quote_plus(config.secret)}"
                authorization = f"Basic {b64encode(pair.encode()).decode()}"
            case "client_secret_post":
                form |= {"client_id": config.client_id, "client_secret": config.secret}
            case _:
                form["client_id"] = config.client_id
        answer = await ask(
            self._http, metadata.token_endpoint, "token endpoint", form=form, authorization=authorization
        )
        if answer.status == 200 and "error" not in answer.body:
            return answer.body
        raise self._not_redeemed(answer, hidden=(config.secret, code, verifier))

    def _auth_method(self, metadata: Metadata) -> str:
        config = self._config
        if config.token_endpoint_auth_method != "auto":  # noqa: S105  the name of a way, no secret
            return config.token_endpoint_auth_method
        if not config.secret:
            return "none"
        for method in ("client_secret_basic", "client_secret_post"):
            if method in metadata.auth_methods:
                return method
        raise AuthError(
            f"{config.issuer} takes a client secret neither as client_secret_basic nor as client_secret_post, and "
            "other ways are not known here"
        )

    def _not_redeemed(self, answer: Answer, hidden: tuple[str, ...]) -> AuthError:
        issuer, error = self._config.issuer, answer.body.get("error")
        name = error if isinstance(error, str) and _ERROR.fullmatch(error) else f"status {answer.status}"
        description = _scrub(answer.body.get("error_description"), hidden)
        self._log.warning("%s gave no tokens for a code: %s (%s)", issuer, name, description)
        if name == "invalid_grant":
            return LoginExpired("the code from the provider is no longer good: start again")
        if name in ("invalid_client", "unauthorized_client") or answer.status == 401:
            return AuthError(
                f"{issuer} does not accept the client id and client secret of this login method ({name}): "
                "an administrator must enter them anew"
            )
        return AuthError(f"{issuer} gave no tokens for its code ({name}): an administrator finds its words in the log")

    async def _identify(self, metadata: Metadata, answer: dict[str, Any], nonce: str) -> ExternalIdentity:
        config, token, access = self._config, answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise AuthError(f"{config.issuer} gave no ID token: an administrator must check that it speaks OpenID")
        if not (isinstance(access, str) and _CODE.fullmatch(access)):
            access = None
        claims = check_id_token(await self._signed(token, "ID token"), self._expected(), nonce, access)
        more: dict[str, Any] = {}
        kind = answer.get("token_type")
        bearer = isinstance(kind, str) and kind.lower() == "bearer"
        if config.userinfo and metadata.userinfo_endpoint and access and bearer and lacks(config, claims):
            more = await self._ask_userinfo(metadata.userinfo_endpoint, access, subject(claims, "ID token"))
        identity, remarks = person(config, claims, more, token if len(token) <= LONGEST_HINT else None)
        for remark in remarks:
            self._log.warning("groups of %r at %s: %s", identity.subject, config.issuer, remark)
        return identity

    async def _ask_userinfo(self, url: str, access: str, who: str) -> dict[str, Any]:
        answer = await ask(self._http, url, "userinfo endpoint", authorization=f"Bearer {access}")
        if answer.status != 200:
            raise AuthError(
                f"{self._config.issuer} gives no userinfo (status {answer.status}): an administrator must have it "
                "put e-mail and groups into the ID token, or switch userinfo off for this login method"
            )
        if answer.body.get("sub") != who:
            # Core 5.3.2: without this check one person's token could be swapped for another's.
            raise AuthError(f"{self._config.issuer} answers about somebody else than who signed in")
        return answer.body

    async def end_session_url(self, return_to: str, logout_hint: str | None) -> str | None:
        """Where the provider signs the browser out (OpenID Connect RP-Initiated Logout 1.0); None if it cannot."""
        metadata = await self._provider.metadata(self._http)
        if metadata.end_session_endpoint is None:
            return None
        said = {"client_id": self._config.client_id, "post_logout_redirect_uri": return_to}
        if logout_hint and len(logout_hint) <= LONGEST_HINT:
            said["id_token_hint"] = logout_hint
        return with_query(metadata.end_session_endpoint, said)

    async def read_logout(self, token: str) -> LogoutNotice:
        """Whose sign-in ended. The host takes each `token_id` once. Raises `AuthError`."""
        claims = check_logout_token(await self._signed(token, "logout token"), self._expected())
        return LogoutNotice(self._config.issuer, claims.get("sub"), claims.get("sid"), claims["jti"])

    def _expected(self) -> Expected:
        config = self._config
        return Expected(
            config.issuer, config.client_id, config.algorithms, self._clock.now(), config.clock_skew_seconds
        )

    async def _signed(self, token: str, what: str) -> Signed:
        provider = self._provider
        return await check_signature(
            token, what, self._expected(), partial(provider.keys, self._http), partial(provider.newer_keys, self._http)
        )


def _scrub(words: object, hidden: tuple[str, ...] = ()) -> str:
    """What a provider says, fit for a log: one short line without what it was told in confidence."""
    if not isinstance(words, str):
        return "no description"
    for secret in filter(None, hidden):
        words = words.replace(secret, "***")
    return msgspec.json.encode(words[:300]).decode()
