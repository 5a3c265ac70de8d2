"""What Claude thought before it asked for a tool, kept so that it can go on thinking when the tool has answered.

Thoughts are signed. They go back as they came, with the blocks around them, and only while the tools of that same
answer are being run: the service demands them then, and forgets them after. Thoughts are also bound to the model
that had them, so those of another one stay here.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

_MOST = 4 * 1024 * 1024
"""Characters of one answer that are kept. Above this the thoughts are not worth their place in the database."""


_KINDS = frozenset({"thinking", "redacted_thinking", "text", "tool_use"})


class _State(msgspec.Struct):
    """As it lies in `Message.provider_state`: ours, but it has been in a database, or it is another provider's."""

    anthropic: int
    """The version of this form."""
    model: str
    content: list[dict[str, Any]]


class Replay:
    """Collects the blocks of one answer."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._content: list[dict[str, Any]] = []
        self._size = 0
        self._thought = False

    def keep(self, block: dict[str, Any] | None) -> None:
        """`block` as it would go back; None for one that does not."""
        if block is None:
            return
        self._size += sum(len(value) for value in block.values() if isinstance(value, str))
        if self._size <= _MOST:
            self._content.append(block)
            self._thought |= block["type"] in ("thinking", "redacted_thinking")

    def state(self) -> dict[str, Any] | None:
        """For `ProviderState`; None if nothing was thought, since the host's own record is enough then."""
        if not self._thought or self._size > _MOST:
            return None
        return msgspec.to_builtins(_State(1, self._model, self._content))


def remember(
    kind: str, text: str, *, signature: str = "", data: str = "", call_id: str = "", name: str = ""
) -> dict[str, Any] | None:
    """A finished block in the form in which it goes back; None if it cannot or need not."""
    match kind:
        case "thinking":
            # Its text may be empty: the signature then holds the thought.
            return {"type": "thinking", "thinking": text, "signature": signature} if signature else None
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": data} if data else None
        case "text":
            return {"type": "text", "text": text} if text.strip() else None
        case "tool_use":
            return {"type": "tool_use", "id": call_id, "name": name, "input": arguments_of(text)}
        case _:
            return None


def replayed(state: object, model: str, calls: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """The blocks that `state` holds, if `model` had these thoughts and they led to exactly these `calls` (ids)."""
    try:
        kept = msgspec.convert(state, _State)
    except msgspec.ValidationError:
        return None
    if kept.anthropic != 1 or kept.model != model or not kept.content:
        return None
    if any(block.get("type") not in _KINDS for block in kept.content):
        return None
    asked = tuple(block.get("id") for block in kept.content if block["type"] == "tool_use")
    return kept.content if asked == calls else None


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a call as an object: the service takes nothing else, whatever a model wrote."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"INVALID_JSON": text}
