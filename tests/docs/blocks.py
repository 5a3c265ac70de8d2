"""Code blocks of Markdown pages that are marked to be run, with `<!-- run -->` on the line before.

`<!-- write path/of/a/file -->` stands before what is put into a file; it is run as the command that writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"^<!-- (\w+)(?: (\S+))? -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "@@@ end of file @@@"


@dataclass(frozen=True)
class Block:
    mark: str
    """`start`, `run` or `shows`."""
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """The marked blocks of a page, given by its path from the root, in order."""
    return [
        Block("run", "bash", f"cat > '{where}' <<'{END}'\n{text}{END}\n")
        if mark == "write"
        else Block(mark, kind, text)
        for mark, where, kind, text in MARKED.findall((ROOT / page).read_text(encoding="utf-8"))
    ]
