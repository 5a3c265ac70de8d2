"""What Ollama sends, as typed Structs: msgspec skips all that is not named here.

Every field may be missing or null, for some release leaves each of them out.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None
    """The object itself; text in some models' templates."""


class Call(msgspec.Struct):
    id: str | None = None
    """Older releases give none."""
    function: Function | None = None


class Reply(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Line(msgspec.Struct):
    """One line of an answer. An error may come in its place, under a 200."""

    message: Reply | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None
    status: Any = None


class Listed(msgspec.Struct):
    model: str | None = None
    name: str | None = None
    remote_host: str | None = None
    remote_model: str | None = None


class Tags(msgspec.Struct):
    models: list[Listed] | None


class Shown(msgspec.Struct):
    """What `/api/show` tells of a model."""

    capabilities: list[str] | None = None
    """Older releases say none."""
    model_info: dict[str, Any] | None = None
    projector_info: dict[str, Any] | None = None
    parameters: str | None = None
    """The Modelfile's, as lines of text: `num_ctx 8192`."""
    template: str | None = None
    remote_host: str | None = None
    remote_model: str | None = None


class Running(msgspec.Struct):
    model: str | None = None
    name: str | None = None
    context_length: Any = None


class Processes(msgspec.Struct):
    models: list[Running] | None = None


class Vectors(msgspec.Struct):
    embeddings: list[list[float]] | None = None
    prompt_eval_count: Any = None
    error: Any = None


line_decoder = msgspec.json.Decoder(Line)
tags_decoder = msgspec.json.Decoder(Tags)
shown_decoder = msgspec.json.Decoder(Shown)
processes_decoder = msgspec.json.Decoder(Processes)
vectors_decoder = msgspec.json.Decoder(Vectors)
