"""What Word, PowerPoint and Excel share: text in shapes, charts and SmartArt (DrawingML)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from folkmoot_parser_office.package import Package
from folkmoot_parser_office.tree import Node, attr, child, children, local, number, topmost

_MOST_POINTS = 2_000
"""Points of a chart that are written out; more is a measurement series, and the workbook has it."""
_FILE_NAME = re.compile(r"\S*\.\w{2,4}|\S*[\\/]\S*")
_GUESSED = ("automatically generated", "ai-generated content")


def paragraph_text(paragraph: Node) -> str:
    """The text of one `a:p`, without slide numbers, `\\n` at line breaks."""
    pieces: list[str] = []
    for node in children(paragraph):
        name = local(node)
        if name == "br":
            pieces.append("\n")
        elif name == "r" or (name == "fld" and attr(node, "type") != "slidenum"):
            text = child(node, "t")
            pieces.append(text.text or "" if text is not None else "")
        elif name in {"m", "oMath", "oMathPara"}:
            pieces.extend(each.text or "" for each in topmost(node, "t"))
    text = "".join(pieces).replace("\v", "\n").replace("\u00ad", "")
    return "\n".join(line.strip() for line in text.split("\n")).strip()


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def alternative_text(properties: Node | None) -> str:
    """What the author says that a picture shows; not the name of its file, and not a program's guess."""
    text = one_line(attr(properties, "descr") or "")
    if _FILE_NAME.fullmatch(text) or any(sign in text.lower() for sign in _GUESSED):
        return ""
    return text


def table_text(rows: list[list[str]]) -> str:
    """Rows as lines, cells joined by ` | `; empty rows and columns that are empty throughout left out."""
    filled = [row for row in rows if any(row)]
    width = max((len(row) for row in filled), default=0)
    used = [column for column in range(width) if any(column < len(row) and row[column] for row in filled)]
    lines = [" | ".join(row[column] if column < len(row) else "" for column in used) for row in filled]
    return "\n".join(line.strip() for line in lines)


def chart(package: Package, part: str) -> Iterator[tuple[str, str]]:
    """The title of a chart and its figures, as pairs of block kind and text."""
    root = package.find_tree(part, "A chart")
    body = child(root, "chart")
    if body is None:
        return
    title = child(body, "title")
    if title is not None:
        lines = [paragraph_text(node) for node in topmost(title, "p")]
        if any(lines):
            yield "paragraph", "\n".join(line for line in lines if line)
    table = _chart_table(body)
    if table:
        yield "table", table


def _chart_table(body: Node) -> str:
    names: list[str] = []
    series: list[dict[int, str]] = []
    categories: dict[int, str] = {}
    for node in topmost(body, "ser"):
        values = _points(child(node, "val")) or _points(child(node, "yVal"))
        if len(values) > _MOST_POINTS or len(series) > 50:
            continue
        names.append(one_line(" ".join(_points(child(node, "tx")).values())))
        series.append(values)
        categories = categories or _points(child(node, "cat")) or _points(child(node, "xVal"))
    indexes = sorted(set(categories).union(*series))
    rows = [["", *names]]
    rows += [[categories.get(at, ""), *(values.get(at, "") for values in series)] for at in indexes[:_MOST_POINTS]]
    return table_text(rows)


def _points(node: Node | None) -> dict[int, str]:
    if node is None:
        return {}
    points: dict[int, str] = {}
    for point in topmost(node, "pt"):
        text = child(point, "v")
        index = number(point, "idx")
        if text is not None and text.text and index is not None:
            points[index] = _clean(text.text)
    if not points:
        text = child(node, "v")
        if text is not None and text.text:
            points[0] = _clean(text.text)
    return points


def _clean(text: str) -> str:
    """One line, and a figure without the noise of binary fractions."""
    line = one_line(text)
    if len(line) > 15 and "." in line:
        with contextlib.suppress(ValueError):
            return f"{float(line):.15g}"
    return line


def diagram(package: Package, part: str) -> str:
    """The texts of a SmartArt picture, one a line."""
    root = package.find_tree(part, "A diagram")
    lines: list[str] = []
    for point in topmost(root, "pt") if root is not None else ():
        if (attr(point, "type") or "node") in {"node", "asst"}:
            text = one_line(" ".join(paragraph_text(node) for node in topmost(point, "p")))
            if text:
                lines.append(f"- {text}")
    return "\n".join(lines)


def graphic(package: Package, frame: Node, target: Callable[[str | None], str]) -> Iterator[tuple[str, str]]:
    """Charts and SmartArt inside a frame; `target` says which part a relationship's id means."""
    for node in topmost(frame, "chart", "relIds"):
        if local(node) == "chart":
            part = target(attr(node, "id"))
            if part:
                yield from chart(package, part)
        else:
            part = target(attr(node, "dm"))
            text = diagram(package, part) if part else ""
            if text:
                yield "list", text
