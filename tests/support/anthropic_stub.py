"""A local service that speaks Anthropic's Messages API, for tests: a real server, no model.

    async with AnthropicStub() as stub:
        ...  # stub.url is a base_url, stub.requests what was asked

or `python -m tests.support.anthropic_stub --port 0`, which prints its URL. It answers with the words of the last
user message, counts words as tokens, remembers cached prefixes, signs its thoughts and wants them back unchanged,
and refuses what the real service refuses. A message may hold directives:

    [[tokens=200 delay=0.01]]   so many words, one every 10 ms, the first at once
    [[status=429 retry_after=1]]  fail with this status; type=… and message=… word the error
    [[fail=3]]                  an error event after three words; type=… names it, overloaded_error if not
    [[wait=1]] [[stall=5]]      silence before the first byte, or after the first word
    [[cut=5]]                   break the line after five words
    [[think]] [[redacted]]      thoughts first, signed; thoughts that may not be read
    [[tool=NAME calls=2]]       ask for that tool, so many times; with its answer the words follow
    [[cite]]                    a sentence of the first search result as a citation, else of passage [1] of the prompt
    [[stop=max_tokens]]         that stop_reason
    [[crumbs]]                  one byte at a time
    [[html]] [[error-in-200]] [[no-usage]] [[no-stop]] [[whole]] [[unknown]] [[long-line=100]] (MB)
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.anthropic_rules import (
    TYPES,
    VERSIONS,
    citations,
    complaint,
    in_order,
    model_row,
    models_page,
    parameters,
    said_in,
    sample,
    sign,
    split,
    words_of,
)
from tests.support.openai_stub import Recorded, cite

_DIRECTIVE = re.compile(r"\[\[([^\[\]]+)\]\]")
_TOO_LARGE = "too large"
COUNTED = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
"""What a request to count may have."""
Event = tuple[str, dict[str, Any]]


@dataclass
class AnthropicStub:
    """The server; start it with `async with`."""

    answer: str | None = None
    """What it says; the question, if None."""
    tokens: int | None = None
    delay: float = 0.0
    api_key: str | None = None
    """Refuse every other key."""
    models: tuple[str, ...] = ("claude-stub-1",)
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Recorded] = field(default_factory=list["Recorded"])
    connections: int = 0
    disconnects: int = 0
    """How many clients left in the middle of an answer."""
    streaming: int = 0
    """How many answers are on their way now."""
    body_limit: int = 32 * 1024 * 1024
    """Bytes of a request; more is refused with 413."""
    cached: set[str] = field(default_factory=set[str])
    """Fingerprints of the prefixes that were written to the cache."""
    _server: asyncio.Server | None = None
    _talking: set[asyncio.Task[Any]] = field(default_factory=set["asyncio.Task[Any]"])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> AnthropicStub:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._talking):
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    async def serve_forever(self) -> None:
        """Run until cancelled."""
        if self._server is not None:
            await self._server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talking.add(task)
        self.connections += 1
        try:
            while (request := await _read(reader, self.body_limit)) is not None:
                self.requests.append(request)
                if not await self._respond(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the client left or talks nonsense: its connection ends, the server goes on
        finally:
            if task is not None:
                self._talking.discard(task)
            writer.close()

    async def _respond(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False if the connection is to end."""
        headers = request.headers
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not key or (self.api_key is not None and key != self.api_key):
            return await _fail(writer, 401, "invalid x-api-key")
        if headers.get("anthropic-version") not in VERSIONS:
            return await _fail(writer, 400, "anthropic-version: header is required and must be a valid version")
        if request.body is _TOO_LARGE:
            return await _fail(writer, 413, "Request exceeds the maximum size")
        path, _, query = request.path.partition("?")
        if request.method == "GET" and path == "/v1/models":
            return await _send(writer, 200, models_page(self.models, parameters(query)))
        if request.method == "GET" and path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            found = name in self.models
            return await (_send(writer, 200, model_row(name)) if found else _fail(writer, 404, f"model: {name}"))
        if (request.method, path) == ("POST", "/v1/messages/count_tokens") and isinstance(request.body, dict):
            strange = set(request.body) - COUNTED
            if strange:
                return await _fail(writer, 400, f"{min(strange)}: Extra inputs are not permitted")
            words = sum(len(words_of(block).split()) for block in in_order(request.body))
            return await _send(writer, 200, {"input_tokens": words})
        if (request.method, path) != ("POST", "/v1/messages"):
            return await _fail(writer, 404, "Not found")
        if isinstance(request.body, dict) and request.body.get("model") not in self.models:
            return await _fail(writer, 404, f"model: {request.body.get('model')}")
        refused = complaint(request.body, headers["anthropic-version"])
        if refused is not None:
            return await _fail(writer, 400, refused)
        return await _Answer(self, request.body).send(reader, writer)

    def count(self, body: dict[str, Any]) -> dict[str, int]:
        """The prompt's tokens as `usage` tells them, reading and writing the cache on the way."""
        total = read = written = 0
        hashed = hashlib.sha256(body["model"].encode())
        for block in in_order(body):
            marked = isinstance(block.get("cache_control"), dict)
            bare = {name: value for name, value in block.items() if name != "cache_control"}
            hashed.update(json.dumps(bare, sort_keys=True).encode())
            total += len(words_of(bare).split())
            if marked:
                if hashed.hexdigest() in self.cached:
                    read = total
                self.cached.add(hashed.hexdigest())
                written = total - read
        return {
            "input_tokens": total - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
        }


