"""RTF files: one pass over the tokens, with the state of each group on a stack.

Every byte is looked at once, whatever the file: no pattern here can go back over what it has read.
The format is that of the "Rich Text Format Specification", version 1.9.1.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

from folkmoot_sdk import Block, CorruptFile, DocumentInfo, Parsed, ParserError, Progress, Source, TooLarge

from folkmoot_parser_rtf.charsets import SYMBOL, decode, of_page, sign
from folkmoot_parser_rtf.flow import Flow, clean, joined
from folkmoot_parser_rtf.tables import FontTable, StyleSheet
from folkmoot_parser_rtf.words import ASIDE, CAPTURED, DESTINATIONS, LABELS, OPEN, SIGNS, SKIPPED, TABLES, State

MOST_BYTES = 256 << 20
DEEPEST = 5_000
"""Groups inside groups; Word stops far below a hundred."""

_TOKEN = re.compile(rb"\\([A-Za-z]{1,32})(-?\d{1,10})? ?|\\'([0-9A-Fa-f]{2})|\\(.)|([{}])|([^\\{}]+)", re.DOTALL)
_LINE_ENDS = b"\r\n\0"
_FILE_NAME = re.compile(r"\S*\.\w{2,4}|\S*[\\/]\S*")
_TICK = 1 << 22
_LONGEST_TITLE = 500


def _guarded(read: Callable[[Source], Iterator[Parsed]]) -> Callable[[Source], Iterator[Parsed]]:
    @functools.wraps(read)
    def run(source: Source) -> Iterator[Parsed]:
        try:
            yield from read(source)
        except ParserError:
            raise
        except MemoryError as error:
            raise _too_large(source.name) from error
        # Whatever our own walk stumbles over on hostile input means the same to the person.
        except Exception as error:
            raise CorruptFile(
                f"{source.name!r} is damaged and cannot be read: open it in Word or LibreOffice and save it anew"
            ) from error

    return run


@_guarded
def parse(source: Source) -> Iterator[Parsed]:
    """Blocks in reading order, then what is known of the whole."""
    if source.size > MOST_BYTES:
        raise _too_large(source.name)
    source.file.seek(0)
    data = source.file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _too_large(source.name)
    if not data:
        raise CorruptFile(f"{source.name!r} is empty: upload it again")
    start = data.find(b"{\\rtf", 0, 1024)
    if start < 0:
        raise CorruptFile(f"{source.name!r} is not an RTF file, whatever its name says: check what it is")
    reader = _Reader(source.name, data)
    yield from joined_with_progress(reader.read(start))
    yield DocumentInfo(page_count=reader.page_count, title=reader.title, warnings=tuple(reader.warnings))


def joined_with_progress(items: Iterator[Block | Progress]) -> Iterator[Block | Progress]:
    """`joined` for blocks, with the progress between them passed on when the next block is."""
    ticks: list[Progress] = []

    def blocks() -> Iterator[Block]:
        for item in items:
            if isinstance(item, Progress):
                ticks.append(item)
            else:
                yield item

    for block in joined(blocks()):
        yield from ticks
        ticks.clear()
        yield block


def _too_large(name: str) -> TooLarge:
    return TooLarge(f"{name!r} is larger than is read here: split it into smaller files")


class _Reader:
    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data
        self.title: str | None = None
        self.page_count: int | None = None
        self.warnings: list[str] = []
        self._fonts = FontTable()
        self._styles = StyleSheet()
        self._body = Flow()
        self._state = State(self._body)
        self._stack: list[State] = []
        self._skip = 0
        """Characters still to be passed over, which say again what a `\\u` has said."""
        self._bytes = bytearray()
        """Read, and not yet decoded: a character may take two."""
        self._codec = "cp1252"
        self._author = ""
        self._property = ""
        self._seen: set[str] = set()
        self._footers: list[Block] = []

    def read(self, position: int) -> Iterator[Block | Progress]:
        data, match, size = self._data, _TOKEN.match, len(self._data)
        ready, tick = self._body.ready, position + _TICK
        while position < size:
            token = match(data, position)
            if token is None:
                break  # a backslash as the very last byte
            position = token.end()
            kind = token.lastindex
            if kind == 6:
                self._text(token[6])
            elif kind == 3:
                self._hex(int(token[3], 16))
            elif kind == 5:
                if not self._brace(token[5]):
                    break
            elif kind == 4:
                self._symbol(token[4])
            else:
                word, number = token[1], token[2]
                if word == b"bin":
                    self._decode()
                    position += max(0, int(number or 0))
                else:
                    self._word(word.decode("ascii"), None if number is None else int(number))
            if ready:
                yield from ready
                ready.clear()
            if position > tick:
                tick = position + _TICK
                yield Progress(done=min(position, size), total=size)
        yield from self._finish()

    def _finish(self) -> Iterator[Block]:
        if self._stack:
            self.warnings.append("The file ends in the middle: what came after that is missing.")
        while self._stack:
            self._close()
        self._decode()
        self._body.end(self._styles.level(self._state), self._state.depth)
        yield from self._body.ready
        yield from self._footers

    def _brace(self, brace: bytes) -> bool:
        """False when the document is over: what follows its last brace is no part of it."""
        self._decode()
        self._skip = 0
        if brace == b"{":
            if len(self._stack) >= DEEPEST:
                raise CorruptFile(f"{self._name!r} nests groups deeper than any program does: save it anew from Word")
            self._stack.append(self._state)
            self._state = self._state.opened()
            return True
        if self._stack:
            self._close()
        return bool(self._stack)

    def _close(self) -> None:
        """A group ends, and perhaps with it a footnote, a header, a text that was only collected."""
        self._decode()
        ended, self._state = self._state, self._stack.pop()
        if ended.capture is not self._state.capture and ended.capture is not None:
            self._captured(ended.target, clean("".join(ended.capture)))
        if ended.flow is not self._state.flow:
            ended.flow.end(self._styles.level(ended), ended.depth)
            self._aside(ended.flow)

    def _text(self, text: bytes) -> None:
        state = self._state
        if state.skipped:
            return
        text = text.translate(None, _LINE_ENDS)
        if self._skip:
            passed = min(self._skip, len(text))
            self._skip -= passed
            text = text[passed:]
        if text:
            self._add_bytes(text)

    def _hex(self, byte: int) -> None:
        if self._skip:
            self._skip -= 1
        elif not self._state.skipped:
            self._add_bytes(bytes((byte,)))

    def _add_bytes(self, data: bytes) -> None:
        codec = self._fonts.codec(self._state.font)
        if codec != self._codec:
            self._decode()
            self._codec = codec
        self._bytes += data

    def _decode(self) -> None:
        if self._bytes:
            data = bytes(self._bytes)
            self._bytes.clear()
            # In front of an item, a font of pictures has nothing but bullets.
            bullet = self._codec == SYMBOL and self._state.target in LABELS
            self._put("•" if bullet else decode(data, self._codec))

    def _put(self, text: str) -> None:
        state = self._state
        if state.skipped or state.hidden or state.deleted:
            return
        if state.target == "stylesheet":
            self._styles.text(text)
        elif state.target == "fonttbl":
            self._fonts.text(text)
        else:
            (state.flow.pieces if state.capture is None else state.capture).append(text)

    def _symbol(self, symbol: bytes) -> None:
        self._decode()
        if symbol == b"*":
            self._state.starred = True
        elif self._skip:
            self._skip -= 1
        elif symbol in b"\\{}":
            self._add_bytes(symbol)
        elif symbol == b"~":
            self._put("\u00a0")
        elif symbol == b"_":
            self._put("-")
        elif symbol in b"\r\n":
            self._end_paragraph()

    def _word(self, word: str, number: int | None) -> None:
        state = self._state
        self._decode()
        if self._skip and word != "u":
            # Of control words only signs stand in for a `\u`; programs that forget the stand-in go on with others.
            self._skip -= 1
            if word in SIGNS:
                return
            self._skip = 0
        starred, state.starred = state.starred, False
        if word == "u":
            self._unicode(number or 0)
        elif word == "uc":
            state.unicode_length = max(0, min(number or 0, 64))
        elif state.target in TABLES and not state.skipped:
            table = self._fonts if state.target == "fonttbl" else self._styles
            if not table.word(word, number):
                self._destination(word, starred)
        elif not self._destination(word, starred) and not state.skipped and not state.formatted(word, number):
            self._content(word, number)

    def _destination(self, word: str, starred: bool) -> bool:
        """A word that says what its group is for."""
        if not starred and word not in DESTINATIONS:
            return False
        state = self._state
        if word == "ud":
            state.skipped = state.before_upr
        elif word == "upr":
            state.before_upr, state.skipped = state.skipped, True
        elif word == "result":
            state.skipped = state.before_object
        elif word == "object":
            state.before_object, state.skipped = state.skipped, True
        elif state.skipped and not (word in CAPTURED and state.in_picture):
            return False
        elif word in ASIDE:
            state.flow, state.target, state.capture = Flow(word), word, None
            state.plain()
        elif word in CAPTURED:
            state.skipped, state.target, state.capture = False, word, []
        elif word in TABLES:
            state.target = word
        elif word in SKIPPED or (starred and word not in OPEN):
            state.skipped = True
            state.in_picture = state.in_picture or word == "pict"
        else:
            return False
        return True

    def _unicode(self, code: int) -> None:
        state = self._state
        if state.skipped:
            return
        self._skip = state.unicode_length
        code &= 0xFFFF
        if 0xF000 <= code <= 0xF0FF:
            self._put(sign(code))
        else:
            self._put(chr(code))

    def _content(self, word: str, number: int | None) -> None:
        state, flow = self._state, self._state.flow
        if word in SIGNS:
            self._put(SIGNS[word])
        elif word in {"par", "sect"} or (word == "page" and not flow.in_table):
            self._end_paragraph()
        elif word in {"cell", "nestcell"}:
            flow.cell(1 if word == "cell" else max(2, state.table_level))
        elif word in {"row", "nestrow"}:
            flow.row(1 if word == "row" else max(2, state.table_level))
        elif word == "ansicpg":
            self._fonts.default = of_page(number or 0) or self._fonts.default
        elif word in {"mac", "pc", "pca"}:
            self._fonts.default = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}[word]
        elif word == "deff":
            self._fonts.first = number
        elif word == "nofpages" and number and 0 < number < 1_000_000:
            self.page_count = number

    def _end_paragraph(self) -> None:
        state = self._state
        if state.skipped:
            return
        if state.capture is not None:
            state.capture.append("\n")
            return
        level = state.table_level or 1 if state.in_table else 0
        state.flow.paragraph(level, self._styles.level(state), state.depth)

    def _captured(self, target: str, text: str) -> None:
        flow = self._state.flow
        if target in LABELS:
            label = " ".join(text.split())[:60]
            # A bullet is whatever sign its font has there; of the letters, Word takes the "o" for one.
            bullet = label == "o" or not any(map(str.isalnum, label))
            flow.label = ("-" if bullet else label) if label else None
        elif target == "title":
            self.title = " ".join(text.split())[:_LONGEST_TITLE] or None
        elif target == "atnauthor":
            self._author = " ".join(text.split())[:200]
        elif target == "sn":
            self._property = text
        elif target == "sv" and self._property == "wzDescription" and text and not _FILE_NAME.fullmatch(text):
            flow.attach([Block(text=" ".join(text.split()))])

    def _aside(self, ended: Flow) -> None:
        """Something that stands outside the text has ended: it follows the paragraph that it hangs on."""
        outer = self._state.flow
        if ended.kind in {"shptxt", "dptxbxtext"}:
            outer.attach(joined(ended.ready))
            return
        text = ended.text()
        if not text:
            return
        if ended.kind == "annotation":
            author, self._author = self._author, ""
            outer.attach([Block(text=f"{author}: {text}" if author else text, kind="note")])
        elif ended.kind == "footnote":
            outer.attach([Block(text=text, kind="note")])
        # A page number alone tells nothing.
        elif text not in self._seen and any(map(str.isalpha, text)):
            self._seen.add(text)
            block = Block(text=text, kind="note")
            if ended.kind.startswith("footer"):
                self._footers.append(block)
            else:
                self._body.ready.append(block)
