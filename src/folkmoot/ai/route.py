"""Which models answer a call, in order. Pure: from a snapshot of what the organisation has connected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from folkmoot_sdk import ModelInfo, Price

from folkmoot.ai.models import Connection, Model
from folkmoot.ai.policy import Level, Standing, why_not
from folkmoot.kit.errors import Conflict, NotAvailable, NotFound, ValidationFailed

AUTOMATIC = 2
"""Fallbacks of a model that names none: so many of those that come after it."""


@dataclass(frozen=True)
class Choice:
    """One model that may be called, with all that a call needs."""

    model: Model
    connection: Connection
    info: ModelInfo
    """As the provider gave it, with what administrators know better."""
    price: Price | None
    """In millionths of the organisation's currency; None: nobody knows."""
    ceiling: Price
    """What counts where nobody knows."""
    standing: Standing

    @property
    def usable(self) -> bool:
        return self.model.enabled and self.model.offered and self.connection.enabled

    def described(self) -> dict[str, str]:
        """As events and messages name it."""
        return {"id": str(self.model.id), "name": self.model.name, "provider": self.connection.kind}


FRESH_SECONDS = 0.5
"""So long a route holds without being looked at again."""


@dataclass(frozen=True)
class Route:
    """The models that may answer, the wanted one first. Each may see the text; no fallback widens that."""

    choices: tuple[Choice, ...]
    still: Callable[[Choice], Awaitable[None]] | None = None
    """Raises what `Snapshot.route` raises if a model may not see the text any more."""
    made: float = field(default_factory=monotonic)

    async def confirm(self, choice: Choice) -> None:
        """Ask again whether a model may see the text: a call waits for its turn, and for a provider's patience.

        The class of a space may be raised meanwhile, or the model's clearance taken.
        """
        if self.still is not None and monotonic() - self.made > FRESH_SECONDS:
            await self.still(choice)

    @property
    def first(self) -> Choice:
        return self.choices[0]


@dataclass(frozen=True)
class Snapshot:
    """What one organisation has connected, as it was a moment ago."""

    choices: tuple[Choice, ...]
    """All, also those that are switched off; by kind, the default of each kind before the others."""
    levels: dict[UUID, Level]
    default_level: Level | None
    currency: str = "USD"
    """In which the prices are."""
    in_process: frozenset[str] = frozenset()
    """Kinds of provider that send text nowhere."""

    def find(self, model_id: UUID) -> Choice | None:
        return next((choice for choice in self.choices if choice.model.id == model_id), None)

    def usable(self, kind: str) -> list[Choice]:
        """The models of a kind that may be called, the default first."""
        return [choice for choice in self.choices if choice.model.kind == kind and choice.usable]

    def knows(self, class_ids: Iterable[UUID | None]) -> bool:
        """Whether it is not older than one of these classes."""
        return all(class_id is None or class_id in self.levels for class_id in class_ids)

    def text_of(self, class_ids: Iterable[UUID | None]) -> tuple[Level, ...]:
        """The levels of text from spaces with these classes. Raises `NotAvailable` for one that is not known."""
        found: dict[UUID, Level] = {}
        for class_id in class_ids:
            level = self.default_level if class_id is None else self.levels.get(class_id)
            if level is not None:
                found[level.id] = level
            elif class_id is not None:
                raise NotAvailable("the class of this text was changed a moment ago: try again")
        return tuple(found.values())

    def route(self, kind: str, text: Sequence[Level], model_id: UUID | None = None) -> Route:
        """Who answers a call with this text: the model asked for, else the default, then its fallbacks.

        Raises `NotFound` (`model-not-found`) for a model that is not there or switched off, `ValidationFailed` for
        one of another kind, `Conflict` (`model-not-cleared`) if it may not see the text, and `NotAvailable`
        (`no-model`, `no-model-cleared`) if there is none to choose.
        """
        if model_id is not None:
            wanted = self._wanted(kind, model_id)
            reason = why_not(wanted.standing, text)
            if reason is not None:
                raise Conflict(f"text from here may not go to {wanted.model.name}: {reason}{self._instead(kind, text)}",
                               code="model-not-cleared")  # fmt: skip
        else:
            wanted = self._default(kind, text)
        return Route((wanted, *self._fallbacks(wanted, text)))

    def cheapest(self, text: Sequence[Level]) -> Route | None:
        """The chat model that costs least of those that may see the text and write freely, for titles and the like.

        Where nobody knows any price, the default. No fallbacks: what it is for can be left undone.
        """
        able = [choice for choice in self.usable("chat") if not choice.info.passages]
        able = [choice for choice in able if why_not(choice.standing, text) is None]
        priced = [(choice.price.input + choice.price.output, choice) for choice in able if choice.price is not None]
        if priced:
            return Route((min(priced, key=lambda pair: pair[0])[1],))
        return Route((able[0],)) if able else None

    def _wanted(self, kind: str, model_id: UUID) -> Choice:
        found = self.find(model_id)
        if found is None or not found.usable:
            raise NotFound(
                "the model is not there, or is switched off: `GET /models` lists those that you may use",
                code="model-not-found",
            )
        if found.model.kind != kind:
            raise ValidationFailed(f"{found.model.name} is a model for {found.model.kind}: choose one for {kind}")
        return found

    def _default(self, kind: str, text: Sequence[Level]) -> Choice:
        usable = self.usable(kind)
        if not usable:
            raise NotAvailable(f"no model for {kind} is connected: an administrator must connect one", code="no-model")
        for choice in usable:
            if why_not(choice.standing, text) is None:
                return choice
        classes = ", ".join(repr(level.name) for level in text)
        raise NotAvailable(
            f"no model for {kind} may see text of the class {classes}: an administrator must clear one for it",
            code="no-model-cleared",
        )

    def _fallbacks(self, wanted: Choice, text: Sequence[Level]) -> list[Choice]:
        """Those that may see the text. Embeddings have none: vectors of two models cannot be compared."""
        if wanted.model.kind == "embedding":
            return []
        usable = self.usable(wanted.model.kind)
        named = wanted.model.fallback_ids
        if named is None:
            after = usable[usable.index(wanted) + 1 :] if wanted in usable else []
            # What answers without a model is no stand-in for one, unless somebody says that it is.
            chosen = [
                choice
                for choice in after
                if choice.connection.id != wanted.connection.id and not choice.standing.in_process
            ]
        else:
            by_id = {choice.model.id: choice for choice in usable}
            chosen = [by_id[model_id] for model_id in dict.fromkeys(named) if model_id in by_id]
        allowed = [choice for choice in chosen if choice is not wanted and why_not(choice.standing, text) is None]
        return allowed if named is not None else allowed[:AUTOMATIC]

    def _instead(self, kind: str, text: Sequence[Level]) -> str:
        names = [choice.model.name for choice in self.usable(kind) if why_not(choice.standing, text) is None]
        return f". These may see it: {', '.join(names[:5])}" if names else ". No model that is connected may see it"
