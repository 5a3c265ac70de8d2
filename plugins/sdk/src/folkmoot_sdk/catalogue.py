"""What is known of models by their names, from a data file with a date.

A service's own list tells little more than names, so kind, context window, features and prices come from a file
that the plugin carries. Files are TOML:

    as_of = "2026-11-20"          # the day of the prices
    other = ["^dall-e", "^tts-"]  # names of no use here

    [[model]]
    match = "^gpt-4o-mini(-2024-07-18)?$"
    kind = "chat"
    context_window = 128_000
    tools = true
    price = { input = 150_000, output = 600_000, cached_input = 75_000 }

The first row of its kind whose pattern is found in a name holds, and the order of the rows is the order of
preference. A name is looked up in lower case, without its vendor (`openai/gpt-4o` → `gpt-4o`) and without its tag
(`bge-m3:latest` → `bge-m3`). A price must be certain, so its row's pattern must hold for the whole name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import msgspec

from folkmoot_sdk.providers import ModelInfo, ModelKind, Price

_SNAPSHOT = re.compile(r"-(\d{4}|\d{4}-\d\d-\d\d|preview|latest)$")
_NUMBERS = re.compile(r"\d{1,9}")
_ORDER: dict[ModelKind, int] = {"chat": 0, "embedding": 1, "rerank": 2, "transcription": 3}


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row: the fields of `ModelInfo`, and what the plugin itself must know of the model."""

    match: str
    """A regular expression, searched in the name."""
    kind: ModelKind
    title: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    dimensions: int | None = None
    max_batch: int | None = None
    max_batch_tokens: int | None = None
    vision: bool = False
    tools: bool = False
    reasoning: bool = False
    json_schema: bool = False
    price: Price | None = None
    retires_on: str | None = None
    fixed_sampling: bool = False
    """Refuses `temperature` and `top_p`."""
    parallel_tools: bool = True
    """Takes `parallel_tool_calls`."""
    efforts: tuple[str, ...] | None = None
    """The values of `reasoning_effort` it takes; None: not known."""
    tools_effort: str | None = None
    """The one `reasoning_effort` at which it takes tools."""
    regional_percent: int = 0
    """What the service adds to the price where text stays in a region, in per cent."""
    timed: bool = True
    """A transcript of it can have segments."""
    query: str = ""
    """Put before a question that is embedded."""
    document: str = ""
    """Put before a passage that is embedded."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    as_of: str
    model: list[Known]
    other: list[str] = []


class Catalogue:
    """Rows of one or more files. Add two, and the first one's rows are asked first."""

    def __init__(self, rows: Iterable[Known], other: Iterable[str] = ()) -> None:
        """`other` are patterns of names that are of no use. Raises `re.error` for a pattern that is none."""
        self.rows = tuple(rows)
        self.other = tuple(other)
        self._rows = [(re.compile(row.match), place, row) for place, row in enumerate(self.rows)]
        self._other = [re.compile(pattern) for pattern in self.other]

    @classmethod
    def read(cls, package: str, name: str) -> Catalogue:
        """The file `name` inside `package`. Raises `msgspec.ValidationError` for a file that breaks the form."""
        file = msgspec.toml.decode(files(package).joinpath(name).read_bytes(), type=_File)
        dated = (
            msgspec.structs.replace(row, price=msgspec.structs.replace(row.price, as_of=file.as_of))
            if row.price is not None and not row.price.as_of
            else row
            for row in file.model
        )
        return cls(dated, file.other)

    def __add__(self, other: Catalogue) -> Catalogue:
        return Catalogue((*self.rows, *other.rows), (*self.other, *other.other))

    def kind_of(self, name: str) -> ModelKind | None:
        """What a model of this name does; None if it is of no use here."""
        bare = _bare(name)
        for kind in ("transcription", "rerank"):
            if self._find(bare, kind) is not None:
                return kind
        if any(pattern.search(bare) for pattern in self._other):
            return None
        return "embedding" if self._find(bare, "embedding") is not None else "chat"

    def known(self, name: str, kind: ModelKind) -> Known:
        """What is known of a model; a row without facts if nothing is."""
        found = self._find(_bare(name), kind)
        return Known(match="", kind=kind) if found is None else found[1]

    def describe(
        self,
        name: str,
        kind: ModelKind,
        *,
        priced: bool,
        dialect: str = "",
        context_window: int | None = None,
        max_batch: int | None = None,
        known_as: str | None = None,
        strict_tools: bool = False,
    ) -> ModelInfo:
        """A model as the host lists it.

        `priced` only if the service is the one whose prices these are; `context_window` is what the service itself
        says, and goes first; `known_as` is the name to look up, where the service has one of its own; `strict_tools` if
        the service takes tools only at the row's `tools_effort`.
        """
        row = self.known(known_as or name, kind)
        chat, embedding = kind == "chat", kind == "embedding"
        barred = strict_tools and row.tools_effort is not None and row.tools_effort not in (row.efforts or ())
        return ModelInfo(
            name,
            kind,
            title=row.title,
            context_window=context_window or row.context_window,
            max_output_tokens=row.max_output_tokens if chat else None,
            dimensions=row.dimensions if embedding else None,
            max_batch=(row.max_batch or max_batch) if kind in ("embedding", "rerank") else None,
            max_batch_tokens=row.max_batch_tokens if embedding else None,
            vision=row.vision,
            tools=row.tools and not barred,
            reasoning=row.reasoning,
            json_schema=row.json_schema,
            dialect=dialect if chat else "",
            price=row.price if priced else None,
            retires_on=row.retires_on if priced else None,
        )

    def preferred(self, models: Iterable[ModelInfo]) -> list[ModelInfo]:
        """Best default of each kind first; what no row tells apart stays in the service's own order."""
        return sorted(models, key=lambda model: self.preference(model.name, model.kind))

    def preference(self, name: str, kind: ModelKind) -> tuple[int, int, bool, list[int]]:
        """A key to sort by, for a service whose models go by other names than those of this catalogue."""
        bare = _bare(name)
        found = self._find(_SNAPSHOT.sub("", bare), kind)
        place = len(self.rows) if found is None else found[0]
        told = found is not None and kind == "chat" and bool(found[1].match)
        newest = [*(-int(number) for number in _NUMBERS.findall(bare)), 0] if told else []
        return _ORDER[kind], place, bool(_SNAPSHOT.search(bare)), newest

    def _find(self, bare: str, kind: ModelKind) -> tuple[int, Known] | None:
        return next(
            ((place, row) for pattern, place, row in self._rows if row.kind == kind and pattern.search(bare)), None
        )


@cache
def open_models() -> Catalogue:
    """Models with open weights, which many services and local servers offer: features and prefixes, no prices."""
    return Catalogue.read("folkmoot_sdk", "open_models.toml")


def _bare(name: str) -> str:
    lower = name.lower()
    return lower[3:] if lower.startswith("ft:") else lower.rsplit("/", 1)[-1].split(":", 1)[0]
