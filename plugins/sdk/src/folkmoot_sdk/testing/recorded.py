"""Record a real service once, and let tests hear it again without a network.

    async with httpx.AsyncClient() as http:
        async with record(http, "tests/recorded.json", secrets=[key]) as client:
            ...  # connect your provider with this client and ask

    transport = replay("tests/recorded.json")

`rehearse` asks what the conformance kit will ask, so that its `transport()` can be a recording. The file is JSON that
people can read: one entry a call, with the pieces of the answer and when they came. Secrets and headers that name an
account are taken out before it is written, and nothing is written if one would still be in it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from folkmoot_sdk.config import Secret, decode_config
from folkmoot_sdk.context import PluginContext
from folkmoot_sdk.providers import EmbedRequest, RerankRequest
from folkmoot_sdk.testing.recording import (
    FORMAT,
    Body,
    Call,
    NotRecorded,
    Recording,
    RecordingError,
    body_of,
    differences,
    headers_of,
    line_error,
    pieces_of,
)
from folkmoot_sdk.testing.scrub import SHORTEST, Scrubber

if TYPE_CHECKING:
    from folkmoot_sdk.testing.provider_calls import ProviderCalls

__all__ = ["HIDDEN", "NotRecorded", "RecordingError", "Replay", "record", "rehearse", "replay"]

HIDDEN = frozenset(
    {
        "anthropic-organization-id",
        "api-key",
        "authorization",
        "cookie",
        "ocp-apim-subscription-key",
        "openai-organization",
        "openai-project",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-goog-api-key",
    }
)
"""Headers whose values are never written; what stood in them is hidden everywhere else too."""
_REST_SECONDS = 10.0
"""How long the rest of an answer is waited for when the plugin has heard enough."""
_APART = ("Ada", "Bo")
_TEXTS = ("a red apple", "the council meets on Tuesdays", "snow")
_QUERY = "When do they meet?"


@asynccontextmanager
async def record(
    http: httpx.AsyncClient, path: str | Path, *, secrets: Iterable[str | Secret] = (), hide: Iterable[str] = ()
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client that asks as `http` does; what was said is written to `path` at the end, if all went well.

    `secrets` are taken out of addresses, headers and bodies; what is sent in a hidden header is one of them without
    being named. `hide` adds names of headers to `HIDDEN`. Raises `RecordingError` if a secret would still be in it.
    """
    recorder = _Recorder(http)
    async with httpx.AsyncClient(
        transport=recorder,
        base_url=http.base_url,
        headers=http.headers,
        params=http.params,
        cookies=http.cookies,
        timeout=http.timeout,
        follow_redirects=http.follow_redirects,
    ) as client:
        yield client
    known = [secret.reveal() if isinstance(secret, Secret) else secret for secret in secrets]
    _write(Path(path), recorder.heard, known, HIDDEN | {name.lower() for name in hide})


def replay(path: str | Path, *, secrets: Iterable[str] = (), pace: float = 0.0) -> Replay:
    """A transport that answers out of the recording at `path`.

    `secrets` are the made-up ones, if one stands in an address or a body. `pace` is how much of the recorded time
    passes: 0 none, 1 all of it. Raises `RecordingError` for a file that is none.
    """
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=Recording)
    except OSError as error:
        raise RecordingError(f"there is no recording at {path} ({error.strerror}): record the service once") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} is no recording: {error}") from None
    if found.folkmoot_recording != FORMAT:
        raise RecordingError(f"{path} has the form {found.folkmoot_recording}, not {FORMAT}: record it again")
    return Replay(found.calls, Scrubber(secrets), pace)


async def rehearse(
    kit: ProviderCalls,
    path: str | Path,
    config: Mapping[str, Any],
    *,
    http: httpx.AsyncClient | None = None,
    hide: Iterable[str] = (),
) -> None:
    """Ask the real service what the conformance kit asks, and keep it in `path`.

    `config` is the real configuration, as JSON; its secrets are taken out. Costs half a dozen short answers. Raises
    `ProviderError` if the service refuses, and `RecordingError`.
    """
    real = decode_config(kit.spec.config, dict(config))
    values = (getattr(real, name) for name in real.__struct_fields__)
    secrets = [value for value in values if isinstance(value, Secret)]
    async with AsyncExitStack() as stack:
        if http is None:
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=120))
        client = await stack.enter_async_context(record(http, path, secrets=secrets, hide=hide))
        context = PluginContext(client, logging.getLogger("folkmoot.plugins"), _Now())
        connection: Any = await stack.enter_async_context(kit.spec.connect(real, context))
        await connection.models()
        for kind in kit.kinds():
            await kit.call(connection, kind)
        for text in _APART if kit.chat_model is not None else ():
            async for _ in connection.chat(kit.request(text)):
                pass
        if kit.embedding_model is not None:
            for texts in (_TEXTS, *((text,) for text in _TEXTS)):
                await connection.embed(EmbedRequest(kit.embedding_model, texts))
        if kit.rerank_model is not None:
            await connection.rerank(RerankRequest(kit.rerank_model, _QUERY, _TEXTS))


