"""What the Messages API refuses, and how it cuts an answer into events: the stub's knowledge of the service."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

VERSIONS = ("2023-06-01", "2026-10-21")
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""What the `error.type` of a status is."""

_WORD = re.compile(r"\S+\s*")
_SENTENCE = re.compile(r"[^.!?]*[.!?]?")


def sign(thought: str) -> str:
    """What a thought is signed with: it comes back unchanged, or is refused."""
    return "stub:" + hashlib.sha256(thought.encode()).hexdigest()[:24]


def sample(schema: dict[str, Any], text: str) -> Any:
    """Something that a schema allows, with `text` for every string."""
    if "enum" in schema or "const" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    if schema.get("anyOf"):
        return sample(schema["anyOf"][0], text)
    match schema.get("type"):
        case "object":
            return {name: sample(each, text) for name, each in (schema.get("properties") or {}).items()}
        case "array":
            return [sample(schema.get("items") or {"type": "string"}, text)]
        case "integer" | "number":
            return len(text)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text


def complaint(body: Any, version: str) -> str | None:
    """What the service would not take of a request."""
    if not isinstance(body, dict):
        return "The request body is not valid JSON"
    for name in ("max_tokens", "messages"):
        if not body.get(name):
            return f"{name}: Field required"
    for name in ("temperature", "top_p", "top_k"):
        if name in body and version >= "2026-10-21":
            return f"{name}: Extra inputs are not permitted"
    blocks = list(in_order(body))
    marked = sum("cache_control" in block for block in blocks)
    if marked > 4:
        return f"A maximum of 4 blocks with cache_control may be provided. Found {marked}."
    if any(block.get("type") == "text" and not block["text"].strip() for block in blocks):
        return "messages: text content blocks must contain non-whitespace text"
    if any(b.get("type") == "thinking" and b.get("signature") != sign(b["thinking"]) for b in blocks):
        return "messages.1.content.0: Invalid `signature` in `thinking` block"
    cited = any((block.get("citations") or {}).get("enabled") for block in blocks if block["type"] == "search_result")
    if cited and (body.get("output_config") or {}).get("format"):
        return "output_config.format: citations cannot be used with structured outputs"
    return _turns_complaint(body)


def _turns_complaint(body: dict[str, Any]) -> str | None:
    waiting: set[str] = set()
    for place, message in enumerate(body["messages"]):
        if place == 0 and message["role"] != "user":
            return 'messages: first message must use the "user" role'
        answers = {b["tool_use_id"] for b in said_in(message) if b.get("type") == "tool_result"}
        if answers != waiting:
            return f"messages.{place}: each `tool_use` must have a `tool_result` immediately after, and none other"
        waiting = {b["id"] for b in said_in(message) if b.get("type") == "tool_use"}
    if any(b.get("type") == "tool_use" for m in body["messages"] for b in said_in(m)) and not body.get("tools"):
        return "Requests which include `tool_use` or `tool_result` blocks must define tools"
    thinking, choice = body.get("thinking") or {}, body.get("tool_choice") or {}
    if thinking.get("type") == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    if thinking.get("type") in ("enabled", "adaptive") and choice.get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def in_order(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All blocks as the model reads them: tools, system, turns."""
    for tool in body.get("tools") or []:
        yield {"type": "tool", **tool}
    yield from said_in({"content": body.get("system")})
    for message in body.get("messages") or []:
        for block in said_in(message):
            yield block if message["role"] == "user" else {**block, "role": message["role"]}


def said_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def words_of(value: Any) -> str:
    if isinstance(value, dict):
        texts = (value.get(name) for name in ("name", "description", "title", "text", "input", "content"))
        return " ".join(filter(None, map(words_of, texts)))
    if isinstance(value, list):
        return "\n".join(map(words_of, value))
    return value if isinstance(value, str) else ""


def citations(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A citation of the first sentence of each search result that may be cited."""
    results = [block for block in in_order(body) if block.get("type") == "search_result"]
    return [
        {
            "type": "search_result_location",
            "cited_text": (_SENTENCE.match(block["content"][0]["text"]) or [""])[0],
            "source": block["source"],
            "title": block["title"],
            "search_result_index": index,
            "start_block_index": 0,
            "end_block_index": 1,
        }
        for index, block in enumerate(results)
        if (block.get("citations") or {}).get("enabled")
    ]


def split(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and the deltas that complete it."""
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": word} for word in re.findall(r"\s*\S+\s*|\s+", block["text"])]
            cited = [{"type": "citations_delta", "citation": each} for each in block["citations"] or []]
            return {**block, "text": "", "citations": [] if cited else None}, [*deltas, *cited]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": word} for word in _WORD.findall(block["thinking"])]
            begin = {"type": "thinking", "thinking": "", "signature": ""}
            return begin, [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
        case "tool_use":
            pieces = ["", *re.findall(r".{1,7}", json.dumps(block["input"], ensure_ascii=False))]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            return {**block, "input": {}}, deltas
        case _:
            return block, []


def parameters(query: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in query.split("&") if "=" in part)


def models_page(models: tuple[str, ...], wanted: dict[str, str]) -> dict[str, Any]:
    start = models.index(wanted["after_id"]) + 1 if wanted.get("after_id") in models else 0
    page = models[start : start + int(wanted.get("limit", 20))]
    return {
        "data": [model_row(name) for name in page],
        "has_more": bool(page) and page[-1] != models[-1],
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def model_row(name: str) -> dict[str, Any]:
    yes = {"supported": True}
    return {
        "id": name,
        "type": "model",
        "display_name": name.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {
            "image_input": yes,
            "pdf_input": yes,
            "structured_outputs": yes,
            "citations": yes,
            "thinking": {"supported": True, "types": {"adaptive": yes, "disabled": yes, "enabled": yes}},
            "effort": {"supported": True, "low": yes, "medium": yes, "high": yes, "max": yes},
        },
    }
