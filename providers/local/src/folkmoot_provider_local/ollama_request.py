"""From a `ChatRequest` to the JSON of Ollama's `POST /api/chat`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from folkmoot_sdk import ChatRequest, ImagePart, InvalidRequest, Message

STATE = "ollama_thinking"
"""The key of our `ProviderState`: another provider's state, of an earlier turn, has another shape."""

_SAMPLING = {
    "frequency_penalty": "frequency_penalty",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "repeat_penalty": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "top_k": "top_k",
    "typical_p": "typical_p",
}
"""Chat Completions' names (and those that local servers added) to Ollama's. No others go through: a caller who
could set `num_ctx` or `num_gpu` would make the server load the model anew, for everybody."""


def chat_body(request: ChatRequest, *, context_length: int, keep_alive: str) -> dict[str, Any]:
    """The body of `POST /api/chat`. Raises `InvalidRequest`.

    It never lets Ollama shorten a conversation: by default it drops the oldest turns, or the head of the
    prompt with the instructions in it, and says nothing.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request.messages),
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": _options(request, context_length),
    }
    tools = _tools(request)
    if tools:
        body["tools"] = tools
    if request.response_schema is not None:
        body["format"] = request.response_schema
    elif request.json_object:
        body["format"] = "json"
    if request.reasoning_effort is not None:
        body["think"] = _think(request.model, request.reasoning_effort)
    return body | kept_alive(keep_alive)


def kept_alive(keep_alive: str) -> dict[str, Any]:
    """How long the model stays loaded, as Ollama reads it: a duration, or seconds as a number."""
    text = keep_alive.strip()
    if not text:
        return {}
    try:
        return {"keep_alive": int(text)}
    except ValueError:
        return {"keep_alive": text}


def _options(request: ChatRequest, context_length: int) -> dict[str, Any]:
    known = {_SAMPLING[name]: value for name, value in request.options.items() if name in _SAMPLING}
    known |= {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "num_predict": request.max_output_tokens,
        "stop": list(request.stop) or None,
        "num_ctx": context_length or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    """The tools on offer. Ollama has no `tool_choice`: one tool by name is offered alone, which is the most
    that can be done; that it is called cannot be enforced."""
    choice = request.tool_choice
    if choice == "none":
        return []
    offered = request.tools
    if choice not in (None, "auto", "required"):
        offered = tuple(tool for tool in offered if tool.name == choice)
        if not offered:
            raise InvalidRequest(f"tool_choice names the tool {choice!r}, which is not among the request's tools")
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in offered
    ]


def _think(model: str, effort: str) -> bool | str:
    """gpt-oss takes a level and cannot be silenced; all others take yes or no and refuse a level."""
    if "gpt-oss" in model.lower():
        return {"medium": "medium", "high": "high"}.get(effort, "low")
    return effort != "none"


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    out: list[dict[str, Any]] = []
    for message in messages:
        body: dict[str, Any] = {"role": message.role, "content": message.text}
        images = [base64.b64encode(p.data).decode("ascii") for p in message.content if isinstance(p, ImagePart)]
        if images:
            body["images"] = images
        if message.tool_calls:
            body["tool_calls"] = [
                {
                    "id": call.id,
                    "function": {"index": place, "name": call.name, "arguments": _arguments(call.arguments)},
                }
                for place, call in enumerate(message.tool_calls)
            ]
            names.update((call.id, call.name) for call in message.tool_calls)
        thinking = _thinking(message.provider_state)
        if thinking:
            body["thinking"] = thinking
        if message.role == "tool" and message.tool_call_id is not None:
            # Older releases go by the name, newer ones by the id.
            body["tool_call_id"] = message.tool_call_id
            body["tool_name"] = names.get(message.tool_call_id, "")
        out.append(body)
    return out


def _arguments(text: str) -> dict[str, Any]:
    """An object, as Ollama wants it, from the JSON that some model once wrote."""
    try:
        value = msgspec.json.decode(text.encode() or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        value = None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"arguments": text}


def _thinking(state: object) -> str:
    value = cast("dict[str, Any]", state).get(STATE) if isinstance(state, dict) else None
    return value if isinstance(value, str) else ""
