"""Structs that requests are read into and answers are written from."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="Shown to people.",
        examples=["Building permits"],
    ),
]
Text = Annotated[str, Meta(max_length=2_000, examples=["Questions about permits and notices."])]
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$",
        examples=["ada@municipality.example"],
    ),
]


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every schema."""


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body that a client sends: a misspelt field is an error, not a silence."""

    def __post_init__(self) -> None:
        # PostgreSQL text cannot hold NUL; better told at the door than as a database error.
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str) and ("\x00" in value or _has_surrogate(value)):
                raise ValueError(f"{name} has a character that text may not have (NUL or half a surrogate pair)")


def _has_surrogate(value: str) -> bool:
    return not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value)


def patch(row: Any, change: Struct, *, leave: tuple[str, ...] = ()) -> list[str]:
    """Set the fields of `change` that are not `UNSET` on `row`; returns the names that now differ."""
    changed: list[str] = []
    for name in change.__struct_fields__:
        value = getattr(change, name)
        if value is UNSET or name in leave or getattr(row, name) == value:
            continue
        setattr(row, name, value)
        changed.append(name)
    return changed
