"""Around every call into a provider's plugin: what it raises is the provider's error, and its words are fit to show.

A plugin is somebody else's code, and what it says of a failure is often what a server said. So a defect of it must not
look like one of ours, or keep the next model of a route from being asked; and its words go to people, into rows and
into logs, so they hold no secret of the connection and nothing that PostgreSQL cannot store.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import msgspec
from folkmoot_sdk import BadResponse, ProviderError, Secret, Unavailable

from folkmoot.kit.errors import AppError
from folkmoot.kit.log import get_logger

log = get_logger(__name__)
LONGEST_WORDS = 2_000
SHORTEST_SECRET = 4
"""What is shorter stands in any sentence."""


def storable(text: str) -> str:
    """Without what PostgreSQL cannot store, NUL and halves of surrogate pairs; as they are, nearly always."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def secrets_in(config: object) -> tuple[str, ...]:
    """The values of all secrets of a configuration, the longest first, so that none is hidden only in part."""
    return tuple(sorted({value for value in _secrets(config) if len(value) >= SHORTEST_SECRET}, key=len, reverse=True))


def _secrets(value: object) -> Generator[str]:
    match value:
        case Secret():
            yield value.reveal()
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from _secrets(getattr(value, name))
        case Mapping():
            for part in cast("Mapping[object, object]", value).values():
                yield from _secrets(part)
        case list() | tuple() | set() | frozenset():
            for part in cast("Sequence[object]", value):
                yield from _secrets(part)
        case _:
            pass


@contextmanager
def guarded(name: str, secrets: Sequence[str] = ()) -> Generator[None]:
    """Inside, a plugin is called for the model or provider `name`; only `ProviderError` and `AppError` come out."""
    try:
        yield
    except ProviderError as error:
        words = _hidden(str(error), secrets)
        if words != str(error):
            error.args = (words,)
        raise
    except AppError:
        raise
    except Exception as error:
        log.error("provider.misbehaved", name=name, error=type(error).__name__)
        if isinstance(error, TimeoutError | OSError):
            raise Unavailable(f"{name} could not be reached ({type(error).__name__})") from error
        raise BadResponse(
            f"the plugin behind {name} failed in a way that it should not ({type(error).__name__}): tell its maker"
        ) from error


def _hidden(words: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        words = words.replace(secret, "***")
    return storable(words[:LONGEST_WORDS])
