"""What Ollama tells of its models, as the host lists them. Knows nothing of HTTP."""

from __future__ import annotations

import re
from typing import Any

from folkmoot_sdk import ModelInfo, Price

from folkmoot_provider_local import names
from folkmoot_provider_local.ollama_wire import Listed, Shown

DEFAULT_CONTEXT = 4096
"""What Ollama loads a model with on a machine with little memory, unless it is told otherwise."""
MAX_BATCH = 64
"""Texts in one call of `embed`; Ollama has no limit of its own, and works through them a few at a time."""

_NUM_CTX = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)
_CLOUD = re.compile(r"[:-]cloud$", re.IGNORECASE)


def is_cloud(name: str) -> bool:
    """Whether the name says that this model runs at ollama.com, however local its server is."""
    return _CLOUD.search(name) is not None


def describe(listed: Listed, shown: Shown | None, *, context_length: int, loaded_with: int | None) -> ModelInfo | None:
    """A model as the host lists it; None if it neither chats nor embeds.

    `context_length` is the one that every call asks for, or 0; `loaded_with` the one that it is loaded with now.
    A model that was trained for 128 k tokens and is loaded with 4 k takes 4 k.
    """
    name = listed.model or listed.name or ""
    shown = shown or Shown()
    can = _capabilities(name, shown)
    trained = _number(shown.model_info, "context_length")
    room = context_length or _modelfile_context(shown) or loaded_with or DEFAULT_CONTEXT
    context = min(room, trained) if trained else room
    remote = bool(listed.remote_host or shown.remote_host or is_cloud(name))
    price = None if remote else Price()
    if "embedding" in can:
        known = names.known(name, "embedding")
        return ModelInfo(
            name,
            "embedding",
            context_window=context,
            dimensions=_number(shown.model_info, "embedding_length") or known.dimensions,
            max_batch=MAX_BATCH,
            price=price,
        )
    if "completion" not in can:
        return None
    return ModelInfo(
        name,
        "chat",
        context_window=trained if remote else context,
        vision="vision" in can,
        tools="tools" in can,
        reasoning="thinking" in can,
        json_schema=True,
        dialect="chat-completions",
        price=price,
    )


def _capabilities(name: str, shown: Shown) -> set[str]:
    """What a model can do; for releases that do not say it, what its files let one conclude."""
    if shown.capabilities is not None:
        return set(shown.capabilities)
    info, template = shown.model_info or {}, shown.template or ""
    if any(key.endswith(".pooling_type") for key in info) or names.kind_of(name) == "embedding":
        return {"embedding"}
    found = {"completion"}
    if ".Tools" in template:
        found.add("tools")
    if shown.projector_info or any(".vision." in key for key in info):
        found.add("vision")
    return found


def _modelfile_context(shown: Shown) -> int | None:
    found = _NUM_CTX.search(shown.parameters or "")
    return int(found.group(1)) or None if found else None


def _number(info: dict[str, Any] | None, name: str) -> int | None:
    """`llama.context_length` and the like; the prefix is the model's architecture."""
    for key, value in (info or {}).items():
        if key.count(".") == 1 and key.endswith(f".{name}") and isinstance(value, int | float) and 0 < value < 10**9:
            return int(value)
    return None
