"""What a file says of itself as a whole: title and language."""

from __future__ import annotations

import re
from collections.abc import Mapping

from folkmoot_parser_office.drawing import one_line
from folkmoot_parser_office.package import Package
from folkmoot_parser_office.tree import local

# What python-docx and python-pptx leave in every file that they make.
_PLACEHOLDERS = frozenset({"word document", "powerpoint presentation", "untitled", "presentation"})
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _core(package: Package, name: str) -> str | None:
    part = next((tie.target for tie in package.relationships("").values() if tie.kind == "core-properties"), "")
    root = package.find_tree(part or "docProps/core.xml", "The properties")
    for node in root if root is not None else ():
        if local(node) == name and node.text:
            return one_line(node.text) or None
    return None


def title_of(package: Package) -> str | None:
    """The title, unless it is the one that a program put there."""
    title = _core(package, "title")
    return title[:500] if title and title.lower() not in _PLACEHOLDERS else None


def language_of(package: Package, runs: Mapping[str, int]) -> str | None:
    """The language of the properties, else the one that most of the text is marked with.

    `runs` counts characters per language. The default language of a file is not asked: it is that of
    the program that made the file, whatever language the text is in.
    """
    language = _core(package, "language")
    if language is None and runs:
        most = max(runs, key=lambda each: runs[each])
        language = most if runs[most] * 2 > sum(runs.values()) else None
    return language if language and _LANGUAGE.fullmatch(language) else None
