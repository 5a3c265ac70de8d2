"""The stub of OpenAI's dialect with what `/v1` needs more of it: tools, thoughts and speech.

a message of a tool         it says what the tool said
tools                       it calls the first one (or the one that is chosen), unless the question is [[no-tool]]
[[think]]                   it thinks aloud before it speaks
a response_format           it answers in JSON
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from tests.support import openai_stub
from tests.support.openai_stub import OpenAIStub, Recorded

SPOKEN = {
    "text": "A fence may be high.",
    "language": "english",
    "duration": 4.5,
    "segments": [
        {"id": 0, "start": 0.0, "end": 2.0, "text": " A fence"},
        {"id": 1, "start": 2.0, "end": 4.5, "text": " may be high."},
    ],
}


@dataclass
class Upstream(OpenAIStub):
    models: tuple[str, ...] = ("stub-chat", "stub-embed", "whisper-1")
    spoken: dict[str, Any] = field(default_factory=lambda: dict(SPOKEN))

    async def _respond(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if request.path.partition("?")[0] == "/v1/audio/transcriptions":
            return await openai_stub._send(writer, 200, self.spoken)
        body = request.body if isinstance(request.body, dict) else {}
        if request.path.startswith("/v1/chat/completions") and (deltas := _deltas(body)):
            return await _stream(writer, body, deltas)
        return await super()._respond(request, reader, writer)

    @property
    def asked(self) -> dict[str, Any]:
        """The body of the last question."""
        return self.requests[-1].body


def _deltas(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What it says instead of what the stub would; empty: nothing."""
    messages = body.get("messages") or [{}]
    question = openai_stub._text(messages[-1].get("content"))
    if messages[-1].get("role") == "tool":
        return [{"content": f"The tool says {question}"}, {"finish": "stop"}]
    if "[[think]]" in question:
        return [{"reasoning_content": "Hm. "}, {"reasoning_content": "Yes."}, {"content": "So."}, {"finish": "stop"}]
    if body.get("response_format"):
        return [{"content": json.dumps({"metres": 1.2})}, {"finish": "stop"}]
    if body.get("tools") and "[[no-tool]]" not in question and body.get("tool_choice") != "none":
        chosen = body.get("tool_choice")
        name = chosen["function"]["name"] if isinstance(chosen, dict) else body["tools"][0]["function"]["name"]
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        more = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in ('{"street":', '"High"}')]
        return [{"tool_calls": [call]}, *more, {"finish": "tool_calls"}]
    return []


async def _stream(writer: asyncio.StreamWriter, body: dict[str, Any], deltas: list[dict[str, Any]]) -> bool:
    head = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
    parts = [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"]
    for delta in deltas:
        reason = delta.pop("finish", None)
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        parts.append(openai_stub._chunked(b"data: " + json.dumps(head | {"choices": [choice]}).encode() + b"\n\n"))
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    parts.append(
        openai_stub._chunked(b"data: " + json.dumps(head | {"choices": [], "usage": usage}).encode() + b"\n\n")
    )
    parts.append(openai_stub._chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    writer.write(b"".join(parts))
    await writer.drain()
    return True
