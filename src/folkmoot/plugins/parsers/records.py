"""Nested data as somebody reads it: records are rows of names and values, what holds them a heading.

JSON and XML come here as what begins, what is said and what ends. Only what is small enough to be one row is
held back; whatever is larger is told as it comes, so a file of any size passes through.
"""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import Block

WHOLE = 1_500
"""Characters up to which something is one row with all that is in it."""
_ROW = 8_000
"""Characters of the longest row; also how much is held back at most."""
_LONG = 400
"""Characters from which on a value is told as a paragraph of its own."""
_LONGEST_BLOCK = 20_000
_LABEL = 6
"""Names of a path that are shown, the innermost."""
_COST = 8
"""What an empty thing counts, so that a million of them are not held back."""
_TITLES = frozenset(("title", "head", "heading"))
_PROSE = frozenset(("p", "para", "simpara", "paragraph", "text", "li", "line", "l", "s", "caption", "quote", "ab"))


class _Node:
    """Something that has ended: one value, or a record of several."""

    __slots__ = ("leaves", "name", "one", "size")

    def __init__(self, name: str, leaves: list[tuple[str, str]], size: int, *, one: bool = False) -> None:
        self.name, self.leaves, self.size, self.one = name, leaves, size, one


class _Frame:
    """Something that has begun and not ended."""

    __slots__ = ("depth", "element", "headed", "name", "opened", "parts", "said", "size")

    def __init__(self, name: str, depth: int, *, element: bool) -> None:
        self.name, self.depth = name, depth
        self.element = element
        """One of many in a list, or inside of such: kept together as long as it is small enough."""
        self.parts: list[str | _Node] = []
        self.size = 0
        self.said = False
        """Text stands among the parts."""
        self.opened = False
        """Something of it has been told already."""
        self.headed = False


class Records:
    """Takes what begins and ends, and gives blocks as soon as they are certain."""

    def __init__(self) -> None:
        self._stack = [_Frame("", 0, element=False)]

    @property
    def depth(self) -> int:
        return len(self._stack) - 1

    def start(self, name: str, *, element: bool = False) -> None:
        """Something called `name` begins; `element` if it is one of a list."""
        above = self._stack[-1]
        self._stack.append(_Frame(name, above.depth + 1, element=element or above.element))

    def text(self, text: str) -> Iterator[Block]:
        """Words that stand in what has begun, between its parts."""
        frame = self._stack[-1]
        frame.parts.append(text)
        frame.said = frame.said or not text.isspace()
        yield from self._grow(len(text) if frame.said else 1)

    def leaf(self, name: str, value: str) -> Iterator[Block]:
        """A value without parts."""
        if value := _tidy(value):
            self._stack[-1].parts.append(_Node(name, [("", value)], len(value), one=True))
        yield from self._grow(len(name) + len(value) + _COST)

    def end(self) -> Iterator[Block]:
        """What began last has ended."""
        frame = self._stack[-1]
        if frame.said:
            yield from self._end_said(frame)
            return
        if frame.opened or not _together(frame):
            yield from self._tell()
            self._stack.pop()
            return
        self._stack.pop()
        nodes = [part for part in frame.parts if isinstance(part, _Node)]
        if nodes:
            one = len(nodes) == 1 and nodes[0].one and not nodes[0].name
            leaves = [(_path(node.name, label), value) for node in nodes for label, value in node.leaves]
            self._stack[-1].parts.append(_Node(frame.name, leaves, frame.size, one=one))
        yield from self._grow(frame.size + len(frame.name) + _COST)

    def rest(self) -> Iterator[Block]:
        """What is held back still, at the end of the file."""
        yield from self._tell()

    def _end_said(self, frame: _Frame) -> Iterator[Block]:
        """Words with parts among them: all of it is one text."""
        if frame.opened:
            yield from self._tell()
            self._stack.pop()
            return
        self._stack.pop()
        attributes = [part for part in frame.parts if isinstance(part, _Node) and part.name.startswith("@")]
        said = _tidy(_flat([part for part in frame.parts if part not in attributes]))
        above = self._stack[-1]
        leaves = [*((node.name, node.leaves[0][1]) for node in attributes), ("", said)]
        above.parts.append(_Node(frame.name, leaves, len(said), one=not attributes))
        yield from self._grow(frame.size + len(frame.name) + _COST)

    def _grow(self, size: int) -> Iterator[Block]:
        frame = self._stack[-1]
        frame.size += size
        if frame.size > _ROW:
            yield from self._tell()

    def _tell(self) -> Iterator[Block]:
        """Everything that is held back, from the outermost: what stands first is read first."""
        for frame in self._stack:
            if frame.parts:
                yield from _blocks(frame)
            frame.opened = frame.opened or frame.size > 0
            frame.parts, frame.size = [], 0