class _Answer:
    """One answer: what to say, how fast, and how to fail on the way."""

    def __init__(self, stub: AnthropicStub, body: dict[str, Any]) -> None:
        self.stub = stub
        self.body = body
        asked = [m for m in body["messages"] if m["role"] == "user" and any(words_of(b) for b in said_in(m))]
        question = "\n".join(b["text"] for b in said_in(asked[-1]) if b.get("type") == "text") if asked else ""
        self.told = dict(item for found in _DIRECTIVE.finditer(question) for item in _told(found.group(1)))
        self.delay = float(self.told.get("delay", stub.delay))
        self.question = _DIRECTIVE.sub("", question).strip()
        self.usage = stub.count(body)
        self.blocks = list(self._blocks())
        self.reason = self.told.get("stop") or ("tool_use" if self.blocks[-1]["type"] == "tool_use" else "end_turn")

    def _blocks(self) -> Iterator[dict[str, Any]]:
        answered = any(b.get("type") == "tool_result" for b in said_in(self.body["messages"][-1]))
        if "think" in self.told:
            thought = f"I think about: {self.question}"
            yield {"type": "thinking", "thinking": thought, "signature": sign(thought)}
        if "redacted" in self.told:
            yield {"type": "redacted_thinking", "data": "c2VjcmV0"}
        if "tool" in self.told and not answered:
            for n in range(int(self.told.get("calls") or 1)):
                arguments = {"text": self.question}
                yield {"type": "tool_use", "id": f"toolu_stub{n}", "name": self.told["tool"], "input": arguments}
        elif "cite" in self.told and (found := citations(self.body)):
            yield {"type": "text", "text": "It says: ", "citations": None}
            yield {"type": "text", "text": found[0]["cited_text"], "citations": found[:1]}
            yield {"type": "text", "text": " That is all.", "citations": None}
        else:
            yield {"type": "text", "text": self._say(), "citations": None}

    def _say(self) -> str:
        schema = ((self.body.get("output_config") or {}).get("format") or {}).get("schema")
        if schema is not None:
            return json.dumps(sample(schema, self.question), ensure_ascii=False)
        if "cite" in self.told:
            return cite([words_of({"content": [*said_in({"content": self.body.get("system")}), *in_order(self.body)]})])
        count = self.told.get("tokens", self.stub.tokens)
        if count is not None:
            return " ".join(f"word{number}" for number in range(int(count)))
        return self.stub.answer if self.stub.answer is not None else self.question or "Hello."

    async def send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        told = self.told
        if "wait" in told:
            await asyncio.sleep(float(told["wait"]))
        if "status" in told:
            extra = f"retry-after: {told['retry_after']}\r\n" if "retry_after" in told else ""
            return await _fail(writer, int(told["status"]), told.get("message", "told to"), told.get("type"), extra)
        if "html" in told:
            return await _send(writer, 200, b"<!doctype html><title>Sign in</title>", kind="text/html")
        if not self.body.get("stream") or "whole" in told:
            return await _send(writer, 200, self._message(self.blocks, self.reason, self._counted()))
        self.stub.streaming += 1
        try:
            return await self._stream(reader, writer)
        finally:
            self.stub.streaming -= 1

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Write each event at its time; False if the line broke, from either side."""
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nrequest-id: req_stub\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        transport, loop, words = writer.transport, asyncio.get_running_loop(), 0
        start = loop.time()
        for name, data in self._events():
            if name == "content_block_delta":
                if words == int(self.told.get("cut", -1)):
                    transport.abort()
                    return False
                if words and self.delay:
                    await asyncio.sleep(max(0.0, start + words * self.delay - loop.time()))
                elif words == 1 and "stall" in self.told:
                    await writer.drain()
                    await asyncio.sleep(float(self.told["stall"]))
                words += 1
            if transport.is_closing() or reader.at_eof():
                self.stub.disconnects += 1
                transport.abort()
                return False
            frame = f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
            pieces = [frame[n : n + 1] for n in range(len(frame))] if "crumbs" in self.told else [frame]
            writer.writelines(_chunked(piece) for piece in pieces)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _events(self) -> Iterator[Event]:
        counted = {} if "no-usage" in self.told else {"usage": {**self.usage, "output_tokens": 1}}
        yield _event("message_start", message=self._message([], None, counted))
        yield _event("ping")
        if "error-in-200" in self.told:
            yield _event("error", error={"type": "api_error", "message": "Internal server error"})
            return
        if "long-line" in self.told:
            huge = "x" * (int(self.told["long-line"]) * 1024 * 1024)
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": huge})
        if "unknown" in self.told:
            yield _event("aurora", colour="green", index=0)
        said = 0
        for index, block in enumerate(self.blocks):
            begin, deltas = split(block)
            yield _event("content_block_start", index=index, content_block=begin)
            if "unknown" in self.told:
                yield _event("content_block_delta", index=index, delta={"type": "aurora_delta", "colour": "green"})
            for delta in deltas:
                if said == int(self.told.get("fail", -1)):
                    kind = self.told.get("type", "overloaded_error")
                    yield _event("error", error={"type": kind, "message": self.told.get("message", "Overloaded")})
                    return
                said += 1
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        if "no-stop" in self.told:
            return
        ended = {"stop_reason": self.reason, "stop_sequence": None, "stop_details": self._details()}
        yield _event("message_delta", delta=ended, **self._counted())
        yield _event("message_stop")

    def _counted(self) -> dict[str, Any]:
        thought = sum(len(block.get("thinking", "").split()) for block in self.blocks)
        written = sum(len(words_of(block).split()) for block in self.blocks) + thought
        counts = {**self.usage, "output_tokens": written, "output_tokens_details": {"thinking_tokens": thought}}
        return {} if "no-usage" in self.told else {"usage": counts}

    def _details(self) -> dict[str, Any] | None:
        refused = {"type": "refusal", "category": "cyber", "explanation": "This is not answered here."}
        return refused if self.reason == "refusal" else None

    def _message(self, content: list[dict[str, Any]], reason: str | None, counted: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": "msg_stub",
            "type": "message",
            "role": "assistant",
            "model": self.body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "stop_details": self._details() if reason else None,
            **counted,
        }


def _event(name: str, **data: Any) -> Event:
    return name, {"type": name, **data}


def _told(text: str) -> Iterator[tuple[str, str]]:
    for item in text.split():
        name, _, value = item.partition("=")
        yield name, value.replace("_", " ") if name == "message" else value


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _fail(
    writer: asyncio.StreamWriter, status: int, message: str, kind: str | None = None, more: str = ""
) -> bool:
    error = {"type": kind or TYPES.get(status, "api_error"), "message": message}
    return await _send(writer, status, {"type": "error", "error": error, "request_id": "req_stub"}, more)


async def _send(
    writer: asyncio.StreamWriter, status: int, body: object, extra: str = "", kind: str = "application/json"
) -> bool:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} Told\r\nContent-Type: {kind}\r\nrequest-id: req_stub\r\n"
        f"Content-Length: {len(data)}\r\n{extra}\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()
    return True


async def _read(reader: asyncio.StreamReader, limit: int) -> Recorded | None:
    """The next request on a connection; None when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    if size > limit:
        while size > 0:
            size -= len(await reader.readexactly(min(size, 65_536)))
        return Recorded(method, path, headers, _TOO_LARGE)
    raw = await reader.readexactly(size)
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    return Recorded(method, path, headers, body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    told = parser.parse_args()

    async def run() -> None:
        async with AnthropicStub(tokens=told.tokens, delay=told.delay, host=told.host, port=told.port) as stub:
            print(stub.url, flush=True)
            await stub.serve_forever()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