class Replay(httpx.AsyncBaseTransport):
    """Answers out of a recording. The same request again gets the next answer recorded for it, at last the last one."""

    def __init__(self, calls: list[Call], scrubber: Scrubber, pace: float) -> None:
        self._calls, self._scrubber, self._pace = calls, scrubber, pace
        self._used: set[int] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises `NotRecorded` for a request that differs in method, address or body from all recorded ones."""
        body = body_of(request, await request.aread(), self._scrubber)
        call = self._find(request.method, self._scrubber.url(str(request.url)), body)
        if not call.status:
            raise line_error(call, request)
        return httpx.Response(
            call.status, headers=call.answer_headers, stream=_Played(call, request, self._pace), request=request
        )

    def left(self) -> list[str]:
        """Recorded requests that nobody made, as `POST https://…`."""
        return [f"{call.method} {call.url}" for place, call in enumerate(self._calls) if place not in self._used]

    def _find(self, method: str, url: str, body: Body | None) -> Call:
        same = [
            place
            for place, call in enumerate(self._calls)
            if (call.method, call.url) == (method, url) and call.body == body
        ]
        if not same:
            raise NotRecorded(self._differs(method, url, body))
        place = next((place for place in same if place not in self._used), same[-1])
        self._used.add(place)
        return self._calls[place]

    def _differs(self, method: str, url: str, body: Body | None) -> str:
        here = [call for call in self._calls if (call.method, call.url) == (method, url)]
        if not here:
            known = sorted({f"{call.method} {call.url}" for call in self._calls})
            return f"{method} {url} was not recorded, only {', '.join(known) or 'nothing'}: record the service again"
        bodies = [call.body.content if call.body else None for call in here]
        nearest = min((list(differences(each, body.content if body else None)) for each in bodies), key=len)
        shown = "; ".join(nearest[:3])
        return f"{method} {url} was recorded with another body: {shown}. Record the service again, or ask as then"


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


class _Recorder(httpx.AsyncBaseTransport):
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.heard: list[_Heard] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        heard = _Heard(request, await request.aread())
        self.heard.append(heard)
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except httpx.TransportError as error:
            heard.broke = type(error).__name__
            raise
        heard.response = response
        # What is handed on is unpacked, as what is written: a secret could not be found in packed bytes.
        packing = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in packing]
        return httpx.Response(response.status_code, headers=headers, stream=heard, request=request)


class _Heard(httpx.AsyncByteStream):
    """One call while it is recorded."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        self.request, self.body = request, body
        self.response: httpx.Response | None = None
        self.pieces: list[tuple[float, bytes]] = []
        self.broke: str | None = None
        self.over = False
        self._cancelled = False
        self._begun = monotonic()
        self._coming: AsyncIterator[bytes] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self.response is not None
        if self._coming is None:
            self._coming = self.response.aiter_bytes()
        try:
            async for data in self._coming:
                self.pieces.append((monotonic() - self._begun, data))
                yield data
        except httpx.TransportError as error:
            self.broke = type(error).__name__
            raise
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        self.over = True

    async def aclose(self) -> None:
        if not (self.over or self._cancelled or self.broke):
            with suppress(TimeoutError, httpx.HTTPError, httpx.StreamError):
                async with asyncio.timeout(_REST_SECONDS):
                    async for _ in self:
                        pass
        if self.response is not None:
            await self.response.aclose()


class _Played(httpx.AsyncByteStream):
    def __init__(self, call: Call, request: httpx.Request, pace: float) -> None:
        self._call, self._request, self._pace = call, request, pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passed = 0.0
        for piece in self._call.pieces:
            await asyncio.sleep((piece.at - passed) * self._pace)
            passed = piece.at
            yield piece.bytes()
        if self._call.broke is not None:
            raise line_error(self._call, self._request)
        if self._call.left:
            raise NotRecorded(
                f"the plugin left {self._call.method} {self._call.url} here when it was recorded: record it again, and "
                "hear it to its end"
            )


def _write(path: Path, heard: list[_Heard], secrets: list[str], hidden: frozenset[str]) -> None:
    """Raises `RecordingError`, and writes all of it or nothing."""
    try:
        scrubber = Scrubber([*secrets, *(value for each in heard for value in _values(each, hidden))])
    except ValueError as error:
        raise RecordingError(f"nothing is written to {path}: {error}") from None
    calls = [_call_of(each, scrubber, hidden) for each in heard]
    for number, call in enumerate(calls, start=1):
        answer = b"".join(piece.bytes() for piece in call.pieces).decode("utf-8", "replace")
        if scrubber.holds(json.dumps(msgspec.to_builtins(call), ensure_ascii=False)) or scrubber.holds(answer):
            raise RecordingError(
                f"nothing is written to {path}: call {number}, a {call.method} to {httpx.URL(call.url).host}, would "
                "still show a secret or a part of one. Give `secrets` what stands there, or `hide` the header"
            )
    found = Recording(FORMAT, datetime.now(UTC).date().isoformat(), calls)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    draft.replace(path)


def _call_of(heard: _Heard, scrubber: Scrubber, hidden: frozenset[str]) -> Call:
    response = heard.response
    return Call(
        method=heard.request.method,
        url=scrubber.url(str(heard.request.url)),
        headers=headers_of(heard.request.headers, scrubber, hidden),
        body=body_of(heard.request, heard.body, scrubber),
        status=response.status_code if response is not None else 0,
        answer_headers=headers_of(response.headers, scrubber, hidden) if response is not None else {},
        pieces=list(pieces_of(heard.pieces, scrubber)),
        broke=heard.broke,
        left=response is not None and not heard.over and heard.broke is None,
    )


def _values(heard: _Heard, hidden: frozenset[str]) -> Iterator[str]:
    """What stood in the hidden headers of a call."""
    shown = [heard.request.headers]
    if heard.response is not None:
        shown += [heard.response.request.headers, heard.response.headers]
    for headers in shown:
        for name, value in headers.multi_items():
            if name.lower() in hidden:
                # After the first `;` of a cookie come its date and path.
                yield from _tokens(value.partition(";")[0] if name.lower() == "set-cookie" else value)


def _tokens(value: str) -> Iterator[str]:
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            yield from (part for part in base64.b64decode(rest).decode().split(":", 1) if len(part) >= SHORTEST)
    for token in re.split(r"[\s,;]+", value):
        yield from (part for part in (token, token.partition("=")[2]) if len(part) >= SHORTEST)
