"""Reading with a built-in parser, as the tests of each do."""

from __future__ import annotations

from folkmoot_sdk import UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, Result, read

from folkmoot.plugins import builtin

SPECS = {spec.kind: spec for spec in builtin.register_parsers()}
SWEDISH = "Alla människor är födda fria och lika i värde och rättigheter. Öl kostar 5 kr på Åland."


def of(kind: str, data: bytes | str, name: str = "file", **options: object) -> Result:
    """What the parser `kind` makes of `data`, with `options` as the host gives them."""
    return read(SPECS[kind], data.encode() if isinstance(data, str) else data, name, options=options)


def seen(result: Result) -> list[tuple[str, str]]:
    """Kind and text of each block."""
    return [(block.kind, block.text) for block in result.blocks]


def binary(suffix: str) -> Broken:
    """A file that is no text under any name."""
    return Broken(f"noise{suffix}", bytes(range(256)) * 8, UnsupportedFile)
