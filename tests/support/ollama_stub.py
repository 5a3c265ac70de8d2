"""A local service that speaks Ollama's own API, for tests: a real server, no model.

    async with OllamaStub() as stub:
        ...  # stub.url is a base_url, stub.requests what was asked

It refuses what Ollama refuses, in its words (as its `server/routes.go` had them in 2026), and answers with the
words of the last user message, unless that message holds a directive:

    [[tokens=200 delay=0.01]]   so many words, one every 10 ms
    [[wait=1]]                  a second of silence before the first byte, as while a model is loaded
    [[status=503 message=busy]] fail with this status
    [[cut=5]]                   break the line after five words
    [[end=5]]                   end the body after five words, politely, without the line that says `done`
    [[halves]]                  send every byte of the answer by itself
    [[flood=100]]               a line of so many megabytes that never ends
    [[tool=name]]               ask for that tool, with {"question": ...}
    [[html]] [[error-in-200]] [[no-usage]] [[usage-twice]] [[unknown-fields]] [[junk]]
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.support.openai_stub import embed

_DIRECTIVE = re.compile(r"\[\[([^\[\]]+)\]\]")
_WORD = re.compile(r"\S+\s*")
_BODY_LIMIT = 64 * 1024 * 1024


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


class LocalServer:
    """A little HTTP/1.1 server on loopback that a stub builds on; start it with `async with`."""

    def __init__(self, *, api_key: str | None = None) -> None:
        self.api_key = api_key
        """Refuse every other key."""
        self.port = 0
        self.requests: list[Asked] = []
        self.connections = 0
        self.disconnects = 0
        """How many clients left in the middle of an answer."""
        self._server: asyncio.Server | None = None
        self._talking: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._talking):
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    async def respond(self, asked: Asked, answer: Answer) -> bool:
        """Answer one request; False if the connection is to end."""
        raise NotImplementedError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talking.add(task)
        self.connections += 1
        try:
            while (asked := await _read(reader)) is not None:
                self.requests.append(asked)
                answer = Answer(reader, writer)
                if self.api_key is not None and asked.headers.get("authorization") != f"Bearer {self.api_key}":
                    await answer.send(401, {"error": "unauthorized"})
                elif not await self.respond(asked, answer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            self.disconnects += 1
        except asyncio.CancelledError:
            pass  # the stub stops; asyncio.streams would print a traceback for each connection
        finally:
            if task is not None:
                self._talking.discard(task)
            writer.close()


class Answer:
    """Writes one response."""

    _REASONS: ClassVar = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Payload Too Large"}

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, status: int, body: object, headers: Sequence[str] = (), kind: str = "application/json"):
        """All at once; `body` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        lines = [f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers]
        head = f"HTTP/1.1 {status} {self._REASONS.get(status, 'Told')}\r\n" + "".join(f"{one}\r\n" for one in lines)
        self._writer.write(head.encode() + b"\r\n" + data)
        await self._writer.drain()
        return True

    async def begin(self, kind: str) -> None:
        """A body in chunks."""
        self._writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode("latin-1")
        )

    async def write(self, data: bytes) -> None:
        """One chunk; raises `ConnectionError` if the client has left."""
        if self._writer.transport.is_closing() or self._reader.at_eof():
            self._writer.transport.abort()
            raise ConnectionResetError("the client left")
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> bool:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return True

    def abort(self) -> bool:
        self._writer.transport.abort()
        return False


@dataclass
class Pulled:
    """A model that is there."""

    capabilities: tuple[str, ...] | None = ("completion",)
    """None: as releases before there were capabilities, which say nothing."""
    context_length: int = 8192
    architecture: str = "llama"
    dimensions: int = 64
    parameters: str = ""
    template: str = "{{ .Prompt }}"
    remote_host: str = ""
    loaded_with: int | None = None
    """The context that it is loaded with just now."""
    show_fails: bool = False
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


def pulled() -> dict[str, Pulled]:
    return {
        "llama3.2:latest": Pulled(("completion", "tools")),
        "qwen3:8b": Pulled(("completion", "tools", "thinking"), 40960, "qwen3"),
        "llava:7b": Pulled(("completion", "vision"), 4096),
        "nomic-embed-text:latest": Pulled(("embedding",), 2048, "nomic-bert", 64),
    }


