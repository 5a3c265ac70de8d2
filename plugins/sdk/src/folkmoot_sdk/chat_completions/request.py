"""From a `ChatRequest` to the JSON of the Chat Completions dialect.

What models and servers disagree on is `Quirks`. What only one of them wants goes into the body that
`chat_body` gives, before it is sent.
"""

from __future__ import annotations

import base64
from typing import Any, Literal, NamedTuple, cast

from folkmoot_sdk.chat import ChatRequest, ImagePart, Message, TextPart

_EFFORTS = ("none", "minimal", "low", "medium", "high")


class Quirks(NamedTuple):
    """What a model, or the server it runs on, takes and does not take."""

    length_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """OpenAI's reasoning models refuse the old name; most compatible servers know nothing else."""
    sampling: bool = True
    """Takes `temperature` and `top_p`; they are left out where it does not."""
    stream_usage: bool = True
    """Knows `stream_options`, by which a stream tells its counts."""
    parallel_tools: bool = True
    """Knows `parallel_tool_calls`."""
    efforts: tuple[str, ...] | None = None
    """The values of `reasoning_effort` it takes, of which the nearest is sent; empty: none; None: all."""
    tools_effort: str | None = None
    """Sent as `reasoning_effort` with tools, for models that take tools here only at this one."""
    response_format: bool = True
    """Knows `response_format` with a schema; without, the schema is left out."""
    images: bool = True
    """Takes pictures; they are left out where it does not."""


PLAIN = Quirks()
"""What most compatible servers take."""


def chat_body(request: ChatRequest, quirks: Quirks = PLAIN) -> dict[str, Any]:
    """The body of `POST /chat/completions`. `request.options` go in last, except that it always streams."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message, images=quirks.images) for message in request.messages],
    }
    if request.max_output_tokens is not None:
        body[quirks.length_limit] = request.max_output_tokens
    if quirks.sampling:
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["top_p"] = request.top_p
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    effort = _effort(request.reasoning_effort, quirks.efforts)
    if request.tools and quirks.tools_effort is not None:
        effort = quirks.tools_effort
    if effort is not None:
        body["reasoning_effort"] = effort
    if request.tools:
        _add_tools(body, request, quirks)
    shape = _response_format(request, quirks)
    if shape is not None:
        body["response_format"] = shape
    body.update(request.options)
    body["stream"] = True
    if quirks.stream_usage:
        body["stream_options"] = {"include_usage": True}
    else:
        body.pop("stream_options", None)
    return body


def is_strict(schema: object) -> bool:
    """Whether OpenAI would take a schema as strict: every object closed, every property required."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in cast("list[object]", schema))
    if not isinstance(schema, dict):
        return True
    fields = cast("dict[str, object]", schema)
    if "properties" in fields or fields.get("type") == "object":
        properties = cast("dict[str, object]", fields.get("properties") or {})
        required = cast("list[str]", fields.get("required") or [])
        if fields.get("additionalProperties") is not False or set(required) != set(properties):
            return False
        if not all(is_strict(item) for item in properties.values()):
            return False
    plain = ("enum", "const", "default", "properties", "examples")
    return all(is_strict(item) for key, item in fields.items() if key not in plain)


def _response_format(request: ChatRequest, quirks: Quirks) -> dict[str, Any] | None:
    if request.response_schema is not None and quirks.response_format:
        return {
            "type": "json_schema",
            "json_schema": {
                "name": request.response_schema_name,
                "schema": request.response_schema,
                "strict": is_strict(request.response_schema),
            },
        }
    return {"type": "json_object"} if request.json_object else None


def _add_tools(body: dict[str, Any], request: ChatRequest, quirks: Quirks) -> None:
    body["tools"] = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in request.tools
    ]
    choice = request.tool_choice
    if choice in ("auto", "none", "required"):
        body["tool_choice"] = choice
    elif choice is not None:
        body["tool_choice"] = {"type": "function", "function": {"name": choice}}
    if request.parallel_tools is not None and quirks.parallel_tools:
        body["parallel_tool_calls"] = request.parallel_tools


def _effort(asked: str | None, known: tuple[str, ...] | None) -> str | None:
    """The effort to ask for: as asked, or the next higher one that the model knows, or its highest."""
    if asked is None or known is None or asked in known:
        return asked
    ordered = [effort for effort in _EFFORTS if effort in known]
    higher = [effort for effort in ordered if _EFFORTS.index(effort) > _EFFORTS.index(asked)]
    return (higher[:1] or ordered[-1:] or [None])[0]


def _message(message: Message, *, images: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": _content(message, images=images)}
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


def _content(message: Message, *, images: bool) -> str | list[dict[str, Any]]:
    """Plain text wherever that is enough: many local servers take no list of parts."""
    if message.role != "user" or not images or not any(isinstance(part, ImagePart) for part in message.content):
        return message.text
    return [_part(part) for part in message.content if isinstance(part, ImagePart) or part.text]


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}}
