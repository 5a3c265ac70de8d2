"""What names of models with open weights tell, where the server that runs them says nothing.

Never the length of the context: what a model was trained with says nothing of what a server gives it.
"""

from __future__ import annotations

from typing import Literal

from folkmoot_sdk import ModelInfo, ModelKind, Price
from folkmoot_sdk.catalogue import Known, open_models


def kind_of(name: str) -> ModelKind | None:
    """What a model of this name does; None if it is of no use here."""
    return open_models().kind_of(_plain(name))


def known(name: str, kind: ModelKind) -> Known:
    """The row of a model; one without facts if there is none."""
    return open_models().known(_plain(name), kind)


def prefix(name: str, purpose: Literal["document", "query"]) -> str:
    """What an embedding model was trained to find before a question, or before a passage."""
    row = known(name, "embedding")
    return row.query if purpose == "query" else row.document


def describe(
    name: str,
    kind: ModelKind,
    *,
    context_window: int | None,
    max_batch: int | None = None,
    title: str = "",
    vision: bool | None = None,
    tools: bool | None = None,
    reasoning: bool | None = None,
) -> ModelInfo:
    """A model on one's own machine: it costs nothing. What the server says of a feature holds; None is silence."""
    row, chat = known(name, kind), kind == "chat"
    return ModelInfo(
        name,
        kind,
        title=title,
        context_window=context_window,
        dimensions=row.dimensions if kind == "embedding" else None,
        max_batch=max_batch,
        vision=chat and (row.vision if vision is None else vision),
        tools=chat and (row.tools if tools is None else tools),
        reasoning=chat and (row.reasoning if reasoning is None else reasoning),
        json_schema=chat,
        dialect="chat-completions" if chat else "",
        price=Price(),
    )


def _plain(name: str) -> str:
    """Without the folder and ending of a file, which is what llama.cpp calls its model by."""
    bare = name.replace("\\", "/").rsplit("/", 1)[-1]
    return bare.lower().removesuffix(".gguf").removeprefix("meta-")
