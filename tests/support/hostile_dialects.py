"""What `hostile_upstream` says, in two dialects: OpenAI's Chat Completions and Anthropic's Messages."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tests.support.openai_stub import embed

_REASONS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}


class Dialect(Protocol):
    def usage(self, given: int, said: int) -> dict[str, Any]: ...

    def error(self, status: int, message: str) -> dict[str, Any]: ...

    def whole(self, model: str, text: str, usages: list[Any]) -> dict[str, Any]: ...

    def begin(self, model: str, usages: list[Any]) -> list[bytes]: ...

    def word(self, model: str, word: str) -> bytes: ...

    def end(self, model: str, usages: list[Any]) -> list[bytes]: ...

    def failure(self, message: str) -> bytes:
        """An error in the middle of a stream."""
        ...

    def unknown(self, model: str) -> list[bytes]:
        """Events that nobody has heard of yet."""
        ...


class _OpenAI:
    def usage(self, given: int, said: int) -> dict[str, Any]:
        return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "told", "param": None, "code": f"told_{status}"}}

    def whole(self, model: str, text: str, usages: list[Any]) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"usage": usages[-1]} if usages else {}
        return {"id": "x", "object": "chat.completion", "created": 0, "model": model, "choices": [choice], **usage}

    def begin(self, model: str, usages: list[Any]) -> list[bytes]:
        return [self._chunk(model, delta={"role": "assistant", "content": ""})]

    def word(self, model: str, word: str) -> bytes:
        return self._chunk(model, delta={"content": word})

    def end(self, model: str, usages: list[Any]) -> list[bytes]:
        counted = [self._chunk(model, usage=usage) for usage in usages]
        return [self._chunk(model, delta={}, finish_reason="stop"), *counted, b"data: [DONE]\n\n"]

    def failure(self, message: str) -> bytes:
        return _data(self.error(500, message))

    def unknown(self, model: str) -> list[bytes]:
        return [
            b"event: wonder\nid: 7\nretry: 10\n" + _data({"object": "wonder", "choices": [], "much": [{"more": None}]}),
            b": a comment\n\n",
            b"\r\n\n",
            self._chunk(model, delta={"aura": "blue", "content": None}, mood={"a": [1]}),
        ]

    def _chunk(self, model: str, usage: Any = None, **choice: Any) -> bytes:
        choices = [{"index": 0, "finish_reason": None, **choice}] if choice else []
        more = {} if usage is None else {"usage": usage}
        said = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices}
        return _data(said | more)


class _Anthropic:
    def usage(self, given: int, said: int) -> dict[str, Any]:
        return {"input_tokens": given, "output_tokens": said}

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": _REASONS.get(status, "api_error"), "message": message}}

    def whole(self, model: str, text: str, usages: list[Any]) -> dict[str, Any]:
        return self._message(model, [{"type": "text", "text": text}], "end_turn", usages[-1:])

    def begin(self, model: str, usages: list[Any]) -> list[bytes]:
        start = {"type": "message_start", "message": self._message(model, [], None, usages[:1])}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return [_event(start), _event(block), _event({"type": "ping"})]

    def word(self, model: str, word: str) -> bytes:
        delta = {"type": "text_delta", "text": word}
        return _event({"type": "content_block_delta", "index": 0, "delta": delta})

    def end(self, model: str, usages: list[Any]) -> list[bytes]:
        told: list[dict[str, Any]] = [{"usage": usage} for usage in usages] or [{}]
        reason = {"stop_reason": "end_turn", "stop_sequence": None}
        deltas = [_event({"type": "message_delta", "delta": reason, **usage}) for usage in told]
        return [_event({"type": "content_block_stop", "index": 0}), *deltas, _event({"type": "message_stop"})]

    def failure(self, message: str) -> bytes:
        return _event(self.error(529, message))

    def unknown(self, model: str) -> list[bytes]:
        strange = {"type": "wonder_delta", "wonder": {"a": [1]}}
        return [
            _event({"type": "wonder", "much": [{"more": None}]}),
            b": a comment\n\n",
            _event({"type": "content_block_delta", "index": 0, "delta": strange}),
        ]

    def _message(self, model: str, content: list[Any], reason: str | None, usages: list[Any]) -> dict[str, Any]:
        usage = {"usage": usages[0]} if usages else {}
        said = {"id": "x", "type": "message", "role": "assistant", "model": model, "content": content}
        return {**said, "stop_reason": reason, "stop_sequence": None, **usage}


OPENAI: Dialect = _OpenAI()
ANTHROPIC: Dialect = _Anthropic()


def text_of(body: dict[str, Any]) -> str:
    """What a person or a document said in a request: the last user message, or the texts to embed."""
    if "input" in body:
        given = body["input"]
        return given if isinstance(given, str) else " ".join(map(str, given or []))
    turns = [turn for turn in body.get("messages") or [] if turn.get("role") == "user"]
    content = turns[-1].get("content") if turns else ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def embeddings(body: dict[str, Any], wrong: str | None, *, counted: bool) -> dict[str, Any]:
    """Vectors for what was asked, `wrong` in one of the ways: few, nan, ragged."""
    given = body.get("input") or []
    vectors = [embed(str(text)) for text in ([given] if isinstance(given, str) else given)]
    match wrong:
        case "few":
            vectors.pop()
        case "nan":
            vectors[-1] = [float("nan")] * len(vectors[-1])
        case "ragged":
            vectors[-1] = vectors[-1][:-1]
    usage = {"usage": {"prompt_tokens": len(vectors), "total_tokens": len(vectors)}} if counted else {}
    data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(vectors)]
    return {"object": "list", "model": "hostile-embed", "data": data, **usage}


def _data(value: object) -> bytes:
    # Characters as they are: some of the failures split them.
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\n" + _data(value)