def _together(frame: _Frame) -> bool:
    """Whether what has ended is one row, and not several."""
    if frame.size > WHOLE and not frame.element:
        return False
    nodes = [part for part in frame.parts if isinstance(part, _Node)]
    if frame.element:
        return True
    if any(_bare(node.name) in _PROSE for node in nodes) and any(_bare(node.name) in _TITLES for node in nodes):
        return False
    names = [node.name for node in nodes if not node.one]
    return len(names) == len(set(names))


def _blocks(frame: _Frame) -> Iterator[Block]:
    if frame.said:
        yield from _cut(_tidy(_flat(frame.parts)))
        return
    nodes = [part for part in frame.parts if isinstance(part, _Node)]
    if not frame.headed and frame.depth:
        frame.headed = True
        at = next((at for at, node in enumerate(nodes[:3]) if node.one and _bare(node.name) in _TITLES), None)
        title = nodes.pop(at).leaves[-1][1] if at is not None else _bare(frame.name)
        if title and len(title) <= _LONG and (at is not None or (frame.depth > 1 and not frame.element)):
            yield Block(text=" ".join(title.split()), kind="heading", level=min(frame.depth, 6))
        elif at is not None:
            yield from _cut(title)
    row: list[str] = []
    for node in nodes:
        value = node.leaves[-1][1]
        prose = node.one and (len(value) > _LONG or "\n\n" in value or _bare(node.name) in _PROSE)
        if prose or not node.one:
            yield from _row(row)
            row = []
        if prose:
            yield from _cut(value)
        elif node.one:
            row.append(f"{_shown(node.name)}: {value}" if node.name else value)
        else:
            yield from _record(node)
    yield from _row(row)


def _record(node: _Node) -> Iterator[Block]:
    row: list[str] = []
    long: list[str] = []
    before = ""
    for path, value in node.leaves:
        label = _shown(_path(node.name, path))
        if len(value) > _LONG:
            long.append(value)
        elif row and label == before:
            row[-1] += f", {value}"  # one of a list
        else:
            row.append(f"{label}: {value}" if label else value)
        before = label
    yield from _row(row)
    for value in long:
        yield from _cut(value)


def _row(cells: list[str]) -> Iterator[Block]:
    if text := "; ".join(" ".join(cell.split()) for cell in cells):
        yield Block(text=text, kind="row")


def _cut(text: str) -> Iterator[Block]:
    for start in range(0, len(text), _LONGEST_BLOCK):
        if piece := text[start : start + _LONGEST_BLOCK].strip():
            yield Block(text=piece)


def _flat(parts: list[str | _Node]) -> str:
    return "".join(part if isinstance(part, str) else " ".join(value for _, value in part.leaves) for part in parts)


def _tidy(text: str) -> str:
    """Lines without the white space around them; what was indented was so for the file's sake."""
    if "\n" not in text:
        return " ".join(text.split())
    return "\n".join(" ".join(line.split()) for line in text.strip().split("\n")).strip()


def _bare(name: str) -> str:
    return name.removeprefix("@")


def _path(name: str, label: str) -> str:
    """`name.label`, of which the innermost names stay: a path may be as deep as the file is long."""
    if not name or label.count(".") >= _LABEL:
        return label
    return f"{name}.{label}" if label else name


def _shown(path: str) -> str:
    return ".".join(map(_bare, path.split(".")))
