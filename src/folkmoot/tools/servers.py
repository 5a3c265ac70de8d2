"""Asking tool servers: what they offer, and to do something. Lives as long as the process."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import UUID
from weakref import WeakValueDictionary

import httpx

from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import ValidationFailed
from folkmoot.kit.log import get_logger
from folkmoot.tools.config import allow, hidden, name_of, secrets_of, stored
from folkmoot.tools.line import Line, ServerFailed
from folkmoot.tools.models import ToolServer
from folkmoot.tools.offer import CALL_SECONDS, Outcome
from folkmoot.tools.sound import Listed, Unsound, sound

if TYPE_CHECKING:
    from folkmoot.tools.speak import Opening

log = get_logger(__name__)
LIST_SECONDS = 30.0
LARGEST_LIST = 8 * 1024 * 1024
LARGEST_ANSWER = 2 * 1024 * 1024
AT_ONCE = 16
"""Calls of one server that a process makes at the same time; more wait."""
PROCESSES = 4
"""Of tool servers that are commands, at the same time in one process of ours."""


class Speak(Protocol):
    """`speak.py`, which is imported late."""

    def http(self, shared: httpx.AsyncClient, url: str, headers: dict[str, str], seconds: float) -> Opening: ...
    def stdio(self, command: list[str]) -> Opening: ...
    async def list_tools(self, opening: Opening, line: Line, seconds: float) -> tuple[list[Listed], bool]: ...
    async def call_tool(
        self, opening: Opening, line: Line, seconds: float, name: str, arguments: dict[str, Any]
    ) -> Outcome: ...


@dataclass(frozen=True)
class Offered:
    """What a server lists."""

    tools: list[Listed]
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names of tools that cannot be taken, with the reason."""
    more: bool = False
    """It lists more than are taken."""


class ToolServers:
    """The way to all tool servers."""

    def __init__(self, shared: httpx.AsyncClient, keyring: Keyring, commands: tuple[str, ...]) -> None:
        self._shared, self._keyring = shared, keyring
        self.commands = commands
        """Those that may be run."""
        self._turns: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._processes = asyncio.Semaphore(PROCESSES)
        self._speaks: Speak | None = None

    async def offers(self, kind: str, config: dict[str, Any]) -> Offered:
        """What a server lists now, made sound. Raises `ServerFailed`."""
        with _without_secrets(config):
            async with self._line(kind, config, LARGEST_LIST, LIST_SECONDS) as (speak, opening, line):
                listed, more = await speak.list_tools(opening, line, LIST_SECONDS)
        tools: list[Listed] = []
        refused: list[tuple[str, str]] = []
        for number, tool in enumerate(listed):
            if number % 20 == 19:
                # Taking a large schema apart takes a while, and others wait for the same loop.
                await asyncio.sleep(0)
            try:
                tools.append(sound(tool))
            except Unsound as error:
                refused.append((tool.name, str(error)))
        return Offered(tools, refused, more)

    async def call(
        self, server_id: UUID, kind: str, config: dict[str, Any], name: str, arguments: dict[str, Any]
    ) -> Outcome:
        """What a call of a tool came to, in words for the model that asked for it. Raises `ServerFailed`."""
        turn = self._turns.setdefault(server_id, asyncio.Semaphore(AT_ONCE))
        with _without_secrets(config):
            async with turn, self._line(kind, config, LARGEST_ANSWER, CALL_SECONDS) as (speak, opening, line):
                found = await speak.call_tool(opening, line, CALL_SECONDS, name, arguments)
        return Outcome(hidden(found.text, secrets_of(config)), found.failed)

    async def config_of(self, server: ToolServer) -> dict[str, Any]:
        """The configuration with its secrets. Raises `ServerFailed` if it cannot be opened any more."""
        try:
            return await stored(self._keyring, server)
        except CryptoError as error:
            log.error("tool_server.not_opened", server=str(server.id), error=str(error))
            raise ServerFailed(
                "its configuration cannot be decrypted any more: give it again", code="auth-lost"
            ) from None

    async def close(self) -> None:
        await self._shared.aclose()

    @asynccontextmanager
    async def _line(
        self, kind: str, config: dict[str, Any], most_bytes: int, seconds: float
    ) -> AsyncGenerator[tuple[Speak, Opening, Line]]:
        if self._speaks is None:
            # In a thread: importing it would hold up every answer of this process.
            self._speaks = cast("Speak", await asyncio.to_thread(importlib.import_module, "folkmoot.tools.speak"))
        speak, line = self._speaks, Line(name_of(kind, config), most_bytes)
        if kind == "http":
            yield speak, speak.http(self._shared, config["url"], _headers(config), seconds), line
            return
        command = allow(config["command"], self.commands)
        async with self._processes:
            yield speak, speak.stdio(command), line


def _headers(config: dict[str, Any]) -> dict[str, str]:
    headers = dict[str, str](config.get("headers") or {})
    if token := config.get("token"):
        headers["authorization"] = f"Bearer {token}"
    return headers


@contextmanager
def _without_secrets(config: dict[str, Any]) -> Generator[None]:
    """What a server says of a failure may have the token in it."""
    try:
        yield
    except ServerFailed as error:
        raise ServerFailed(hidden(str(error), secrets_of(config)), code=error.code, field=error.field) from None
    except ValidationFailed as error:
        # The operator has taken the command from the list.
        raise ServerFailed(error.detail, code="not-allowed", field="config.command") from None
