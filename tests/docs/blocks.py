"""Code blocks of Markdown pages that are marked to be run, with `<!-- run -->` on the line before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"^<!-- (\w+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    mark: str
    """`start`, `run` or `shows`."""
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """The marked blocks of a page, given by its path from the root, in order."""
    return [Block(*found) for found in MARKED.findall((ROOT / page).read_text(encoding="utf-8"))]
