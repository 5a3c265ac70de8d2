"""Whether arguments fit the JSON Schema of a tool. Pure, and asks nobody: a schema may point to other addresses."""

from __future__ import annotations

from typing import Any, cast

LONGEST_WHY = 300


def misfit(arguments: dict[str, Any], schema: dict[str, Any]) -> str | None:
    """What does not fit, in a sentence for the model; None if all does.

    A schema that makes no sense lets everything pass: its server checks again.
    """
    # Imported at the first call of a tool: it takes a tenth of a second.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match  # pyright: ignore[reportUnknownVariableType]
    from referencing import Registry

    try:
        validator = cast("Any", Draft202012Validator)(schema, registry=cast("Any", Registry)())
        error = cast("Any", best_match)(validator.iter_errors(arguments))
    except Exception:  # noqa: BLE001 - the schema is a server's, and may break the library in any way
        return None
    if error is None:
        return None
    place, said = ".".join(str(part) for part in error.absolute_path), str(error.message)
    said = said if len(said) <= LONGEST_WHY else f"{said[:LONGEST_WHY]}…"
    return f"{place}: {said}" if place else said