class OllamaStub(LocalServer):
    """The server; what it has stands in `models`."""

    def __init__(self, models: dict[str, Pulled] | None = None, *, api_key: str | None = None) -> None:
        super().__init__(api_key=api_key)
        self.models = pulled() if models is None else models

    async def respond(self, asked: Asked, answer: Answer) -> bool:
        body = asked.body if isinstance(asked.body, dict) else {}
        match asked.method, asked.path.partition("?")[0]:
            case "GET", "/":
                return await answer.send(200, b"Ollama is running", kind="text/plain; charset=utf-8")
            case "GET", "/api/version":
                return await answer.send(200, {"version": "0.0.0-stub"})
            case "GET", "/api/tags":
                return await answer.send(200, {"models": [self._listed(name) for name in self.models]})
            case "GET", "/api/ps":
                loaded = {name: model for name, model in self.models.items() if model.loaded_with}
                return await answer.send(
                    200,
                    {"models": [{"name": n, "model": n, "context_length": m.loaded_with} for n, m in loaded.items()]},
                )
            case "GET", "/v1/models":
                data = [{"id": name, "object": "model", "owned_by": "library"} for name in self.models]
                return await answer.send(200, {"object": "list", "data": data})
            case "POST", "/api/show":
                return await self._show(self._find(body), body, answer)
            case "POST", "/api/chat":
                return await self._chat(self._find(body), body, answer)
            case "POST", "/api/embed":
                return await self._embed(self._find(body), body, answer)
        return await answer.send(404, b"404 page not found", kind="text/plain")

    def _find(self, body: dict[str, Any]) -> Pulled | None:
        name = str(body.get("model") or "")
        return self.models.get(name) or self.models.get(f"{name}:latest")

    def _listed(self, name: str) -> dict[str, Any]:
        model = self.models[name]
        details = {"format": "gguf", "family": model.architecture, "parameter_size": "3.2B", "quantization_level": "Q4"}
        listed: dict[str, Any] = {"name": name, "model": name, "size": 1, "digest": "0", "details": details}
        return listed | ({"remote_host": model.remote_host, "remote_model": name} if model.remote_host else {})

    async def _show(self, model: Pulled | None, body: dict[str, Any], answer: Answer) -> bool:
        if model is None:
            return await answer.send(404, {"error": f"model '{body.get('model')}' not found"})
        if model.show_fails:
            return await answer.send(500, {"error": "open blobs: no such file or directory"})
        info = {
            "general.architecture": model.architecture,
            f"{model.architecture}.context_length": model.context_length,
            f"{model.architecture}.embedding_length": model.dimensions,
        }
        shown: dict[str, Any] = {
            "license": "…" * 1000,
            "parameters": model.parameters,
            "template": model.template,
            "model_info": info,
            **model.extra,
        }
        if model.capabilities is not None:
            shown["capabilities"] = list(model.capabilities)
        if model.remote_host:
            shown["remote_host"] = model.remote_host
        return await answer.send(200, shown)

    async def _chat(self, model: Pulled | None, body: dict[str, Any], answer: Answer) -> bool:
        name = body.get("model")
        if model is None:
            return await answer.send(404, {"error": f"model '{name}' not found"})
        can = model.capabilities or ("completion",)
        if body.get("think") and "thinking" not in can:
            return await answer.send(400, {"error": f'"{name}" does not support thinking'})
        if "completion" not in can:
            return await answer.send(400, {"error": f'"{name}" does not support chat'})
        if body.get("tools") and "tools" not in can:
            return await answer.send(400, {"error": f"registry.ollama.ai/library/{name} does not support tools"})
        messages = body.get("messages") or []
        given = sum(len(str(message.get("content", "")).split()) for message in messages)
        room = int((body.get("options") or {}).get("num_ctx") or 4096)
        if given > room and body.get("truncate") is False:
            message = f"request ({given} tokens) exceeds the available context size ({room} tokens), try increasing it"
            inner = {"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}}
            return await answer.send(400, {"error": json.dumps(inner)})
        return await _Said(self, body, can, given).send(answer)

    async def _embed(self, model: Pulled | None, body: dict[str, Any], answer: Answer) -> bool:
        if model is None:
            return await answer.send(404, {"error": f'model "{body.get("model")}" not found, try pulling it first'})
        texts = [body["input"]] if isinstance(body.get("input"), str) else list(body.get("input") or [])
        if body.get("truncate") is False and any(len(text.split()) > model.context_length for text in texts):
            return await answer.send(400, {"error": "the input length exceeds the context length"})
        counted = sum(len(text.split()) for text in texts)
        size = int(body.get("dimensions") or model.dimensions)
        vectors = [embed(text, size) for text in texts]
        sent = {"model": body["model"], "embeddings": vectors, "total_duration": 1, "prompt_eval_count": counted}
        return await answer.send(200, sent)


class _Said:
    """One answer: what to say, and how to fail on the way."""

    def __init__(self, stub: OllamaStub, body: dict[str, Any], can: tuple[str, ...], given: int) -> None:
        self.stub = stub
        self.body = body
        self.given = given
        self.thinks = "thinking" in can and body.get("think") is not False
        asked = [m for m in body.get("messages") or [] if m.get("role") == "user"]
        question = str(asked[-1].get("content", "")) if asked else ""
        self.told: dict[str, str] = {}
        for found in _DIRECTIVE.finditer(question):
            for item in found.group(1).split():
                told, _, value = item.partition("=")
                self.told[told] = value
        count = self.told.get("tokens")
        text = " ".join(f"word{n}" for n in range(int(count))) if count else _DIRECTIVE.sub("", question).strip()
        self.words = _WORD.findall(text or "Hello.")

    async def send(self, answer: Answer) -> bool:
        told = self.told
        await asyncio.sleep(float(told.get("wait", 0)))
        if "status" in told:
            return await answer.send(int(told["status"]), {"error": told.get("message", "told to fail")})
        if "html" in told:
            return await answer.send(200, b"<!doctype html><title>Sign in</title>", kind="text/html")
        if not self.body.get("stream", True):
            return await answer.send(200, self._line({"content": "".join(self.words)}, done=True))
        await answer.begin("application/x-ndjson")
        if "flood" in told:
            await answer.write(b'{"message":{"content":"')
            for _ in range(int(told["flood"])):
                await answer.write(b"x" * 1024 * 1024)
            return await answer.end()
        if "error-in-200" in told:
            await answer.write(b'{"error":"llama runner process has terminated: exit status 2","status":500}\n')
            return await answer.end()
        return await self._stream(answer)

    async def _stream(self, answer: Answer) -> bool:
        told = self.told
        if self.thinks:
            await self._write(answer, self._line({"content": "", "thinking": "Let me see. "}))
        for place, word in enumerate(self.words):
            if str(place) == told.get("cut"):
                return answer.abort()
            if str(place) == told.get("end"):
                return await answer.end()
            await self._write(answer, self._line({"content": word}))
            await asyncio.sleep(float(told.get("delay", 0)))
        if "tool" in told:
            call = {"function": {"index": 0, "name": told["tool"], "arguments": {"question": "".join(self.words)}}}
            await self._write(answer, self._line({"content": "", "tool_calls": [{"id": "call_stub", **call}]}))
        if "junk" in told:
            await answer.write(b'{"message": nonsense}\n')
        await self._write(answer, self._line({"content": ""}, done=True))
        if "usage-twice" in told:
            await self._write(answer, self._line({"content": ""}, done=True))
        return await answer.end()

    async def _write(self, answer: Answer, line: dict[str, Any]) -> None:
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        for piece in [data[n : n + 1] for n in range(len(data))] if "halves" in self.told else [data]:
            await answer.write(piece)

    def _line(self, message: dict[str, Any], done: bool = False) -> dict[str, Any]:
        line: dict[str, Any] = {
            "model": self.body["model"],
            "created_at": "2026-11-01T08:00:00Z",
            "message": {"role": "assistant", **message},
            "done": done,
        }
        if "unknown-fields" in self.told:
            line |= {"mood": {"sunny": True}, "logprobs": None}
            line["message"]["images"] = None
        if done:
            line["done_reason"] = "stop"
            if "no-usage" not in self.told:
                line |= {"total_duration": 5, "prompt_eval_count": self.given, "eval_count": len(self.words)}
        return line


async def _read(reader: asyncio.StreamReader) -> Asked | None:
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
    return Asked(method, path, headers, body)
