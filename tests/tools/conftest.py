"""A real tool server, an organisation that has connected it, and servers that mean ill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from folkmoot.kit.net import NetPolicy, outbound_client
from folkmoot.tools.servers import ToolServers
from tests.support.mcp_server import COMMAND, TOKEN, Served


@pytest.fixture(scope="module")
def maps():
    with Served(token=TOKEN) as server:
        yield server


@pytest.fixture
async def server(owner, maps):
    """`maps`, connected."""
    config = {"url": maps.url, "token": TOKEN}
    return await owner.made("/tool-servers", name="Maps", kind="http", config=config)


@pytest.fixture
def tools_of(owner):
    async def read(server: dict) -> dict[str, dict]:
        answer = await owner.get(f"/tool-servers/{server['id']}/tools")
        assert answer.status_code == 200, answer.text
        return {item["name"]: item for item in answer.json()["items"]}

    return read


@pytest.fixture
def switched_on(owner):
    """Switches tools on for the organisation, and chooses them for a space."""

    async def switch(space: str, *tools: dict, approval: str = "always") -> list[str]:
        for tool in tools:
            body = {"enabled": True, "approval": approval}
            assert (await owner.patch(f"/tools/{tool['id']}", json=body)).status_code == 200
        ids = [tool["id"] for tool in tools]
        chosen = await owner.put(f"/spaces/{space}/tools", json={"tool_ids": ids})
        assert chosen.status_code == 200, chosen.text
        return ids

    return switch


@pytest.fixture
async def asking():
    """The way to tool servers, beside any organisation."""
    made = ToolServers(outbound_client(NetPolicy(("127.0.0.1",))), None, (COMMAND,))  # pyright: ignore
    yield made
    await made.close()


async def until(holds: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@dataclass
class Call:
    """One request to a hostile server."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict
    write: Callable[[bytes], Awaitable[None]] = field(repr=False)

    async def say(self, body: bytes | dict, kind: str = "application/json", status: str = "200 OK", **headers) -> None:
        """The whole answer."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(content)}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    async def begin(self, kind: str = "text/event-stream") -> None:
        """An answer that goes on until the connection is closed."""
        await self.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode())

    def result(self, result: dict) -> dict:
        return {"jsonrpc": "2.0", "id": self.body.get("id"), "result": result}


BEGUN = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "Ill", "version": "1"},
}


@asynccontextmanager
async def hostile(act: Callable[[Call], Awaitable[None]], *, polite: bool = True):
    """A server on a free port, as (its address, the calls so far). It is `polite` until it is asked for something."""
    seen: list[Call] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            call = Call(*head[0].split()[:2], headers, json.loads(body) if body else {}, write)
            seen.append(call)
            if polite and call.body.get("method") == "initialize":
                await call.say(call.result(BEGUN))
            elif polite and call.body.get("method", "").startswith("notifications/"):
                await call.say(b"", status="202 Accepted")
            else:
                await act(call)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp", seen
    finally:
        listening.close()
