"""Cutting a document into pieces that are searched, embedded and cited.

The document's text is its blocks joined, and a chunk is exactly `text[start:end]`: what is cited can be
checked against what was read, and neighbours can be joined by their offsets, so chunks need no overlap.

Cuts follow the structure. A page ends a chunk; a heading begins one, and its words are in it; paragraphs are
packed until there is enough for one idea; a table stays whole where it fits, else it is cut between rows and each part
carries the header row as context. Only what is longer than a chunk may be is cut inside: at line ends where
lines mean something, else at the end of a sentence, a word, or wherever. How long a chunk may be depends on the model
that embeds it (`tokens.limits`).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice

import msgspec
from folkmoot_sdk import Block, BlockKind

TARGET_TOKENS = 350
MAX_TOKENS = 512
MIN_TOKENS = 60


class Limits(msgspec.Struct, frozen=True):
    """How long chunks are to be, in tokens as `count_tokens` has them."""

    target: int = TARGET_TOKENS
    """Enough for one idea."""
    most: int = MAX_TOKENS
    least: int = MIN_TOKENS
    """A chunk below it takes in what follows, even a heading; only what fits nowhere stays smaller."""


USUAL = Limits()
_MAX_CHARACTERS = 8_000
"""So that a page of blanks or dots, which count for little, makes no endless chunk."""
_LONGEST_CONTEXT = 600
_TOKEN = re.compile(
    "[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]"  # scripts without spaces: each counts
    r"|\w{1,5}"
    r"|[^\w\s]{1,3}"
)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？]|\n")
_LINES: frozenset[BlockKind] = frozenset(("table", "list", "row", "code"))


class Anchor(msgspec.Struct, frozen=True):
    """Where in the file the text from `start` on stands, until the next anchor."""

    start: int
    """Characters from the beginning of `Document.text`."""
    page: int | None = None
    heading: str = ""
    """The path of headings above, "Leave > Parental leave"."""
    sheet: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """`text` is `document.text[start:end]`, without white space at either end."""

    ordinal: int
    """From 0."""
    start: int
    end: int
    text: str
    context: str
    """The path of headings, then on a line of its own the header row of a table that began in another chunk."""
    page: int | None
    """A chunk never goes on over the end of a page, so that whoever finds it can be told the page."""
    token_count: int
    """As `count_tokens` has it."""
    kind: BlockKind
    """Of its blocks, headings aside, if they are of one kind, else "paragraph"."""


class Document(msgspec.Struct, frozen=True):
    text: str
    anchors: list[Anchor]
    """In order, the first at 0; one for each block where page, heading or sheet change."""
    chunks: list[Chunk]

    def anchor(self, offset: int) -> Anchor:
        """The place in the file of the character at `offset`."""
        found = bisect_right(self.anchors, offset, key=lambda anchor: anchor.start)
        return self.anchors[max(found - 1, 0)] if self.anchors else Anchor(0)


def count_tokens(text: str) -> int:
    """About how many tokens a model makes of `text`, without a model's tokenizer.

    A word counts one for every five letters begun, punctuation one for every three signs, a character of a
    script without spaces one. It is additive over pieces cut at white space. No one number fits the
    vocabularies of all models, so keep a margin: it follows the rule of thumb of four characters a token in
    English, and long Swedish compounds cost more in vocabularies made for English than is counted here.
    """
    return len(_TOKEN.findall(text))


def reach(text: str, start: int, tokens: int) -> int:
    """How far so many tokens go from `start`, up to the beginning of the next one."""
    beyond = next(islice(_TOKEN.finditer(text, start), tokens, None), None)
    return len(text) if beyond is None else max(beyond.start(), start + 1)


def build(blocks: Iterable[Block], limits: Limits = USUAL) -> Document:
    """Join the blocks into one text and cut it. Pure, and the same for the same blocks and limits."""
    text, spans, anchors = _lay_out(blocks)
    cutter = _Cutter(text, limits)
    for span in spans:
        cutter.add(span)
    return Document(text=text, anchors=anchors, chunks=cutter.finish())


class _Span(msgspec.Struct, gc=False):
    """A block's place in the text."""

    start: int
    end: int
    kind: BlockKind
    page: int | None
    sheet: str | None
    heading: str


