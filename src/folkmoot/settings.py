"""Every knob of the service, in one frozen object that is passed in and never imported as a global.

Each field is read from the environment variable `FOLKMOOT_` plus its name in capitals; `folkmoot settings`
prints this list. A secret may also be read from a file, by `FOLKMOOT_<NAME>_FILE`, as Podman mounts them.
"""

from __future__ import annotations

import ast
import base64
import inspect
import ipaddress
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

LANES = ("chat", "ingest", "crawl", "maintenance")
LEAST = {"port": 0, "requests_per_address": 0, "requests_per_user": 0, "requests_per_tenant": 0,
         "password_min_length": 8}  # fmt: skip
"""The smallest value of a number, 1 if it is not here. Fewer than 8 characters are no password (NIST SP 800-63B)."""


class SettingsError(Exception):
    """A setting is missing or has a value that cannot work; the message names the variable."""


@dataclass(frozen=True)
class Settings:
    database_url: str = field(default="", repr=False)
    """PostgreSQL as the runtime role, which owns nothing and cannot bypass row-level security."""
    owner_database_url: str = field(default="", repr=False)
    """PostgreSQL as the owner of the tables; only `folkmoot migrate` uses it."""
    redis_url: str = field(default="", repr=False)
    """Redis 6.2 or later, with append-only persistence."""
    secret_key: tuple[str, ...] = field(default=(), repr=False)
    """Master keys, 32 random bytes each in base64, comma-separated. They encrypt the organisations' own keys: the first
    after `folkmoot keys rotate`, all decrypt. In a file, a change is seen without a restart."""
    storage_url: str = ""
    """Where files lie, encrypted: `file:///var/lib/folkmoot/files` or `s3://bucket/prefix`."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on."""
    public_url: str = ""
    """Where people reach this installation, as `https://folkmoot.example`: links in mails and sign-in elsewhere lead
    there. Never taken from a request. Empty: `http://` with host and port."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the proxies in front: only from them are X-Forwarded-For and X-Forwarded-Proto believed."""
    api_processes: int = 1
    """Processes that serve HTTP."""
    database_pool: int = 5
    """Most database connections that one process opens."""
    lanes: tuple[str, ...] = LANES
    """What this worker does: any of chat, ingest, crawl, maintenance."""
    chat_slots: int = 512
    """Answers that one worker writes at the same time."""
    ingest_slots: int = 2
    """Documents that one worker reads at the same time."""
    answer_seconds: int = 600
    """Longest time that one answer may take."""
    attachment_seconds: int = 300
    """How long an answer waits until the files on its question are read."""
    access_token_seconds: int = 600
    """Life of an access token."""
    refresh_token_days: int = 30
    """Life of a session that is not used."""
    signing_key_days: int = 30
    """How long one key signs access tokens; the next one is published before its time."""
    password_min_length: int = 12
    """Shortest password."""
    login_attempts: int = 10
    """Wrong passwords for one account within a quarter of an hour before it is locked for as long."""
    login_attempts_per_address: int = 200
    """Failed sign-ins from one address within a quarter of an hour before it is locked out for as long."""
    invitation_days: int = 14
    """How long an invitation is good."""
    reset_minutes: int = 60
    """How long a link to set a new password is good."""
    smtp_url: str = field(default="", repr=False)
    """Mail server, as `smtp://user:password@host:587` (STARTTLS) or `smtps://…`. Empty: links are handed over."""
    mail_from: str = "folkmoot@localhost"
    """Sender of mails."""
    requests_per_address: int = 6_000
    """Requests without a valid token from one address in a minute; 0: no limit."""
    requests_per_user: int = 600_000
    """Requests of one person in a minute; 0: no limit. An API key may have a lower one of its own."""
    requests_per_tenant: int = 1_200_000
    """Requests of one organisation in a minute, unless it has a quota of its own; 0: no limit."""
    body_seconds: int = 30
    """Longest silence while a request's body comes in."""
    max_upload_bytes: int = 100 * 1024 * 1024
    """Largest file; a larger one is refused while it streams in."""
    max_body_bytes: int = 4 * 1024 * 1024
    """Largest JSON body of a request."""
    parser_memory_bytes: int = 1024 * 1024 * 1024
    """Memory that the process reading a file may use."""
    parser_seconds: int = 300
    """Time that reading one file may take."""
    ingest_attempts: int = 5
    """How often a document is tried when what failed may pass."""
    approval_hours: int = 72
    """How long an answer waits for its asker to approve or deny what a tool is to do; then it is stopped."""
    net_allow: tuple[str, ...] = ()
    """Hosts, host:port pairs or networks inside your own network that model services and login methods may be at."""
    tool_commands: tuple[str, ...] = ()
    """Commands that organisations may run as tool servers, each with its whole path and its fixed arguments. They run
    as the user of the service: name only what you would trust with the installation."""
    plugins: tuple[str, ...] | None = None
    """Names of the plugins to load; unset loads all that are installed."""
    plugins_required: tuple[str, ...] = ()
    """Names of the plugins without which start-up fails."""
    openai_api_key: str = field(default="", repr=False)
    """Connects OpenAI, or a compatible service, for the first tenant at start. Also read as OPENAI_API_KEY."""
    openai_base_url: str = "https://api.openai.com/v1"
    """Where that service is; being named here, it may be inside the network. Also read as OPENAI_BASE_URL."""
    openai_model: str = "default"
    """What that service is asked for if it does not list its models. Also read as OPENAI_MODEL."""
    admin_email: str = ""
    """The first administrator, made when there is no tenant yet."""
    admin_password: str = field(default="", repr=False)
    """Password of the first administrator; one is made and printed once if it is not given."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged."""
    log_format: Literal["json", "text"] = "json"
    """JSON lines for machines, text for people."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the environment. Raises `SettingsError` naming the variable and what it must be."""
        env = os.environ if environment is None else environment
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for item in fields(cls):
            name = f"FOLKMOOT_{item.name.upper()}"
            raw = env.get(name)
            if raw is None and (path := env.get(f"{name}_FILE")):
                raw = _read_secret(f"{name}_FILE", path)
            if raw is None and item.name.startswith("openai_"):
                raw = env.get(item.name.upper()) or None
            if raw is not None:
                values[item.name] = _parse(name, raw, hints[item.name])
        settings = replace(cls(**values), **overrides)
        if unknown := set(settings.lanes) - set(LANES):
            raise SettingsError(f"FOLKMOOT_LANES names {sorted(unknown)}: the lanes are {', '.join(LANES)}")
        for name, value in values.items():
            if hints[name] is int and value < (least := LEAST.get(name, 1)):
                raise SettingsError(f"FOLKMOOT_{name.upper()} is {value}: it must be {least} or more")
        _check_public_url(settings.public_url)
        for command in settings.tool_commands:
            _check_command(command)
        settings.proxies()
        return settings

    def require_engines(self) -> None:
        """Raises `SettingsError` if an address or the master key is missing or cannot work; connects to nothing."""
        for name in ("database_url", "redis_url", "storage_url"):
            if not getattr(self, name):
                raise SettingsError(f"FOLKMOOT_{name.upper()} is not set: `folkmoot settings` explains it")
        self.master_keys()

    def master_keys(self) -> list[bytes]:
        """The master keys as bytes. Raises `SettingsError` for none, or for one that is not 32 bytes."""
        keys: list[bytes] = []
        for text in self.secret_key:
            try:
                key = base64.b64decode(text, validate=True)
            except ValueError:
                key = b""
            if len(key) != 32:
                raise SettingsError(
                    "FOLKMOOT_SECRET_KEY must be 32 random bytes in base64: make one with `openssl rand -base64 32`"
                )
            if _guessable(key):
                raise SettingsError(
                    "FOLKMOOT_SECRET_KEY is an example or a pattern: make one with `openssl rand -base64 32`"
                )
            keys.append(key)
        if not keys:
            raise SettingsError("FOLKMOOT_SECRET_KEY is not set: make one with `openssl rand -base64 32`")
        return keys

    def master_keys_again(self) -> list[bytes]:
        """`master_keys`, read once more if they come from a file, which may have changed since the start.

        Raises `SettingsError`.
        """
        name = "FOLKMOOT_SECRET_KEY"
        path = os.environ.get(f"{name}_FILE")
        if not path or name in os.environ:
            return self.master_keys()
        return replace(self, secret_key=_parse(name, _read_secret(f"{name}_FILE", path), tuple[str, ...])).master_keys()

    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """`trusted_proxies`, read. Raises `SettingsError` for one that is not a network."""
        try:
            return tuple(ipaddress.ip_network(name, strict=False) for name in self.trusted_proxies)
        except ValueError as error:
            raise SettingsError(
                f"FOLKMOOT_TRUSTED_PROXIES has what is not a network ({error}): write `10.0.0.0/8`"
            ) from error

    def url(self) -> str:
        """`public_url` without a slash at the end, or where this process listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{host}:{self.port}"

    def reachable_inside(self) -> tuple[str, ...]:
        """`net_allow`, and the model service that the platform itself names."""
        if not self.openai_api_key:
            return self.net_allow
        parts = urlsplit(self.openai_base_url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return (*self.net_allow, f"{host}:{port}")


def _check_public_url(url: str) -> None:
    """Links in mails and sign-in elsewhere lead there, and cookies are for its root."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("https", "http") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        whole = False
        parts = urlsplit("")
    if url and (not whole or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment):
        raise SettingsError(
            f"FOLKMOOT_PUBLIC_URL is {url!r}: write scheme and host and nothing behind them, as https://folkmoot.example"
        )


