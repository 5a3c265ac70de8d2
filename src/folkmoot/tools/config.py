"""How a tool server is reached: given by administrators, sealed, and shown with its secrets masked."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any
from uuid import UUID

import httpx
import msgspec
from msgspec import UNSET, Meta, UnsetType

from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import ValidationFailed
from folkmoot.kit.structs import Input, Struct
from folkmoot.plugins.configuration import MASK
from folkmoot.tools.models import ToolServer

PURPOSE = "tool server"
LONGEST_SECRET = 8_000
SHORTEST_SECRET = 4
"""What is shorter stands in any sentence, and is not looked for there."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset(
    {
        "host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade",
        "accept", "accept-encoding", "user-agent", "last-event-id", "mcp-session-id", "mcp-protocol-version",
        "expect", "proxy-authorization",
    }
)  # fmt: skip
"""Headers that belong to the protocol."""
Url = Annotated[
    str,
    Meta(min_length=1, max_length=2_000, description="Of Streamable HTTP.", examples=["https://tools.example/mcp"]),
]
Secret = Annotated[str, Meta(max_length=LONGEST_SECRET, description="Write-only.", examples=["a-long-random-token"])]
HeaderValue = Annotated[str, Meta(max_length=LONGEST_SECRET)]
Command = Annotated[str, Meta(min_length=1, max_length=2_000, examples=["/usr/local/bin/map-tools"])]


class ServerConfig(Input, frozen=True, kw_only=True):
    """Of `http`: `url`, `token` and `headers`. Of `stdio`: `command`. Secrets come back masked."""

    url: Url | UnsetType = UNSET
    token: Secret | UnsetType | None = UNSET
    """Sent as `Authorization: Bearer`. Absent or masked: stays; null: none."""
    headers: Annotated[dict[str, HeaderValue], Meta(max_length=20)] | UnsetType = UNSET
    """Others that it asks for; their values are secrets too. Given, they replace all before; masked ones stay."""
    command: Command | UnsetType = UNSET
    """One of `GET /tool-servers/commands`."""


class ConfigOut(Struct, frozen=True, kw_only=True):
    url: Annotated[str, Meta(examples=["https://tools.example/mcp"])] | None = None
    token: Annotated[str, Meta(examples=[MASK])] | None = None
    """Masked; null: none."""
    headers: dict[str, str] = {}
    """Masked."""
    command: str | None = None

    @classmethod
    def of(cls, config: dict[str, Any]) -> ConfigOut:
        return cls(
            url=config.get("url"),
            token=MASK if config.get("token") else None,
            headers=dict.fromkeys(config.get("headers") or {}, MASK),
            command=config.get("command"),
        )


async def seal(keyring: Keyring, tenant_id: UUID, server_id: UUID, config: dict[str, Any]) -> bytes:
    plain = msgspec.json.encode(config)
    return await keyring.seal(plain, purpose=PURPOSE, tenant_id=tenant_id, aad=server_id.bytes)


async def stored(keyring: Keyring, server: ToolServer) -> dict[str, Any]:
    """With its secrets open. Raises `CryptoError` if the keys do not fit any more."""
    plain = await keyring.open(server.config, purpose=PURPOSE, tenant_id=server.tenant_id, aad=server.id.bytes)
    return msgspec.json.decode(plain)


def merged(kind: str, given: ServerConfig, before: dict[str, Any], commands: tuple[str, ...]) -> dict[str, Any]:
    """The whole configuration as it is stored. Raises `ValidationFailed` naming the field."""
    allowed = ("url", "token", "headers") if kind == "http" else ("command",)
    for name in given.__struct_fields__:
        if name not in allowed and getattr(given, name) not in (UNSET, None):
            raise _wrong(name, f"a tool server of the kind {kind!r} has no {name!r}: it has {', '.join(allowed)}")
    if kind == "stdio":
        command = before.get("command", "") if given.command is UNSET else given.command
        allow(command, commands)
        return {"command": command}
    url = before.get("url", "") if given.url is UNSET else given.url
    check_url(url)
    token = before.get("token") if given.token in (UNSET, MASK) else given.token
    headers = _headers(given.headers, before.get("headers") or {})
    if token is not None and not _sendable(token):
        raise _wrong("token", "a token is printable ASCII without spaces at its ends")
    if token and any(name.lower() == "authorization" for name in headers):
        raise _wrong("headers", "the header Authorization is made of the token: give one of the two")
    old: dict[str, str] = before.get("headers") or {}
    kept = [("token", bool(token) and token == before.get("token"))]
    kept += [(f"headers.{name}", value == old.get(name)) for name, value in headers.items()]
    if before and _origin(url) != _origin(before.get("url", "")):
        # Whoever may change the address must not learn by it what goes there.
        for name, stays in kept:
            if stays:
                raise _wrong(name, f"'url' changes where {name!r} is sent to: give {name!r} again")
    return {"url": url, "token": token or None, "headers": headers}


def _headers(given: dict[str, str] | UnsetType, before: dict[str, str]) -> dict[str, str]:
    if given is UNSET:
        return before
    made: dict[str, str] = {}
    for name, said in given.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            raise _wrong("headers", f"{name[:100]!r} is not the name of a header that can be set: give another")
        if said == MASK and name not in before:
            raise _wrong(f"headers.{name}", "there is no value stored for this header: give one")
        value = before[name] if said == MASK else said
        if not _sendable(value):
            raise _wrong(f"headers.{name}", "the value of a header is printable ASCII without spaces at its ends")
        made[name] = value
    return made


def check_url(url: str) -> None:
    """Raise `ValidationFailed` for what is not an address of a server."""
    try:
        parts = httpx.URL(url)
        whole = parts.scheme in ("https", "http") and bool(parts.host) and url.isprintable()
    except (httpx.InvalidURL, ValueError):
        raise _wrong("url", "this is not an address: write it as https://tools.example/mcp") from None
    if not whole or parts.fragment:
        raise _wrong("url", "this is not an address of a server: write it as https://tools.example/mcp")
    if parts.userinfo:
        raise _wrong("url", "a password does not belong into an address: give it as 'token' or in 'headers'")


def allow(command: str, commands: tuple[str, ...]) -> list[str]:
    """The command in parts. Raises `ValidationFailed` unless the platform allows it just so."""
    if command not in commands:
        raise _wrong(
            "command",
            f"{command[:200]!r} is not among the commands that may be run here: the operator of the platform adds it "
            "to FOLKMOOT_TOOL_COMMANDS",
        )
    return shlex.split(command)


def secrets_of(config: dict[str, Any]) -> list[str]:
    """The longest first, so that none is hidden only in part."""
    headers: dict[str, str] = config.get("headers") or {}
    found: set[str] = {config.get("token") or "", *headers.values()}
    # Of `Basic …` and the like, the part behind it too.
    found |= {value.partition(" ")[2] for value in found}
    return sorted((value for value in found if len(value) >= SHORTEST_SECRET), key=len, reverse=True)


def hidden(text: str, secrets: list[str]) -> str:
    """`text` without any of these."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def name_of(kind: str, config: dict[str, Any]) -> str:
    """Host or program, for people."""
    if kind == "stdio":
        return config["command"].split()[0].rpartition("/")[2]
    return httpx.URL(config["url"]).host


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


def _sendable(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _wrong(name: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, [(f"config.{name}", detail)])
