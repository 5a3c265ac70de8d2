"""A website on loopback that tests make up page by page, and that remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    write: Callable | None = None
    """Takes the stream over after the head: `await write(writer)`."""


def html(title: str, text: str = "", *links: str, head: str = "") -> bytes:
    body = "".join(f'<a href="{link}">{link}</a> ' for link in links)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>{head}</head>'
        f"<body><nav>{body}</nav><main><h1>{title}</h1><p>{text}</p></main></body></html>"
    ).encode()


class Site:
    """Serves `pages` by their path with query; what is not there is 404."""

    def __init__(self) -> None:
        self.pages: dict[str, Reply | Callable[[dict[str, str]], Reply]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.at_once = self.most_at_once = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked if path != "/robots.txt"]

    def page(self, path: str, title: str, text: str = "", *links: str, head: str = "", **headers: str) -> None:
        kind = {"content-type": "text/html; charset=utf-8"}
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Reply(html(title, text or f"This is about {title}.", *links, head=head), headers=kind | told)

    def put(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.pages[path] = Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        self.put(path, status=status, location=to)

    def robots(self, text: str) -> None:
        self.put("/robots.txt", text.encode(), content_type="text/plain")

    def asked_for(self, path: str) -> list[dict[str, str]]:
        """The headers of each request for a path."""
        return [headers for found, headers in self.asked if found == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.split("\r\n")
                headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
                await self._answer(line.split()[1], headers, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, path: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self.asked.append((path, headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            found = self.pages.get(path, Reply(b"nothing here", 404))
            reply = found(headers) if callable(found) else found
            lines = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
            length = "" if reply.write else f"content-length: {len(reply.body)}\r\n"
            writer.write(f"HTTP/1.1 {reply.status} Said\r\n{lines}{length}\r\n".encode("latin-1") + reply.body)
            await writer.drain()
            if reply.write:
                await reply.write(writer)
                raise ConnectionResetError
        finally:
            self.at_once -= 1


async def until(found: Callable, seconds: float = 60):
    """What `await found()` gives, once it is true."""
    async with asyncio.timeout(seconds):
        while True:
            if value := await found():
                return value
            await asyncio.sleep(0.03)


@asynccontextmanager
async def started() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
