"""The ids that models and assistants have under `/v1`. Pure.

A plain model is called by its name. Of several with one name the first keeps it, and the others are called
`connection/model`, as every model may be. An assistant is `assistant/` and its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from folkmoot.ai.route import Choice, Snapshot
from folkmoot.kit.errors import NotFound

ASSISTANT = "assistant/"
KINDS = ("chat", "embedding", "transcription")
"""What `/v1` can ask; the default of each kind comes first of its kind."""


def no_such_model(model_id: str) -> NotFound:
    """The same whether it is not there or not for the caller to know of."""
    return NotFound(
        f"the model {_shown(model_id)!r} does not exist, or you may not use it: `GET /v1/models` lists yours",
        code="model-not-found",
    )


def _shown(model_id: str) -> str:
    return model_id if len(model_id) <= 100 else f"{model_id[:100]}…"


def assistant_of(model_id: str) -> UUID | None:
    """The assistant that an id names, None if it names a plain model. Raises `NotFound` for half an id."""
    if not model_id.startswith(ASSISTANT):
        return None
    try:
        return UUID(model_id.removeprefix(ASSISTANT))
    except ValueError:
        raise no_such_model(model_id) from None


def listed(snapshot: Snapshot) -> Iterator[tuple[str, Choice]]:
    """Every plain model that may be called, under its id."""
    names = {choice.model.name: choice for choice in reversed(list(_usable(snapshot)))}
    for choice in _usable(snapshot):
        name = choice.model.name
        if names[name] is choice:
            yield name, choice
        elif _long(choice) not in names:
            yield _long(choice), choice


def find(snapshot: Snapshot, model_id: str, kind: str | None = None) -> Choice:
    """The plain model that an id names, of `kind` before others. Raises `NotFound`."""
    named = [choice for choice in _usable(snapshot) if choice.model.name == model_id]
    if not named and "/" in model_id:
        named = [choice for choice in _usable(snapshot) if _long(choice) == model_id]
    if not named:
        raise no_such_model(model_id)
    return next((choice for choice in named if choice.model.kind == kind), named[0])


def id_of(snapshot: Snapshot, choice: Choice) -> str:
    """The id of a model, as `listed` has it."""
    name = choice.model.name
    first = next((found for found in _usable(snapshot) if found.model.name == name), choice)
    return name if first is choice or first.model.id == choice.model.id else _long(choice)


def _usable(snapshot: Snapshot) -> Iterator[Choice]:
    for choice in snapshot.choices:
        if choice.usable and choice.model.kind in KINDS:
            yield choice


def _long(choice: Choice) -> str:
    return f"{choice.connection.name}/{choice.model.name}"
