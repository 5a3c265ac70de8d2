"""The form of a recording: what is written of a call, and how two requests are compared."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast

import httpx
import msgspec

from folkmoot_sdk.testing.scrub import Scrubber

FORMAT = 1
_DROPPED = frozenset(
    {
        "accept",
        "accept-encoding",
        "alt-svc",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "host",
        "server",
        "set-cookie",
        "strict-transport-security",
        "transfer-encoding",
        "user-agent",
    }
)
"""Of no use in a test, or no longer true of what is written."""
_BOUNDARY = re.compile(r'(boundary="?)([^";]+)')
_NOTHING = object()


class RecordingError(ValueError):
    """The recording cannot be written or read; the message says why."""


class NotRecorded(AssertionError):
    """A request came that was not recorded. No `httpx` error, so that no plugin takes it for trouble on the line."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was sent: parsed, if it is JSON, so that the order of keys does not matter."""

    json: Any | msgspec.UnsetType = msgspec.UNSET
    text: str | None = None
    base64: str | None = None

    @property
    def content(self) -> Any:
        """Whichever of them it is."""
        return (self.text or self.base64) if self.json is msgspec.UNSET else self.json


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stretch of an answer as it came off the line."""

    at: float
    """Seconds since the request."""
    text: str | None = None
    base64: str | None = None
    """In place of `text`, for bytes that are no whole characters."""

    def bytes(self) -> bytes:
        """As it came."""
        return base64.b64decode(self.base64) if self.base64 is not None else (self.text or "").encode()


class Call(msgspec.Struct, omit_defaults=True):
    """A request and its answer."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: Body | None = None
    status: int = 0
    """0: the line broke before there was one."""
    answer_headers: dict[str, str] = {}
    pieces: list[Piece] = []
    broke: str | None = None
    """The `httpx` error that the line ended with."""
    left: bool = False
    """The plugin went away before the end, and the rest did not come."""


class Recording(msgspec.Struct):
    """The file."""

    folkmoot_recording: int
    recorded_on: str
    calls: list[Call]


def headers_of(headers: httpx.Headers, scrubber: Scrubber, hidden: Collection[str]) -> dict[str, str]:
    """What is written of headers: those of use in a test, without what stood in `hidden` ones."""
    shown = {name: "***" if name in hidden else scrubber.text(value) for name, value in headers.items()}
    if "content-type" in shown:
        shown["content-type"] = _BOUNDARY.sub(r"\1boundary", shown["content-type"])
    return {name: value for name, value in shown.items() if name not in _DROPPED}


def body_of(request: httpx.Request, body: bytes, scrubber: Scrubber) -> Body | None:
    """What is written of a body, and compared. Without what is new each time: secrets, and the boundary of a form."""
    if not body:
        return None
    kind = request.headers.get("content-type", "")
    if found := _BOUNDARY.search(kind):
        body = body.replace(found[2].encode(), b"boundary")
    try:
        text = scrubber.text(body.decode())
    except UnicodeDecodeError:
        return Body(base64=base64.b64encode(scrubber.same_length(body)).decode())
    if kind.startswith("application/x-www-form-urlencoded"):
        return Body(text=scrubber.query(text))
    try:
        return Body(json=json.loads(text))
    except ValueError:
        return Body(text=text)


def pieces_of(pieces: Iterable[tuple[float, bytes]], scrubber: Scrubber) -> Iterator[Piece]:
    """The pieces, cut where they were: a secret may begin in one and end in the next."""
    whole, start = scrubber.same_length(b"".join(data for _, data in pieces)), 0
    for at, data in pieces:
        part = whole[start : start + len(data)]
        start += len(data)
        try:
            yield Piece(round(at, 4), text=part.decode())
        except UnicodeDecodeError:
            yield Piece(round(at, 4), base64=base64.b64encode(part).decode())


def differences(recorded: object, asked: object, place: str = "") -> Iterator[str]:
    """Where two bodies differ, as `messages[0].content is 'b', was 'a'`."""
    same, change = recorded == asked, f"{place or 'the body'} is {_short(asked)}, was {_short(recorded)}"
    if isinstance(recorded, dict) and isinstance(asked, dict):
        one, other = cast("dict[str, object]", recorded), cast("dict[str, object]", asked)
        for key in one | other:
            yield from differences(one.get(key, _NOTHING), other.get(key, _NOTHING), f"{place}.{key}".lstrip("."))
    elif isinstance(recorded, list) and isinstance(asked, list):
        mine, theirs = cast("list[object]", recorded), cast("list[object]", asked)
        for index in range(max(len(mine), len(theirs))):
            one_item, other_item = (each[index] if index < len(each) else _NOTHING for each in (mine, theirs))
            yield from differences(one_item, other_item, f"{place}[{index}]")
    elif not same:
        yield change


def _short(value: object) -> str:
    text = "nothing" if value is _NOTHING else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def line_error(call: Call, request: httpx.Request) -> httpx.TransportError:
    """What the line gave when `call` was recorded. Raises `RecordingError` if that is no error of `httpx`'s."""
    kind = getattr(httpx, call.broke or "", None)
    if not (isinstance(kind, type) and issubclass(kind, httpx.TransportError)):
        raise RecordingError(f"the recording of {call.method} {call.url} ends with {call.broke!r}, which is no error")
    return kind("the line broke here when it was recorded", request=request)