def _lay_out(blocks: Iterable[Block]) -> tuple[str, list[_Span], list[Anchor]]:
    parts: list[str] = []
    spans: list[_Span] = []
    anchors: list[Anchor] = []
    path: list[tuple[int, str]] = []
    heading = ""
    at = 0
    before: Block | None = None
    for block in blocks:
        text = block.text.strip()
        if not text:
            continue
        if before is not None:
            # Rows and the parts of a long list follow each other closely.
            close = block.kind == before.kind and block.kind in ("row", "list") and block.sheet == before.sheet
            parts.append("\n" if close else "\n\n")
            at += len(parts[-1])
        if block.kind == "heading":
            level = block.level or 1
            while path and path[-1][0] >= level:
                path.pop()
            path.append((level, " ".join(text.split())[:200]))
            heading = " > ".join(title for _, title in path)[-_LONGEST_CONTEXT:]
        span = _Span(at, at + len(text), block.kind, block.page, block.sheet, heading)
        if not anchors or (anchors[-1].page, anchors[-1].heading, anchors[-1].sheet) != (
            block.page,
            heading,
            block.sheet,
        ):
            anchors.append(Anchor(at, block.page, heading, block.sheet))
        parts.append(text)
        spans.append(span)
        at = span.end
        before = block
    return "".join(parts), spans, anchors


class _Open(msgspec.Struct):
    """The chunk that is being filled."""

    start: int
    end: int
    tokens: int
    first: _Span
    last: _Span
    body: _Span | None
    """Its first span that is no heading: the headings above that one are what it is about."""
    kind: BlockKind | None
    header: str


