"""The WebSocket `/ws`: states and progress of everything the caller may see."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, cast

import msgspec
from litestar import Controller, WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import QueryParameter

from folkmoot.feed.service import Bell, after, now, parse_cursor
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.http import authorise, needs, principal_of

LastEventId = Annotated[str | None, QueryParameter(name="last_event_id", max_length=100)]
RECHECK_SECONDS = 30.0
"""How often a silent socket asks whether its session still holds."""
FRESH_SECONDS = 1.0
"""How long before something is told that question may have been asked: revocation holds within a second."""


class FeedController(Controller):
    opt = needs(Permission.SIGNED_IN)

    @websocket("/ws")
    async def feed(
        self, socket: WebSocket[Any, Any, Any], app: NamedDependency[App], last_event_id: LastEventId = None
    ) -> None:
        """Each message is one event as JSON, with an `id` to resume from as `?last_event_id=`.

        The access token comes in the `Authorization` header, or from a browser as the subprotocol
        `bearer.<token>` beside `folkmoot`.
        """
        principal = principal_of(socket)
        offered = cast("dict[str, Any]", socket.scope).get("subprotocols", [])
        # Before it is accepted: whoever sees the socket open hears of all that happens after.
        begin = await now(app, principal)
        await socket.accept(subprotocols="folkmoot" if "folkmoot" in offered else None)
        try:
            cursor = parse_cursor(last_event_id) or begin
        except AppError as error:
            await socket.close(code=4400, reason=error.detail[:120])
            return
        leaving = asyncio.create_task(_until_gone(socket))
        clock = asyncio.get_running_loop().time
        checked = clock()
        try:
            while not leaving.done():
                events, reached = await after(app, principal, cursor)
                if clock() - checked > (FRESH_SECONDS if events else RECHECK_SECONDS):
                    await socket.app.state.authenticate(socket)
                    authorise(principal_of(socket), socket.route_handler.opt, "GET")
                    checked = clock()
                    before, principal = principal, principal_of(socket)
                    if principal != before:
                        # Their rights changed meanwhile, and with them what they may hear of.
                        continue
                cursor = reached
                for event in events:
                    await socket.send_data(msgspec.json.encode(event).decode(), mode="text")
                if events:
                    continue
                waiting = asyncio.create_task(app.part(Bell).wait(principal.tenant))
                await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        except AppError as error:
            # The server does not send a close while somebody still waits to receive.
            await _cancelled(leaving)
            await socket.close(code=4401, reason=error.detail[:120])
        except WebSocketDisconnect:
            pass
        finally:
            await _cancelled(leaving)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect):
        await task


async def _until_gone(socket: WebSocket[Any, Any, Any]) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_data(mode="text")
