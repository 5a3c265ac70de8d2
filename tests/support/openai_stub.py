"""A local service that speaks OpenAI's dialect, for tests and benchmarks: a real server, no model.

    async with OpenAIStub() as stub:
        ...  # stub.url is a base_url, stub.requests what was asked

or `python -m tests.support.openai_stub --port 0`, which prints its URL. It answers with the words of the
last user message, unless that message holds a directive:

    [[tokens=200 delay=0.01]]   so many words, one every 10 ms by the clock, the first at once
    [[status=429 retry_after=1]]  fail with this status; code=… and message=… word the error
    [[wait=1]]                  a second of silence before the first byte
    [[stall=5]]                 five seconds of silence after the first word
    [[cut=5]]                   break the line after five words
    [[html]] [[error-in-200]] [[no-usage]] [[no-done]]
    [[status=401 repeat-key]]   the error repeats the key that was sent, as some services do
    [[cite]]                    a sentence of the prompt's first passage, and " [1]"
    [[call add {"a": 1}]]       ask for this tool first, with whatever stands there as arguments; several: all at once
    [[call@2 add {"a": 1}]]     the same in the second round, after the results of the first
    [[loop add {"a": 1}]]       in every round; with [[stubborn]] also where it may not
    [[saying=Wait]]             say so before it asks for tools
    [[results]]                 once there are some, the words of the tools' results
    [[empty]] [[blank]] [[thinks]] [[garbage]]  nothing; white space; reasoning and no text; bytes that are no answer
    [[finish=length]]           why it ends

What a test cannot say so is done by `act`, which gets the request and gives the deltas to send.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

DIMENSIONS = 64
ASIDE = "You do one small task for a chat service."
"""How the system message of a small task begins."""
_DIRECTIVE = re.compile(r"\[\[([^\[\]]+)\]\]")
_CALL = re.compile(r"\[\[(call|loop)(?:@(\d+))? (\S+) ?(.*?)\]\](?!\])", re.DOTALL)
_WORD = re.compile(r"\S+\s*")
_PASSAGE = re.compile(r'^[^\S\n]*(?:#+[^\S\n]*)?\[1\]|\b(?:n|id|number)="?1"?[^>\n]*>', re.MULTILINE)
_SENTENCE = re.compile(r"[^\n.!?]{12,}?(?:[^\n]*?[.!?])(?=\s|$|<)")
_BODY_LIMIT = 64 * 1024 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass
class Recorded:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


@dataclass
class OpenAIStub:
    """The server; start it with `async with`."""

    answer: str | None = None
    """What it says; the question, if None."""
    tokens: int | None = None
    """So many words of filling, unless a directive says otherwise."""
    delay: float = 0.0
    """Seconds from one word to the next."""
    api_key: str | None = None
    """Refuse every other key."""
    models: tuple[str, ...] = ("stub-chat", "stub-embed")
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Recorded] = field(default_factory=list["Recorded"])
    asides: list[Recorded] = field(default_factory=list["Recorded"])
    """Small tasks beside the answers (titles and the like); they are not among `requests`."""
    aside: str = ""
    """What it says to those; the first words of what it is given, if empty."""
    act: Callable[[dict[str, Any]], list[dict[str, Any]] | None] | None = None
    """What an answer consists of, as deltas; one with `finish` says why it ends. None: as usual."""
    connections: int = 0
    disconnects: int = 0
    """How many clients left in the middle of an answer."""
    streaming: int = 0
    """How many answers are on their way now."""
    _server: asyncio.Server | None = None
    _talking: set[asyncio.Task[Any]] = field(default_factory=set["asyncio.Task[Any]"])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def __aenter__(self) -> OpenAIStub:
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
            while (request := await _read(reader)) is not None:
                (self.asides if _is_aside(request) else self.requests).append(request)
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
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return await _send(writer, 401, _error("Incorrect API key provided", "invalid_api_key"))
        route = (request.method, request.path.partition("?")[0])
        if route == ("GET", "/v1/models"):
            listed = [{"id": name, "object": "model", "owned_by": "stub"} for name in self.models]
            return await _send(writer, 200, {"object": "list", "data": listed})
        if route not in (("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings")):
            return await _send(writer, 404, _error(f"Invalid URL ({' '.join(route)})", "unknown_url"))
        body = request.body
        if not isinstance(body, dict) or body.get("model") not in self.models:
            model = body.get("model") if isinstance(body, dict) else None
            return await _send(writer, 404, _error(f"The model {model!r} does not exist", "model_not_found"))
        if route[1] == "/v1/embeddings":
            return await _send(writer, 200, _embeddings(body))
        return await _Answer(self, body, request.headers.get("authorization", "").removeprefix("Bearer ")).send(
            reader, writer
        )


def _is_aside(request: Recorded) -> bool:
    return isinstance(request.body, dict) and _is_aside_body(request.body)


def _is_aside_body(body: dict[str, Any]) -> bool:
    messages = body.get("messages") or [{}]
    return isinstance(messages[0], dict) and _text(messages[0].get("content")).startswith(ASIDE)


class _Answer:
    """One answer: what to say, how fast, and how to fail on the way."""

    def __init__(self, stub: OpenAIStub, body: dict[str, Any], key: str) -> None:
        self.stub = stub
        self.key = key
        self.body = body
        self.prompt = [_text(message.get("content")) for message in body.get("messages") or []]
        turns = [m for m in body.get("messages") or [] if m.get("role") == "user"]
        question = _text(turns[-1].get("content")) if turns else ""
        aside = _is_aside_body(body)
        self.told = {} if aside else _directives(_CALL.sub("", question))
        self.delay = float(self.told.get("delay", stub.delay))
        self.deltas = None if aside or stub.act is None else stub.act(body)
        self.calls = [] if aside else self._calls(question)
        said = self._say(_DIRECTIVE.sub("", _CALL.sub("", question)).strip())
        self.words = _WORD.findall(said) if said.strip() else [said] if said else []

    def _calls(self, question: str) -> list[tuple[str, str]]:
        """(name, arguments) of the tools to ask for in this round."""
        if self.body.get("tool_choice") == "none" and "stubborn" not in self.told:
            return []
        messages = self.body.get("messages") or []
        newest = max((place for place, turn in enumerate(messages) if turn.get("role") == "user"), default=0)
        number = 1 + sum(1 for turn in messages[newest:] if turn.get("tool_calls"))
        return [
            (name, arguments)
            for kind, wanted, name, arguments in _CALL.findall(question)
            if kind == "loop" or int(wanted or 1) == number
        ]

    def _say(self, question: str) -> str:
        count = self.told.get("tokens", self.stub.tokens)
        if _is_aside_body(self.body):
            return self.stub.aside or " ".join(question.split()[:6])
        if "empty" in self.told or "thinks" in self.told:
            return ""
        if "blank" in self.told:
            return " \n\t "
        if self.calls:
            return self.told.get("saying", "")
        if "results" in self.told:
            turns = self.body.get("messages") or []
            return " ".join(_text(turn.get("content")) for turn in turns if turn.get("role") == "tool")
        if "cite" in self.told:
            return cite(self.prompt)
        if count is not None:
            return " ".join(f"word{number}" for number in range(int(count)))
        return self.stub.answer if self.stub.answer is not None else question or "Hello."

    async def send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        told = self.told
        if "wait" in told:
            await asyncio.sleep(float(told["wait"]))
        if "status" in told:
            extra = f"Retry-After: {told['retry_after']}\r\n" if "retry_after" in told else ""
            said = told.get("message", "told to fail")
            if "repeat-key" in told:
                said = f"You sent {self.key}, and it is wrong"
            error = _error(said, told.get("code", "stub_failure"))
            return await _send(writer, int(told["status"]), error, extra)
        if "html" in told:
            return await _send(writer, 200, b"<!doctype html><title>Sign in</title>", kind="text/html")
        if "garbage" in told:
            return await _send(writer, 200, bytes(range(256)) * 40, kind="text/event-stream")
        if not self.body.get("stream"):
            return await _send(writer, 200, self._whole())
        return await self._stream(reader, writer)

    def _whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.words)}
        return {
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "created": 0,
            "model": self.body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": self._usage(),
        }

    def _usage(self) -> dict[str, int]:
        given = sum(len(text.split()) for text in self.prompt)
        return {
            "prompt_tokens": given,
            "completion_tokens": len(self.words),
            "total_tokens": given + len(self.words),
        }

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.stub.streaming += 1
        try:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                + self._chunk(delta={"role": "assistant", "content": ""})
            )
            if "error-in-200" in self.told:
                error = _error("The server had an error while processing your request", "server_error")
                writer.write(_chunked(b"data: " + json.dumps(error).encode() + b"\n\n") + b"0\r\n\r\n")
                return True
            whole = await self._words(reader, writer)
            if not whole:
                return False
            writer.write(self._tail())
            await writer.drain()
            return True
        finally:
            self.stub.streaming -= 1

    async def _words(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Write each word at its time; False if the line broke, from either side."""
        frames = self._frames()
        loop = asyncio.get_running_loop()
        start = loop.time()
        cut = int(self.told["cut"]) if "cut" in self.told else -1
        transport = writer.transport
        for place, frame in enumerate(frames):
            if place == cut:
                transport.abort()
                return False
            if place and self.delay:
                # By the clock, not one sleep after another: else the reference drifts under load.
                await asyncio.sleep(max(0.0, start + place * self.delay - loop.time()))
            elif place == 1 and "stall" in self.told:
                await asyncio.sleep(float(self.told["stall"]))
            elif place % 64 == 63:
                await writer.drain()
            if transport.is_closing() or reader.at_eof():
                self.stub.disconnects += 1
                transport.abort()
                return False
            transport.write(frame)
        return True

    def _frames(self) -> list[bytes]:
        if self.deltas is not None:
            return [self._chunk(delta=delta) for delta in self.deltas if "finish" not in delta]
        head = self._data(delta={"content": "\0"}).split(b'"\\u0000"')
        thoughts = [self._chunk(delta={"reasoning_content": "Hmm. "})] if "thinks" in self.told else []
        words = [_chunked(head[0] + json.dumps(word).encode() + head[1]) for word in self.words]
        asked = [frame for place, call in enumerate(self.calls) for frame in self._asking(place, *call)]
        return [*thoughts, *words, *asked]

    def _asking(self, place: int, name: str, arguments: str) -> list[bytes]:
        """A call in two pieces, as services send them."""
        half = len(arguments) // 2
        begun = {"index": place, "id": f"call_{place}", "type": "function"}
        first = {**begun, "function": {"name": name, "arguments": arguments[:half]}}
        second = {"index": place, "function": {"arguments": arguments[half:]}}
        return [self._chunk(delta={"tool_calls": [part]}) for part in (first, second)]

    def _tail(self) -> bytes:
        reason = self.told.get("finish", "tool_calls" if self.calls else "stop")
        for delta in self.deltas or []:
            reason = delta.get("finish", reason)
        tail = self._chunk(delta={}, finish_reason=reason)
        wants_usage = (self.body.get("stream_options") or {}).get("include_usage")
        if wants_usage and "no-usage" not in self.told:
            tail += _chunked(self._data(usage=self._usage()))
        if "no-done" not in self.told:
            tail += _chunked(b"data: [DONE]\n\n")
        return tail + b"0\r\n\r\n"

    def _chunk(self, **choice: Any) -> bytes:
        return _chunked(self._data(**choice))

    def _data(self, usage: dict[str, int] | None = None, **choice: Any) -> bytes:
        chunk = {
            "id": "chatcmpl-stub",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.body["model"],
            "choices": [{"index": 0, "finish_reason": None, **choice}] if choice else [],
            "usage": usage,
        }
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def cite(prompt: list[str]) -> str:
    """The first sentence of the passage that the prompt numbers 1, and its marker."""
    for text in reversed(prompt):
        for found in _PASSAGE.finditer(text):
            rest = text[found.end() :]
            sentence = _SENTENCE.search(rest.partition("\n")[2]) or _SENTENCE.search(rest)
            if sentence is not None:
                return f"{sentence.group().strip()} [1]"
    return "The prompt has no passages."


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A bag of hashed words, of length 1: texts that share words are near each other."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        for part, weight in ((word, 1.0), (word[:5], 0.5)):
            hashed = zlib.crc32(part.encode())
            vector[hashed % dimensions] += weight if hashed & 0x10000 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else [1.0] + [0.0] * (dimensions - 1)


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("input") or []
    texts = [given] if isinstance(given, str) else [str(text) for text in given]
    size = int(body.get("dimensions") or DIMENSIONS)
    data = [{"object": "embedding", "index": place, "embedding": embed(text, size)} for place, text in enumerate(texts)]
    count = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def _directives(text: str) -> dict[str, str]:
    told: dict[str, str] = {}
    for found in _DIRECTIVE.finditer(text):
        for item in found.group(1).split():
            name, _, value = item.partition("=")
            told[name] = value
    return told


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "stub_error", "param": None, "code": code}}


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _send(
    writer: asyncio.StreamWriter, status: int, body: object, extra: str = "", kind: str = "application/json"
) -> bool:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Told')}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(data)}\r\n{extra}\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()
    return True


async def _read(reader: asyncio.StreamReader) -> Recorded | None:
    """The next request on a connection; None when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    if size > _BODY_LIMIT:
        raise ValueError("a body of that size is no question")
    raw = await reader.readexactly(size)
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    return Recorded(method, path, headers, body)


@contextmanager
def stub_process(**options: str) -> Iterator[str]:
    """The stub as a process of its own, by the options of its command line; gives its URL."""
    told = [part for name, value in options.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "tests.support.openai_stub", *told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--key")
    parser.add_argument("--models", default="stub-chat,stub-embed")
    told = parser.parse_args()

    async def run() -> None:
        async with OpenAIStub(
            tokens=told.tokens,
            delay=told.delay,
            api_key=told.key,
            models=tuple(told.models.split(",")),
            host=told.host,
            port=told.port,
        ) as stub:
            print(stub.url, flush=True)
            await stub.serve_forever()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
