"""Tool servers of the SDK's own making: Streamable HTTP on a free port in a thread, and a command that speaks stdio."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import uvicorn
from mcp.server.fastmcp import FastMCP
from mcp.types import ResourceLink, TextContent, ToolAnnotations
from starlette.requests import Request
from starlette.responses import JSONResponse

TOKEN = "made-up-and-quite-secret-0123456789"


def made(name: str = "Maps") -> FastMCP:
    server = FastMCP(name, log_level="CRITICAL")

    @server.tool(title="Find a parcel", annotations=ToolAnnotations(readOnlyHint=True))
    def find_parcel(number: str) -> str:
        """Where a parcel lies."""
        return f"parcel {number} lies by the lake"

    @server.tool(annotations=ToolAnnotations(readOnlyHint=False, destructiveHint=True))
    def delete_parcel(number: str) -> str:
        """Take a parcel out of the register."""
        raise ValueError(f"parcel {number} is not there, and the token was {TOKEN}")

    @server.tool()
    def measures(sides: list[float]) -> dict[str, float]:
        """Lengths and area."""
        return {"area": sides[0] * sides[1], "around": 2 * sum(sides)}

    @server.tool()
    def links() -> list[ResourceLink | TextContent]:
        """Where to read on."""
        link = ResourceLink(type="resource_link", name="Plan", uri="https://maps.example/plan.pdf")  # pyright: ignore
        return [TextContent(type="text", text="Read the plan."), link]

    @server.tool()
    def environment() -> str:
        """What is known of the machine."""
        return f"{sorted(os.environ)} in {Path.cwd()} as {os.getpid()}"

    return server


class Served:
    """One of them, reachable at `url`, with a token that it asks for."""

    def __init__(self, *, token: str = "") -> None:
        self.server = made()
        self.seen: list[tuple[str, str]] = []
        """Method and session of each request."""
        app = self.server.streamable_http_app()

        async def guarded(scope, receive, send):
            if scope["type"] == "http":
                request = Request(scope)
                self.seen.append((request.method, request.headers.get("mcp-session-id", "")))
                if token and request.headers.get("authorization") != f"Bearer {token}":
                    await JSONResponse({"error": "who are you"}, 401)(scope, receive, send)
                    return
            await app(scope, receive, send)

        config = uvicorn.Config(guarded, host="127.0.0.1", port=0, log_level="critical", lifespan="on")
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        until = time.monotonic() + 10
        while not self._uvicorn.started:
            assert time.monotonic() < until, "the tool server does not start"
            time.sleep(0.01)
        port = self._uvicorn.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/mcp"
        return self

    def __exit__(self, *_error: object) -> None:
        self._uvicorn.should_exit = True
        self._uvicorn.force_exit = True
        self._thread.join(10)


COMMAND = f"{sys.executable} {Path(__file__).resolve()}"
"""Speaks stdio."""

if __name__ == "__main__":
    made().run()