class _Cutter:
    """Packs spans into chunks, in order."""

    def __init__(self, text: str, limits: Limits) -> None:
        self._text = text
        self._limits = limits
        self._chunks: list[Chunk] = []
        self._open: _Open | None = None
        self._before: _Open | None = None
        """What the last of the chunks was made of."""

    def add(self, span: _Span) -> None:
        tokens = count_tokens(self._text[span.start : span.end])
        filled = self._open
        if filled is not None and _ends_before(span, tokens, filled, self._limits):
            self._flush()
        if not self._fits(span, tokens, self._open) and self._fits(span, tokens, None) and self._has_body():
            self._flush()
        if self._fits(span, tokens, self._open):
            self._append(span, span.start, span.end, tokens)
        else:
            self._split(span)

    def finish(self) -> list[Chunk]:
        """The chunks; a short rest at the end joins the one before it, if it is of the same section."""
        rest, before = self._open, self._before
        if (
            rest is not None
            and before is not None
            and rest.tokens < self._limits.least
            and not rest.header
            and (rest.first.heading, rest.first.sheet, rest.first.page)
            == (before.last.heading, before.last.sheet, before.last.page)
            and before.tokens + rest.tokens <= self._limits.most
            and rest.end - before.start <= _MAX_CHARACTERS
            and self._text[before.end : rest.start].isspace()
        ):
            self._chunks.pop()
            before.end, before.last, before.tokens = rest.end, rest.last, before.tokens + rest.tokens
            before.kind = before.kind if before.kind == rest.kind else "paragraph"
            self._open = before
        self._flush()
        return self._chunks

    def _fits(self, span: _Span, tokens: int, filled: _Open | None) -> bool:
        start, used = (filled.start, filled.tokens) if filled is not None else (span.start, 0)
        return used + tokens <= self._limits.most and span.end - start <= _MAX_CHARACTERS

    def _has_body(self) -> bool:
        return self._open is not None and self._open.body is not None

    def _append(self, span: _Span, start: int, end: int, tokens: int, header: str = "") -> None:
        is_body = span.kind != "heading"
        filled = self._open
        if filled is None:
            body, kind = (span, span.kind) if is_body else (None, None)
            self._open = _Open(start, end, tokens, span, span, body, kind, header)
            return
        filled.end, filled.last, filled.tokens = end, span, filled.tokens + tokens
        if is_body:
            filled.kind = span.kind if filled.kind in (None, span.kind) else "paragraph"
            filled.body = filled.body or span

    def _split(self, span: _Span) -> None:
        """Cut a span that is longer than a chunk may be; its last piece stays open for what follows."""
        text, at, limits = self._text, span.start, self._limits
        header = ""
        if span.kind == "table":
            header = text[span.start : span.end].split("\n", 1)[0][:_LONGEST_CONTEXT]
        while at < span.end:
            if self._open is not None and self._open.tokens > limits.most - limits.least:
                self._flush()
            used = self._open.tokens if self._open is not None else 0
            begun = self._open.start if self._open is not None else at
            enough = max(limits.target - used, limits.least)
            target, most = self._reach(at, span.end, enough, limits.most - used, begun + _MAX_CHARACTERS)
            end = span.end if most == span.end else _cut(text, at, target, span.kind)
            piece = text[at:end].rstrip()
            if piece:
                again = header if at > span.start else ""
                self._append(span, at, at + len(piece), count_tokens(piece), again)
            if end < span.end:
                self._flush()
            at = _after_space(text, end, span.end)

    def _reach(self, at: int, end: int, enough: int, most: int, limit: int) -> tuple[int, int]:
        """How far `enough` tokens go from `at`, and how far the most do, at most to `end` and to `limit`."""
        tokens = _TOKEN.finditer(self._text, at, end)
        limit = min(max(limit, at + 1), end)
        beyond = next(islice(tokens, enough, None), None)
        if beyond is None:
            return limit, limit
        target = min(beyond.start(), limit)
        if most <= enough:
            return target, target
        beyond = next(islice(tokens, most - enough - 1, None), None)
        return target, limit if beyond is None else min(beyond.start(), limit)

    def _flush(self) -> None:
        filled = self._open
        if filled is None:
            return
        heading = (filled.body or filled.first).heading
        self._chunks.append(
            Chunk(
                ordinal=len(self._chunks),
                start=filled.start,
                end=filled.end,
                text=self._text[filled.start : filled.end],
                context=f"{heading}\n{filled.header}".strip("\n"),
                page=filled.first.page,
                token_count=filled.tokens,
                kind=filled.kind or "heading",
            )
        )
        self._open, self._before = None, filled


def _ends_before(span: _Span, tokens: int, filled: _Open, limits: Limits) -> bool:
    """Whether the open chunk is better closed than filled with this."""
    if (span.sheet, span.page) != (filled.last.sheet, filled.last.page):
        return True
    if filled.body is None or filled.tokens < limits.least:
        return False
    whole = filled.tokens + tokens
    return (
        span.kind == "heading"
        or whole > limits.most
        or filled.tokens >= limits.target
        or (whole > limits.target and tokens >= limits.least)
    )


def _cut(text: str, start: int, limit: int, kind: BlockKind) -> int:
    """The best place to cut between `start` and `limit`, after `start`."""
    if kind in _LINES and (line := text.rfind("\n", start + 1, limit)) > start:
        return line
    early = start + (limit - start) // 3  # a piece shorter than this is not worth a good end
    if (sentence := _last_end(text, early, limit)) is not None:
        return sentence
    for at in range(limit, max(early, start + 1), -1):
        if text[at - 1].isspace() or (at < len(text) and text[at].isspace()):
            return at
    for at in range(limit, max(start + 1, limit - 16), -1):
        if at >= len(text) or not (unicodedata.combining(text[at]) or text[at] in "\u200d\ufe0f"):
            return at  # not between a letter and its accent
    return limit


def _last_end(text: str, early: int, limit: int) -> int | None:
    end = None
    for found in _SENTENCE_END.finditer(text, early, min(limit + 1, len(text))):
        if found.end() <= limit:
            end = found.end()
    return end


def _after_space(text: str, at: int, end: int) -> int:
    while at < end and text[at].isspace():
        at += 1
    return at
