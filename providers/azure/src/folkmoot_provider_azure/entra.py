"""Tokens of Entra ID, by client credentials (RFC 6749, section 4.4).

A token is fetched over the lent client when the first request needs one, kept until shortly before it runs out,
and fetched anew once if the resource refuses it. Requests that come meanwhile wait for the one fetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from folkmoot_sdk import AuthenticationFailed, BadResponse, PluginContext, Secret
from folkmoot_sdk.http import Fields, Meant, Said, Service

_EARLY = timedelta(minutes=5)
"""A token is not used in its last minutes: a long upload must not outlive it."""
_TOKEN_LIMIT = 256 * 1024

_FIELDS = {
    # Codes of Microsoft's identity platform: which of the four things it was given is wrong.
    "AADSTS90002": "tenant_id",
    "AADSTS900023": "tenant_id",
    "AADSTS90013": "tenant_id",
    "AADSTS700016": "client_id",
    "AADSTS7000112": "client_id",
    "AADSTS7000215": "client_secret",
    "AADSTS7000222": "client_secret",
    "AADSTS500011": "scope",
    "AADSTS70011": "scope",
    "AADSTS1002012": "scope",
}


class _Token(msgspec.Struct):
    access_token: str
    expires_in: Any = None


class _Nobody:
    """Credentials for asking who one is: the form carries them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        del refused
        return False

    def secrets(self) -> Sequence[str]:
        return (self._secret,)


class EntraToken:
    """Follows `Credentials`."""

    def __init__(
        self, context: PluginContext, *, authority: str, tenant_id: str, client_id: str, secret: Secret, scope: str
    ) -> None:
        """Raises `InvalidRequest` naming `authority` if that is no address."""
        self._clock = context.clock
        self._secret = secret.reveal().strip()
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id.strip(),
            "client_secret": self._secret,
            "scope": scope,
        }
        self._path = f"/{quote(tenant_id.strip(), safe='')}/oauth2/v2.0/token"
        self._service = Service(
            context,
            authority,
            _Nobody(self._secret),
            silence_limit=30.0,
            fields=Fields("authority", "client_secret", "client secret"),
            rules=(_refused,),
        )
        self._token = ""
        self._former = ""
        self._until: datetime | None = None
        self._fetching = asyncio.Lock()

    async def headers(self) -> Mapping[str, str]:
        """Raises `ProviderError`, naming the field that Entra ID takes offence at."""
        async with self._fetching:
            if self._until is None or self._clock.now() >= self._until:
                await self._fetch()
            return {"authorization": f"Bearer {self._token}"}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Forget the token that was refused, unless another request already has a newer one."""
        async with self._fetching:
            if refused.get("authorization") == f"Bearer {self._token}":
                self._until = None
        return True

    def secrets(self) -> Sequence[str]:
        return tuple(each for each in (self._secret, self._token, self._former) if each)

    async def _fetch(self) -> None:
        self._former, self._token, self._until = self._token, "", None
        async with self._service.open("POST", self._path, form=self._form) as response:
            body = await self._service.whole(response, limit=_TOKEN_LIMIT)
        try:
            token = msgspec.json.decode(body, type=_Token)
            lifetime = timedelta(seconds=min(86_400.0, max(0.0, float(token.expires_in or 0))))
        except (msgspec.DecodeError, ValueError, TypeError):
            raise BadResponse(
                f"{self._service.where} answers with something else than a token: check the authority",
                field="authority",
            ) from None
        if not (token.access_token.isascii() and token.access_token.isprintable()):
            raise BadResponse(f"{self._service.where} sent a token that no header can carry", field="authority")
        self._token = token.access_token
        self._until = self._clock.now() + max(lifetime - _EARLY, lifetime / 2)


def _refused(status: int, said: Said) -> Meant | None:
    if status not in (400, 401, 403):
        return None
    code = next((code for code in sorted(_FIELDS, key=len, reverse=True) if f"{code}:" in said.sentence), "")
    return Meant(AuthenticationFailed, _FIELDS.get(code, "client_secret"))