def _check_command(command: str) -> None:
    try:
        whole = shlex.split(command)[0].startswith("/")
    except (ValueError, IndexError):
        whole = False
    if not whole:
        raise SettingsError(
            f"FOLKMOOT_TOOL_COMMANDS has {command!r}: write each command with its whole path, as /usr/bin/map-tools"
        )


def _guessable(key: bytes) -> bool:
    """Text, a repeated pattern, or a run of neighbours. A random key is taken for one less than once in 10^10."""
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    return len(set(key)) < 16 or len(steps) < 8 or all(32 <= byte < 127 for byte in key)


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{name} names {path}, which cannot be read: {error.strerror}") from error


def _parse(name: str, raw: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if raw not in get_args(hint):
            raise SettingsError(f"{name} is {raw!r}: it must be one of {', '.join(get_args(hint))}")
        return raw
    if hint is int:
        try:
            return int(raw)
        except ValueError:
            raise SettingsError(f"{name} is {raw!r}: it must be a whole number") from None
    if hint is str:
        return raw
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def described() -> list[tuple[str, str, str]]:
    """Each setting as (variable, default, meaning), in the order of the source, for `folkmoot settings`."""
    body = cast("ast.ClassDef", ast.parse(inspect.getsource(Settings)).body[0])
    notes: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=note)):
                notes[name] = " ".join(str(note).split())
            case _:
                pass
    rows: list[tuple[str, str, str]] = []
    for item in fields(Settings):
        default = item.default
        shown = (
            ",".join(cast("tuple[str, ...]", default))
            if isinstance(default, tuple)
            else ""
            if default is None
            else str(default)
        )
        rows.append((f"FOLKMOOT_{item.name.upper()}", shown, notes[item.name]))
    return rows
