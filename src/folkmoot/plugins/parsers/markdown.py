"""Markdown as its reader would hear it: headings, paragraphs, lists, tables and code, without the signs.

Of a link the words stay and the address goes; of a picture the description stays. HTML in between is read as HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from folkmoot_sdk import Block, DocumentInfo, Parsed, Source
from markdown_it import MarkdownIt
from markdown_it.token import Token

from folkmoot.plugins.parsers.text import read_text

_FRONT_MATTER = re.compile(r"\s{0,100}(---|\+\+\+)[ \t]*\n(.{0,100000}?)\n(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_LANGUAGE = re.compile(r"^lang(?:uage)?[ \t]*[:=][ \t]*[\"']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)", re.MULTILINE)
_REFERENCE = re.compile(r"^ {0,3}\[[^\]\n]{1,300}\]:[ \t]*\S+.*$", re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TOP = re.compile(r"#{1,6} |[^\W\d_]")
"""A line that no list, quote or code can go on with after an empty one."""
_PIECE = 200_000
"""Characters that are read at once, and some more up to the next place where they may be parted."""
_DEEPEST = 100
"""Levels of lists and quotes; markdown-it leaves out what is deeper, by default beyond 20."""
_LONGEST_LIST = 20_000
"""Characters. A longer list goes on in the next block."""


class _Open(NamedTuple):
    """A list that the walk is inside of."""

    ordered: bool
    number: list[int]


def parse(source: Source) -> Iterator[Parsed]:
    """Blocks in reading order. Raises `UnsupportedFile` if it is not text, `CorruptFile` if it is empty."""
    text = read_text(source)
    info, text = _front_matter(text)
    reader = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    env: dict[str, Any] = {}
    if len(text) > _PIECE:
        reader.parse("\n".join(match[0] for match in _REFERENCE.finditer(text)), env)
    found = False
    for piece in _pieces(text):
        for block in _Walk(reader.parse(piece, env)).blocks():
            found = True
            if block.kind == "heading" and block.level == 1 and info.title is None:
                info = DocumentInfo(title=block.text, language=info.language)
            yield block
    if not found:
        # Nothing but quotes in quotes, or a link's address: better its signs than no word of it.
        yield from (
            Block(text=piece)
            for start in range(0, len(text), _LONGEST_LIST)
            if (piece := text[start : start + _LONGEST_LIST].strip())
        )
    if info.title or info.language:
        yield info


def _front_matter(text: str) -> tuple[DocumentInfo, str]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return DocumentInfo(), text
    title, language = _TITLE.search(match[2]), _LANGUAGE.search(match[2])
    info = DocumentInfo(
        title=title[1].strip().strip("\"'").strip() or None if title else None,
        language=language[1] if language else None,
    )
    return info, text[match.end() :]


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that no block goes across: its tokens take two hundred times its own memory."""
    start = end = 0
    fence = ""
    while end < len(text):
        line_end = text.find("\n", end) + 1 or len(text)
        if fence:
            if text.startswith(fence, _first(text, end)):
                fence = ""
        elif opened := _FENCE.match(text, end):
            fence = opened[1]
        elif end - start > _PIECE and _TOP.match(text, end) and text.startswith("\n\n", end - 2):
            yield text[start:end]
            start = end
        end = line_end
    yield text[start:]


def _first(text: str, at: int) -> int:
    """Where a line that is indented by up to three spaces begins."""
    return next((place for place in range(at, min(at + 3, len(text))) if text[place] != " "), at + 3)


class _Walk:
    """One pass over markdown-it's flat list of tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._lists: list[_Open] = []
        self._lines: list[str] = []
        self._length = 0
        self._level: int | None = None
        self._in_cell = False
        self._rows: list[list[str]] = []
        self._fresh = ""
        """The bullet or number of an item whose first line is yet to come."""

    def blocks(self) -> Iterator[Block]:
        for token in self._tokens:
            match token.type:
                case "list_item_open" if self._length > _LONGEST_LIST:
                    yield from self._end_list()
                    self._step(token)
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                    if not self._lists:
                        yield from self._end_list()
                case "table_close":
                    rows = "\n".join(" | ".join(row) for row in self._rows)
                    self._rows = []
                    yield from self._emit(rows, "table")
                case "inline":
                    yield from self._inline(_inline(token.children or []))
                case "fence" | "code_block":
                    yield from self._emit(token.content, "code")
                case "html_block":
                    yield from self._html(token.content)
                case _:
                    self._step(token)
        yield from self._end_list()

    def _step(self, token: Token) -> None:
        """Keep track of what the walk is inside of."""
        match token.type:
            case "heading_open":
                self._level = int(token.tag[1:])
            case "heading_close":
                self._level = None
            case "bullet_list_open" | "ordered_list_open":
                first = token.attrGet("start")
                start = first if isinstance(first, int) else 1
                self._lists.append(_Open(token.type == "ordered_list_open", [start]))
            case "list_item_open":
                inside = self._lists[-1]
                self._fresh = f"{inside.number[0]}. " if inside.ordered else "- "
                inside.number[0] += 1
            case "tr_open":
                self._rows.append([])
            case "th_open" | "td_open":
                self._in_cell = True
            case "th_close" | "td_close":
                self._in_cell = False
            case _:
                pass

    def _inline(self, said: str) -> Iterator[Block]:
        if self._in_cell:
            self._rows[-1].append(" ".join(said.split()))
        elif self._level is not None:
            yield from self._emit(" ".join(said.split()), "heading", self._level)
        else:
            yield from self._emit(said, "paragraph")

    def _emit(
        self, text: str, kind: Literal["heading", "paragraph", "table", "code"], level: int | None = None
    ) -> Iterator[Block]:
        if not self._lists:
            if text := text.strip():
                yield Block(text=text, kind=kind, level=level)
            return
        # Whatever stands inside an item belongs to the list: it reads as lines of it.
        indent = "  " * (len(self._lists) - 1)
        for line in text.strip().splitlines():
            lead = self._fresh or ("" if kind == "heading" else "  ")
            self._fresh = ""
            self._lines.append(indent + lead + line.rstrip())
            self._length += len(line)

    def _html(self, content: str) -> Iterator[Block]:
        from folkmoot.plugins.parsers.html import fragment

        for block in fragment(content):
            if self._lists:
                yield from self._emit(block.text, "paragraph")
            else:
                yield block

    def _end_list(self) -> Iterator[Block]:
        text = "\n".join(self._lines).strip()
        self._lines, self._length = [], 0
        if text:
            yield Block(text=text, kind="list")


def _inline(children: Sequence[Token]) -> str:
    parts: list[str] = []
    for token in children:
        match token.type:
            case "softbreak" | "hardbreak":
                parts.append("\n")
            case "image":
                parts.append(_inline(token.children or []))
            case "html_inline":
                parts.append("\n" if token.content.lower().startswith("<br") else "")
            case _:
                parts.append(token.content)
    return "".join(parts)
