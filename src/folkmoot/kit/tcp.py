"""Connections for the HTTP client, on asyncio's own streams.

httpcore's usual backend goes through anyio, whose cancel scope around each read cost about as much as all the
rest of reading a token; a hundred answers at once are ten thousand reads a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

CLOSE_SECONDS = 1.0


class TcpStream(httpcore.AsyncNetworkStream):
    """One connection, with or without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout(f"nothing came within {timeout} s") from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError:
            raise httpcore.WriteTimeout(f"nothing was taken within {timeout} s") from None
        except (OSError, RuntimeError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except TimeoutError:
            await self.aclose()
            raise httpcore.ConnectTimeout(f"no TLS with {server_hostname!r} within {timeout} s") from None
        except (OSError, ssl.SSLError) as error:
            await self.aclose()
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "is_readable":
                # Asked of an idle connection: the other side has hung up.
                return self._reader.at_eof() or self._writer.is_closing()
            case "client_addr":
                return self._writer.get_extra_info("sockname")
            case "server_addr":
                return self._writer.get_extra_info("peername")
            case "socket" | "ssl_object":
                return self._writer.get_extra_info(info)
            case _:
                return None


async def connect(
    address: str, port: int, local_address: str | None = None, socket_options: Iterable[Any] | None = None
) -> TcpStream:
    """Connect to an address (not a name). Raises `httpcore.ConnectError`."""
    local = (local_address, 0) if local_address is not None else None
    try:
        reader, writer = await asyncio.open_connection(address, port, local_addr=local)
    except OSError as error:
        raise httpcore.ConnectError(f"{address} port {port}: {error.strerror or error}") from error
    for option in socket_options or ():
        writer.get_extra_info("socket").setsockopt(*option)
    return TcpStream(reader, writer)
