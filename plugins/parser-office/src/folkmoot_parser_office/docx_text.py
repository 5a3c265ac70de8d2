"""From the runs of a Word paragraph to the text that a reader sees.

Tracked changes are read as accepted: insertions stay, deletions go. Of a field its result is read, never
its code. Text formatted as hidden is left out, because the person who opens the file does not see it.
"""

from __future__ import annotations

from folkmoot_parser_office.docx_styles import Styles
from folkmoot_parser_office.tree import Node, attr, child, children, is_on, local, topmost

_DROPPED = frozenset({"del", "moveFrom", "pPr", "rPr", "sdtPr", "sdtEndPr", "rt", "delText", "delInstrText"})
_SPACED = {"noBreakHyphen": "-", "tab": "\t", "ptab": "\t", "cr": "\n", "br": "\n"}

# The two fonts that Word's own dialogs take signs from; their code points mean nothing without the font.
_SYMBOL = dict(zip(range(0x41, 0x5B), "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", strict=True))
_SYMBOL.update(zip(range(0x61, 0x7B), "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True))
_SYMBOL.update({0xA3: "≤", 0xA5: "∞", 0xB0: "°", 0xB1: "±", 0xB3: "≥", 0xB4: "×", 0xB7: "•", 0xB9: "≠", 0xBB: "≈"})
_SYMBOL.update({0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xDE: "⇒", 0xE5: "∑", 0xD6: "√", 0xF2: "∫"})
_WINGDINGS = {0x28: "☎", 0x2A: "✉", 0x4A: "☺", 0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x71: "❑", 0x72: "❒"}
_WINGDINGS.update({0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑", 0xE2: "↓", 0xE8: "➔"})
_WINGDINGS.update({0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑"})


class Pages:
    """Which page we are on, as far as Word left word of it."""

    def __init__(self, root: Node | None) -> None:
        self.known = False
        self._number = 1
        self._pending = False
        self._started = False
        for node in root.iter() if root is not None else ():
            name = local(node)
            self.known = (
                name == "lastRenderedPageBreak"
                or (name == "br" and attr(node, "type") == "page")
                or (name == "pageBreakBefore" and is_on(node))
            )
            if self.known:
                return

    @property
    def current(self) -> int | None:
        return self._number if self.known else None

    def move_to(self, page: int | None) -> None:
        if page is not None:
            self._number = page

    def text(self) -> None:
        """Something stands on the page we are on."""
        self._started = True
        self._pending = False

    def forced(self) -> None:
        """A break that the author made."""
        self._number += 1
        self._pending = True

    def before_paragraph(self) -> None:
        """A paragraph that wants a new page: it has one already at the start, or just after a break."""
        if self._started and not self._pending:
            self.forced()

    def rendered(self) -> None:
        """A break that Word noted when it last laid out the pages; it notes those that the author made too."""
        if self._pending:
            self._pending = False
        elif self._started:
            self._number += 1


class Inline:
    """The content of one paragraph, taken apart."""

    def __init__(self, pages: Pages, styles: Styles) -> None:
        self._pages, self._styles = pages, styles
        self._fields: list[bool] = []
        self._pieces: list[str] = []
        self._length = 0
        self._blank = True
        self._page = pages.current
        self.segments: list[tuple[str, int | None]] = []
        """Text and its page; more than one where the author broke the page inside the paragraph."""
        self.boxes: list[Node] = []
        """Contents of text boxes that are anchored here."""
        self.graphics: list[Node] = []
        self.notes: list[tuple[str, str]] = []
        """Kind and id of foot- and endnotes, and of comments, that are referred to."""
        self.languages: dict[str, int] = {}
        """Characters per language, where runs name one."""

    def read(self, paragraph: Node) -> Inline:
        self._walk(paragraph)
        self._close()
        return self

    @property
    def text(self) -> str:
        return "\n".join(text for text, _ in self.segments)

    def _close(self) -> None:
        text = "".join(self._pieces).replace("\u00ad", "")
        text = "\n".join(line.strip() for line in text.split("\n")).strip()
        if text:
            self.segments.append((text, self._page))
        self._pieces = []
        self._blank = True
        self._page = self._pages.current

    def _add(self, text: str) -> None:
        if False in self._fields:
            return
        if text.strip():
            if self._blank:
                self._page = self._pages.current
            self._blank = False
            self._pages.text()
        self._length += len(text)
        self._pieces.append(text)

    def _walk(self, node: Node) -> None:
        for each in children(node):
            name = local(each)
            if name == "r":
                self._run(each)
            elif name in {"oMath", "oMathPara"}:
                self._add(_formula(each))
            elif name not in _DROPPED:
                self._walk(each)

    def _run(self, run: Node) -> None:
        props = child(run, "rPr")
        if is_on(child(props, "vanish")) or self._styles.hides(attr(child(props, "rStyle"), "val")):
            # A field may begin in hidden text and end in plain text.
            for each in topmost(run, "fldChar"):
                self._field(each)
            return
        length = self._length
        for each in children(run):
            self._run_content(each)
        language = attr(child(props, "lang"), "val")
        if language and len(language) < 20:
            self.languages[language] = self.languages.get(language, 0) + self._length - length

    def _run_content(self, node: Node) -> None:
        name = local(node)
        if name == "t":
            self._add(node.text or "")
        elif name == "br" and attr(node, "type") == "page":
            self._close()
            self._pages.forced()
            self._page = self._pages.current
        elif name in _SPACED:
            self._add(_SPACED[name])
        elif name == "lastRenderedPageBreak":
            self._pages.rendered()
        elif name == "sym":
            self._add(_symbol(node))
        elif name == "fldChar":
            self._field(node)
        elif name in {"footnoteReference", "endnoteReference", "commentReference"}:
            identity = attr(node, "id")
            if identity is not None:
                self.notes.append((name.removesuffix("Reference"), identity))
        elif name in {"drawing", "pict", "object"}:
            self.boxes.extend(topmost(node, "txbxContent"))
            self.graphics.append(node)
        elif name in {"ruby", "rubyBase"}:
            # The base is read, the small guide above it ("rt") is dropped.
            self._walk(node)

    def _field(self, node: Node) -> None:
        kind = attr(node, "fldCharType")
        if kind == "begin":
            box = child(node, "ffData", "checkBox")
            if box is not None:
                state = child(box, "checked")
                ticked = is_on(state if state is not None else child(box, "default"))
                self._add("☒ " if ticked else "☐ ")
            self._fields.append(False)
        elif self._fields and kind == "separate":
            self._fields[-1] = True
        elif self._fields and kind == "end":
            self._fields.pop()


def _symbol(node: Node) -> str:
    try:
        code = int(attr(node, "char") or "", 16)
    except ValueError:
        return ""
    font = (attr(node, "font") or "").lower()
    if 0xF000 <= code <= 0xF0FF:
        code -= 0xF000
        if font.startswith("wingdings"):
            return _WINGDINGS.get(code, "")
        return _SYMBOL.get(code) or (chr(code) if 0x20 < code < 0x7F and not chr(code).isalpha() else "")
    drawable = 0x20 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xF8FF
    return chr(code) if drawable else ""


def _formula(node: Node) -> str:
    """A formula on one line, in the manner of a pocket calculator."""
    pieces: list[str] = []
    for each in children(node):
        name = local(each)
        if name == "r":
            pieces.extend(text.text or "" for text in children(each) if local(text) == "t")
        elif name == "f":
            pieces.append(f"({_part(each, 'num')})/({_part(each, 'den')})")
        elif name == "rad":
            pieces.append(f"√({_part(each, 'e')})")
        elif name in {"sSup", "sSub", "sSubSup"}:
            pieces.append(_part(each, "e"))
            pieces.extend(f"_{part}" for part in [_part(each, "sub")] if part)
            pieces.extend(f"^{part}" for part in [_part(each, "sup")] if part)
        elif not name.endswith("Pr"):
            pieces.append(_formula(each))
        if local(node) == "oMathPara":
            pieces.append(" ")
    return "".join(pieces)


def _part(node: Node, name: str) -> str:
    found = child(node, name)
    return _formula(found) if found is not None else ""
