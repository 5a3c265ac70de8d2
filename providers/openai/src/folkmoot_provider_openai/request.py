"""From a `ChatRequest` to the JSON of the Chat Completions dialect."""

from __future__ import annotations

import base64
from typing import Any, cast

from folkmoot_sdk import ChatRequest, ImagePart, Message, TextPart

from folkmoot_provider_openai import catalogue


def chat_body(request: ChatRequest, *, is_openai: bool, stream_usage: bool) -> dict[str, Any]:
    """The body of `POST /chat/completions`. `request.options` go in last, except that it always streams."""
    known = catalogue.chat(request.model)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
    }
    if request.max_output_tokens is not None:
        # OpenAI's reasoning models refuse max_tokens; most compatible servers know nothing else.
        new = is_openai or known.fixed_sampling
        body["max_completion_tokens" if new else "max_tokens"] = request.max_output_tokens
    if not known.fixed_sampling:
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["top_p"] = request.top_p
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
    if request.response_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "schema": request.response_schema,
                "strict": _is_strict(request.response_schema),
            },
        }
    body.update(request.options)
    body["stream"] = True
    if stream_usage:
        body["stream_options"] = {"include_usage": True}
    return body


def _message(message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        out["content"] = out["content"] or None
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    return out


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Plain text wherever that is enough: many local servers take no list of parts."""
    if message.role != "user" or not any(isinstance(part, ImagePart) for part in message.content):
        return message.text
    return [_part(part) for part in message.content]


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}}


def _is_strict(schema: object) -> bool:
    """Whether OpenAI would take a schema as strict: every object closed, every property required."""
    if isinstance(schema, list):
        return all(_is_strict(item) for item in cast("list[object]", schema))
    if not isinstance(schema, dict):
        return True
    fields = cast("dict[str, object]", schema)
    if "properties" in fields or fields.get("type") == "object":
        properties = cast("dict[str, object]", fields.get("properties") or {})
        required = cast("list[str]", fields.get("required") or [])
        if fields.get("additionalProperties") is not False or set(required) != set(properties):
            return False
        return all(_is_strict(item) for item in properties.values())
    return all(_is_strict(item) for key, item in fields.items() if key not in ("enum", "const", "default"))
