"""Speaking with a tool server by the protocol's own SDK. Imported at the first use: it brings some two hundred modules.

Each conversation is opened for one errand and closed after it. So nothing of one person's call is there when the next
one's is made, a server that was started anew is no special case, and what an administrator changes holds at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import httpx
import msgspec
from mcp import types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from mcp.shared.message import SessionMessage

from folkmoot.ai.guard import storable
from folkmoot.tools import child
from folkmoot.tools.line import Line, ServerFailed, client, told
from folkmoot.tools.offer import Outcome
from folkmoot.tools.sound import Listed

T = TypeVar("T")
MOST_TOOLS = 200
MOST_PAGES = 50
LONGEST_LINE = 8 * 1024 * 1024
LONGEST_RESULT = 100_000
"""Characters; what a model is told of them is decided later."""
GRACE_SECONDS = 0.5
CLOSED = -32000
"""Code of the SDK's own error when a server went away."""
Streams = tuple[Any, Any]
Opening = Callable[[Line], contextlib.AbstractAsyncContextManager[Streams]]

# It writes what servers say into the log, by loggers of names that are everybody's. What matters is told as an error.
for _name in ("mcp", "client"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
logging.getLogger().addFilter(lambda record: f"{os.sep}mcp{os.sep}" not in record.pathname)


def http(shared: httpx.AsyncClient, url: str, headers: dict[str, str], seconds: float) -> Opening:
    """A server at an address."""

    @asynccontextmanager
    async def opening(line: Line) -> AsyncGenerator[Streams]:
        made = client(shared, line, headers, seconds)
        async with streamable_http_client(url, http_client=made) as (reading, writing, _):
            yield reading, writing

    return opening


def stdio(command: list[str]) -> Opening:
    """A server that is a process of ours for as long as the conversation lasts."""

    @asynccontextmanager
    async def opening(line: Line) -> AsyncGenerator[Streams]:
        if not os.access(command[0], os.X_OK):
            words = f"{command[0]} is not there, or cannot be run: ask the operator of the platform"
            raise line.broken(ServerFailed(words, code="unreachable", field="config.command"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(Path(child.__file__)), str(os.getpid()), *command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            cwd="/", env={"PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")},
            start_new_session=True, limit=LONGEST_LINE,
        )  # fmt: skip
        try:
            async with _bridged(process, line) as streams:
                yield streams
            if process.stdin is not None:
                process.stdin.close()
            with anyio.move_on_after(GRACE_SECONDS):
                await process.wait()
        finally:
            # Its children as well, and also if it has ended: they are its session's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.wait()

    return opening


@asynccontextmanager
async def _bridged(process: asyncio.subprocess.Process, line: Line) -> AsyncGenerator[Streams]:
    """One message a line, both ways (Model Context Protocol 2025-06-18, transports)."""
    incoming, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def read() -> None:
        while True:
            try:
                text = await stdout.readuntil(b"\n")
            except (asyncio.LimitOverrunError, ValueError):
                words = f"{line.name} sends a line that is too long"
                raise line.broken(ServerFailed(words, code="too-large")) from None
            except asyncio.IncompleteReadError:
                raise line.broken(ServerFailed(f"{line.name} ended by itself", code="bad-answer")) from None
            line.took(len(text))
            with contextlib.suppress(ValueError):
                # Many programs also say there that they have started.
                await incoming.send(SessionMessage(types.JSONRPCMessage.model_validate_json(text)))

    async def write() -> None:
        async for message in outgoing:
            line.asks()
            stdin.write(message.message.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await stdin.drain()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(write)
        try:
            yield reading, writing
        finally:
            group.cancel_scope.cancel()
            for stream in (incoming, reading, writing, outgoing):
                stream.close()


async def _talk(opening: Opening, line: Line, seconds: float, errand: Callable[[ClientSession], Awaitable[T]]) -> T:
    """Open a conversation, do one errand in it, and close it. Raises `ServerFailed`, and `McpError` of the errand."""
    done: list[T] = []
    refused: list[McpError] = []

    async def heard(message: object) -> None:
        if isinstance(message, Exception):
            raise line.broken(told(message, line.name))

    with anyio.move_on_after(seconds) as scope:
        line.ends = scope
        try:
            async with (
                opening(line) as (reading, writing),
                ClientSession(reading, writing, message_handler=heard, client_info=_ourselves()) as session,
            ):
                await session.initialize()
                try:
                    done.append(await errand(session))
                except McpError as error:
                    refused.append(error)
        except Exception as error:  # noqa: BLE001 - the SDK may raise anything, for anything that a server says
            if not done and not refused and line.trouble is None:
                line.broken(_said(error, line.name))
    if done:
        # What went wrong afterwards took nothing away.
        return done[0]
    if line.trouble is not None:
        raise line.trouble
    if refused:
        raise refused[0]
    raise ServerFailed(f"{line.name} gave no answer within {seconds:.0f} seconds", code="too-slow")


def _ourselves() -> types.Implementation:
    return types.Implementation(name="Folkmoot", version="1")


def _said(error: BaseException, name: str) -> ServerFailed:
    """The first error of those that the SDK raises together."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, McpError) and error.error.code != CLOSED:
        return ServerFailed(f"{name} refuses to begin: {storable(error.error.message)[:300]}", code="bad-answer")
    return told(error, name)


async def list_tools(opening: Opening, line: Line, seconds: float) -> tuple[list[Listed], bool]:
    """The tools that a server lists, `MOST_TOOLS` at most, and whether there are more. Raises `ServerFailed`."""
    try:
        return await _talk(opening, line, seconds, _listed)
    except McpError as error:
        words = f"{line.name} does not list its tools: {storable(error.error.message)[:300]}"
        raise ServerFailed(words, code="bad-answer") from None


async def call_tool(opening: Opening, line: Line, seconds: float, name: str, arguments: dict[str, Any]) -> Outcome:
    """What a call came to. Raises `ServerFailed`."""

    async def errand(session: ClientSession) -> types.CallToolResult:
        # Not `session.call_tool`: that fetches the whole list of tools each time, and runs a server's schema on it.
        params = types.CallToolRequestParams(name=name, arguments=arguments)
        request = types.ClientRequest(types.CallToolRequest(params=params))
        return await session.send_request(request, types.CallToolResult)

    try:
        result = await _talk(opening, line, seconds, errand)
    except McpError as error:
        return Outcome(storable(error.error.message[:LONGEST_RESULT]), "tool-failed")
    text = "\n".join(part for block in result.content if (part := _text(block)))
    if not any(isinstance(block, types.TextContent) for block in result.content) and result.structuredContent:
        # Where there is text, it says the same.
        structured = msgspec.json.format(msgspec.json.encode(result.structuredContent), indent=1).decode()
        text = "\n".join(part for part in (structured, text) if part)
    if not text.strip():
        text = "it failed and did not say why" if result.isError else "it was done, and gave nothing back"
    text = storable(text[:LONGEST_RESULT])
    return Outcome(text, "tool-failed") if result.isError else Outcome(text)


async def _listed(session: ClientSession) -> tuple[list[Listed], bool]:
    found: dict[str, Listed] = {}
    cursor, seen = None, set[str | None]()
    for _ in range(MOST_PAGES):
        params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
        request = types.ClientRequest(types.ListToolsRequest(params=params))
        page = await session.send_request(request, types.ListToolsResult)
        for tool in page.tools:
            if len(found) >= MOST_TOOLS:
                return list(found.values()), True
            notes = tool.annotations
            hints = {} if notes is None else {"read_only": notes.readOnlyHint, "destructive": notes.destructiveHint}
            title = tool.title or (notes.title if notes is not None else None) or ""
            # A name that comes twice is one tool: the first.
            found.setdefault(tool.name, Listed(tool.name, title, tool.description or "", tool.inputSchema, hints))
        seen.add(cursor)
        cursor = page.nextCursor
        if not cursor or cursor in seen:
            return list(found.values()), False
    return list(found.values()), True


def _text(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ResourceLink():
            about = f": {block.description}" if block.description else ""
            return f"[{block.title or block.name}]({block.uri}){about}"
        case types.EmbeddedResource(resource=types.TextResourceContents() as inside):
            return f"{inside.uri}\n{inside.text}"
        case types.EmbeddedResource():
            return f"[left out: {block.resource.uri}, which is not text]"
        case types.ImageContent() | types.AudioContent():
            return f"[left out: {block.mimeType[:100]}, which is not text]"
