"""From the host's messages to the turns of the Messages API.

The service wants users and assistants to alternate, the answers of tools in the user's turn and before the
user's own words, no blank text, and a user first. What the host knows as separate messages is joined here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from folkmoot_sdk import ChatRequest, ImagePart, Message, Passage, TextPart

from folkmoot_provider_anthropic.state import arguments_of, replayed

Content = dict[str, Any]

_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_BEGINNING = "(The beginning of this conversation is left out.)"
SPEAKERS = {"user": "user", "tool": "user", "assistant": "assistant"}


def turns(request: ChatRequest, *, cite: bool) -> list[Content]:
    """The wire messages. With `cite`, passages are blocks to cite from; else they are text in the user's words."""
    newest = _newest_question(request.messages)
    running = newest + 1
    out: list[Content] = []
    for place, message in enumerate(request.messages):
        if message.role == "system":
            continue
        content: list[Content] = []
        if place == newest and request.passages:
            content += map(_search_result, request.passages) if cite else [_as_text(request.passages)]
        content += _content(message, request.model, replay=place >= running)
        if not content:
            continue
        role = SPEAKERS[message.role]
        if out and out[-1]["role"] == role:
            out[-1]["content"] += content
        else:
            out.append({"role": role, "content": content})
    if out and out[0]["role"] == "assistant":
        out.insert(0, {"role": "user", "content": [{"type": "text", "text": _BEGINNING}]})
    return out


def source_of(passage: Passage) -> str:
    """What a citation of this passage names."""
    return f"passage {passage.n}"


def unfinished_without_thought(content: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the answer that is being continued asked for tools, and what it thought before is not at hand."""
    last = next((turn for turn in reversed(content) if turn["role"] == "assistant"), None)
    if last is None or content[-1] is last or not _has(content[-1]["content"], "tool_result"):
        return False
    return last["content"][0]["type"] not in ("thinking", "redacted_thinking")


def tools_run(content: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the tools that these turns have called, each once."""
    blocks = (block for turn in content for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _newest_question(messages: Sequence[Message]) -> int:
    return max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)


def _content(message: Message, model: str, *, replay: bool) -> list[Content]:
    if message.role == "tool":
        return [_tool_result(message)]
    if message.role == "assistant" and message.tool_calls:
        if replay and message.provider_state is not None:
            calls = tuple(call.id for call in message.tool_calls)
            kept = replayed(message.provider_state, model, calls)
            if kept is not None:
                return [dict(block) for block in kept]
        return [*_parts(message), *_calls(message)]
    return list(_parts(message))


def _parts(message: Message) -> Iterator[Content]:
    for part in message.content:
        if isinstance(part, ImagePart):
            if message.role != "assistant":  # it cannot have said one
                yield _image(part)
        elif part.text.strip():
            # The service refuses an assistant's last words with white space behind.
            yield {"type": "text", "text": part.text.rstrip() if message.role == "assistant" else part.text}


def _calls(message: Message) -> Iterator[Content]:
    for call in message.tool_calls:
        arguments = arguments_of(call.arguments)
        yield {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": arguments}


def _tool_result(message: Message) -> Content:
    result: Content = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id or "")}
    content = [_image(part) if isinstance(part, ImagePart) else _text(part) for part in message.content if _says(part)]
    if content:
        result["content"] = content
    return result


def _says(part: TextPart | ImagePart) -> bool:
    return isinstance(part, ImagePart) or bool(part.text.strip())


def _text(part: TextPart) -> Content:
    return {"type": "text", "text": part.text}


def _image(part: ImagePart) -> Content:
    data = base64.b64encode(part.data).decode("ascii")
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": data}}


def _search_result(passage: Passage) -> Content:
    return {
        "type": "search_result",
        "source": source_of(passage),
        "title": _place(passage),
        "content": [{"type": "text", "text": passage.text.strip() or "-"}],
        "citations": {"enabled": True},
    }


def _as_text(passages: Sequence[Passage]) -> Content:
    told = "\n".join(f"[{passage.n}] {_place(passage)}\n{passage.text.strip()}\n" for passage in passages)
    return {"type": "text", "text": f"<passages>\n{told}</passages>"}


def _place(passage: Passage) -> str:
    page = f", page {passage.page}" if passage.page is not None else ""
    heading = f" ({passage.heading})" if passage.heading else ""
    return f"{passage.document_name}{page}{heading}" or source_of(passage)


def _id(given: str) -> str:
    """An id as the service takes it: those of other providers may have other letters."""
    return _NOT_IN_ID.sub("_", given) or "_"


def _has(content: Sequence[Mapping[str, Any]], kind: str) -> bool:
    return any(block["type"] == kind for block in content)
