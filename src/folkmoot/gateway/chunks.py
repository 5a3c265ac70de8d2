"""The chunks of a streamed answer as bytes, each put together from parts that are encoded once. Pure."""

from __future__ import annotations

import secrets
import time

import msgspec
from folkmoot_sdk import Usage
from msgspec import UNSET, UnsetType

from folkmoot.gateway.answers import (
    Annotation,
    CompletionTokens,
    CompletionUsage,
    FinishReason,
    FunctionDelta,
    PromptTokens,
    ToolCallDeltaOut,
)
from folkmoot.kit.structs import Struct

DONE = b"data: [DONE]\n\n"
encode = msgspec.json.Encoder().encode


class _Head(Struct, frozen=True, kw_only=True):
    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str


class Chunks:
    """Of one answer by one model."""

    def __init__(self, model: str, *, usage: bool) -> None:
        """`usage`: the client asked for `stream_options.include_usage`, so each chunk has the field."""
        self._usage = usage
        self._head = b"data: " + encode(_Head(id=new_id(), created=int(time.time()), model=model))[:-1]
        self._before = self._head + b',"choices":[{"index":0,"delta":{'
        none = b',"usage":null' if usage else b""
        self._after = b'},"logprobs":null,"finish_reason":null}]' + none + b"}\n\n"
        self._last = b'"}]' + none + b"}\n\n"

    def role(self) -> bytes:
        """The first of all."""
        return self._before + b'"role":"assistant","content":""' + self._after

    def text(self, text: str) -> bytes:
        return self._before + b'"content":' + encode(text) + self._after

    def reasoning(self, text: str) -> bytes:
        return self._before + b'"reasoning_content":' + encode(text) + self._after

    def call(self, index: int, call_id: str, name: str) -> bytes:
        """A tool call begins; its arguments follow."""
        begun = FunctionDelta(name=name, arguments="")
        return self._calls(ToolCallDeltaOut(index=index, id=call_id, type="function", function=begun))

    def arguments(self, index: int, arguments: str) -> bytes:
        return self._calls(ToolCallDeltaOut(index=index, function=FunctionDelta(arguments=arguments)))

    def annotations(self, found: list[Annotation]) -> bytes:
        return self._before + b'"annotations":' + encode(found) + self._after

    def end(self, reason: FinishReason, usage: CompletionUsage) -> bytes:
        """The last chunk, the usage if it was asked for, and the end."""
        last = self._before + b'},"logprobs":null,"finish_reason":"' + reason.encode() + self._last
        if self._usage:
            last += self._head + b',"choices":[],"usage":' + encode(usage) + b"}\n\n"
        return last + DONE

    def _calls(self, call: ToolCallDeltaOut) -> bytes:
        return self._before + b'"tool_calls":' + encode([call]) + self._after


def new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


def counted(usage: Usage, *, estimated: bool = False) -> CompletionUsage:
    """The provider's figures, or our estimate, as clients read them."""
    details = bool(usage.cached_input_tokens), bool(usage.reasoning_tokens)
    prompt: PromptTokens | UnsetType = PromptTokens(cached_tokens=usage.cached_input_tokens) if details[0] else UNSET
    completion: CompletionTokens | UnsetType = UNSET
    if details[1]:
        completion = CompletionTokens(reasoning_tokens=usage.reasoning_tokens)
    return CompletionUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=prompt,
        completion_tokens_details=completion,
        estimated=True if estimated else UNSET,
    )
