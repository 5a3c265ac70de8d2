"""Connections for the HTTP client, straight on asyncio's transports.

httpcore's usual backend goes through anyio, whose cancel scope around each read cost about as much as all the
rest of reading a token; a hundred answers at once are ten thousand reads a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, cast

import httpcore

CLOSE_SECONDS = 1.0
MOST_WAITING = 1 << 18
"""Bytes that may wait to be read before the other side is made to wait."""
FEW = 24
"""Connections that are read at the same time, up to which each piece is handed on as it comes."""
GATHER_SECONDS_EACH = 0.0004
"""With more, small pieces gather for so long for each of them: tokens then come by the dozen, and cost a fraction."""
MOST_GATHER_SECONDS = 0.2
SMALL = 4096
"""Bytes from which on there is nothing to gather."""
AT_ONCE = 4
"""Reads after a request that never wait: its head, and the first words."""


class TcpStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One connection, with or without TLS. One reader and one writer at a time, as httpcore has it."""

    _read_now = 0
    """Connections of this process that somebody reads."""

    def __init__(self) -> None:
        self._reads = 0
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._paused = False

    # what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > MOST_WAITING and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, exc
        self._writable.set()
        self._closed.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    # what httpcore asks

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._reads += 1
        TcpStream._read_now += 1
        try:
            if not self._buffer:
                await self._wait(timeout)
            many = TcpStream._read_now
            if many > FEW and self._reads > AT_ONCE and len(self._buffer) < SMALL and not self._ended:
                await asyncio.sleep(min(MOST_GATHER_SECONDS, GATHER_SECONDS_EACH * many))
        finally:
            TcpStream._read_now -= 1
        if not self._buffer and self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        if self._paused and len(self._buffer) <= MOST_WAITING // 2:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self, timeout: float | None) -> None:
        while not self._buffer and not self._ended:
            self._reading = self._loop.create_future()
            # A bare timer: `asyncio.timeout` costs several times as much, for each token.
            timer = self._loop.call_later(timeout, _expire, self._reading) if timeout is not None else None
            try:
                await self._reading
            except TimeoutError:
                raise httpcore.ReadTimeout(f"nothing came within {timeout} s") from None
            finally:
                if timer is not None:
                    timer.cancel()
                self._reading = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        self._reads = 0
        if self._closed.is_set() or self._transport.is_closing():
            raise httpcore.WriteError("the connection is closed")
        self._transport.write(buffer)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            raise httpcore.WriteTimeout(f"nothing was taken within {timeout} s") from None
        if self._closed.is_set():
            raise httpcore.WriteError(str(self._error or "the connection was closed"))

    async def aclose(self) -> None:
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._closed.wait()
        self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                made = await self._loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
        except TimeoutError:
            await self.aclose()
            raise httpcore.ConnectTimeout(f"no TLS with {server_hostname!r} within {timeout} s") from None
        except (OSError, ssl.SSLError) as error:
            await self.aclose()
            raise httpcore.ConnectError(str(error)) from error
        if made is None:
            raise httpcore.ConnectError(f"{server_hostname!r} hung up during the TLS handshake")
        self._transport = made
        return self

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "is_readable":
                # Asked of an idle connection: the other side has hung up, or says what nobody asked for.
                return self._ended or bool(self._buffer)
            case "client_addr":
                return self._transport.get_extra_info("sockname")
            case "server_addr":
                return self._transport.get_extra_info("peername")
            case "socket" | "ssl_object":
                return self._transport.get_extra_info(info)
            case _:
                return None


def _expire(reading: asyncio.Future[None]) -> None:
    if not reading.done():
        reading.set_exception(TimeoutError())


async def connect(
    address: str, port: int, local_address: str | None = None, socket_options: Iterable[Any] | None = None
) -> TcpStream:
    """Connect to an address (not a name). Raises `httpcore.ConnectError`."""
    local = (local_address, 0) if local_address is not None else None
    loop = asyncio.get_running_loop()
    try:
        transport, stream = await loop.create_connection(TcpStream, address, port, local_addr=local)
    except OSError as error:
        raise httpcore.ConnectError(f"{address} port {port}: {error.strerror or error}") from error
    for option in socket_options or ():
        transport.get_extra_info("socket").setsockopt(*option)
    return stream
