"""What is known of Claude's models, from `catalogue.toml`: prices, limits, and how each is asked to think.

A gateway may write a name in its own way (`anthropic/claude-opus-4.5`, `claude-opus-4-5@20251101`); the row is the
same. A model that is not in the file is asked for as little as possible.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Literal

import msgspec
from folkmoot_sdk import ModelInfo, Price

from folkmoot_provider_anthropic.wire import ListedModel

Thinks = Literal["always", "default", "asked"]

_SNAPSHOT = re.compile(r"(-latest|[-@]\d{8})?(-v\d+(:\d+)?)?$")
_CAUTIOUS_OUTPUT = 8_192
"""Every model of the last years writes that much; a larger limit than a model's own is refused."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model."""

    name: str
    title: str = ""
    context: int | None = None
    output: int | None = None
    dearer_above: int | None = None
    """Tokens of a prompt above which the price is another: the window that is offered leaves room for no more."""
    thinks: Thinks = "asked"
    thought: Literal["adaptive", "budget", "unknown"] = "adaptive"
    """Whether an effort or a number of tokens says how much it thinks."""
    off: Literal["disabled", "between_tools"] | None = None
    """What `thinking.type` is called to switch it off, of a model that thinks by default."""
    forced: bool = True
    """Whether `tool_choice` may force a tool."""
    sampling: bool = False
    """Whether it takes `temperature` and `top_p`."""
    retires_on: str | None = None
    price: Price | None = None

    @property
    def most_output(self) -> int:
        """The limit for an answer of which nobody said how long it may be."""
        return self.output or _CAUTIOUS_OUTPUT


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    as_of: str
    models: list[Row]


def _load() -> _File:
    text = resources.files(__package__ or "").joinpath("catalogue.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _File)


_FILE = _load()
_ROWS = {row.name: row for row in _FILE.models}
_PLACES = {name: place for place, name in enumerate(_ROWS)}
AS_OF = _FILE.as_of
"""The day on which the file's prices and limits were read, as `2026-11-10`."""


def row_of(name: str) -> Row:
    """What is known of a model; next to nothing of one that is not in the file."""
    bare = _bare(name)
    if bare in _ROWS:
        return _ROWS[bare]
    # A newer Claude than this file: what the newest of them refuse is not sent.
    newer = bare.startswith("claude-")
    return Row(name=bare, output=64_000 if newer else None, thought="unknown", forced=not newer, sampling=not newer)


def same(one: str, other: str) -> bool:
    """Whether two names mean the same model, one of them perhaps with the day of its snapshot."""
    return _bare(one) == _bare(other)


def describe(listed: ListedModel, *, passages: bool, priced: bool) -> ModelInfo:
    """A model as the host lists it. What the service says goes before what the file says.

    `passages`: the connection hands them to Claude as they are, if this model can cite. `priced`: it is Anthropic
    itself that sends the invoice.
    """
    row = row_of(listed.id)
    context = _positive(listed.max_input_tokens) or row.context
    output = _positive(listed.max_tokens) or row.output
    if row.dearer_above and context:
        context = min(context, row.dearer_above + (output or 0))
    return ModelInfo(
        listed.id,
        "chat",
        title=listed.display_name or row.title,
        context_window=context,
        max_output_tokens=output,
        vision=listed.can("image_input"),
        tools=True,
        reasoning=listed.can("thinking", row.thought != "unknown"),
        passages=passages and listed.can("citations"),
        json_schema=listed.can("structured_outputs"),
        dialect="messages",
        price=msgspec.structs.replace(row.price, as_of=AS_OF) if row.price and priced else None,
        retires_on=listed.retires_at[:10] if listed.retires_at else row.retires_on if priced else None,
    )


def preferred(models: list[ModelInfo]) -> list[ModelInfo]:
    """Best default first; what the file does not know stays in the service's own order, behind."""
    return sorted(models, key=lambda model: _PLACES.get(_bare(model.name), len(_PLACES)))


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _bare(name: str) -> str:
    bare = name.strip().lower().rsplit("/", 1)[-1]
    start = bare.find("claude-")
    if start > 0 and bare[start - 1] == ".":  # us.anthropic.claude-…
        bare = bare[start:]
    return _SNAPSHOT.sub("", bare).replace(".", "-")
