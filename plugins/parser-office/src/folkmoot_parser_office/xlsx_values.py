"""Cell values as people see them, by the cell's number format.

Dates become ISO 8601 whatever the format's order, so that a question about a date finds it. Thousands
separators and colours are left out; decimals, percent signs, units and leading zeros stay, for they carry
meaning. Number formats are those of ISO/IEC 29500-1, 18.8.30 and 18.8.31.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from folkmoot_parser_office.tree import Node, attr, child, children, local, number

Formatter = Callable[[str], str]
"""The text of a stored number."""

_BUILT_IN = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    14: "yyyy-mm-dd",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yy h:mm",
    37: "#,##0",
    38: "#,##0",
    39: "#,##0.00",
    40: "#,##0.00",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
}
# Dates in the calendars of East Asian editions.
_BUILT_IN.update(dict.fromkeys((*range(27, 37), *range(50, 59)), "yyyy-mm-dd"))

_TOKEN = re.compile(
    r'"([^"]*)"|\\(.)|_.|\*.|\[\$([^\]-]*)[^\]]*\]|\[(h+|m+|s+)\]|\[[^\]]*\]|(.)', re.IGNORECASE | re.DOTALL
)
_DIGITS = re.compile(r"[0#?][0#?,]*(?:\.([0#?]*))?|\.([0#?]+)")
_LONGEST_UNIT = 12
_LAST_DAY = 2_958_466
"""Excel's calendar ends with the year 9999."""


class _Format(NamedTuple):
    prefix: str
    suffix: str
    zeros: int
    least: int
    most: int
    percent: bool


def general(text: str) -> str:
    """A number without a format: no needless decimals, no noise of binary fractions."""
    if len(text) < 16 and text.lstrip("-").isdigit():
        return text
    value = float(text)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.15g}"


def formatter(code: str, epoch_1904: bool) -> Formatter:
    """How numbers look in a format such as `0.00%` or `d mmm yyyy`."""
    section = _sections(code)
    literals, bare, elapsed = _parts(section)
    lowered = bare.lower().replace("general", "").replace("am/pm", "").replace("a/p", "")
    if elapsed:
        return _duration
    is_time = "h" in lowered or "s" in lowered
    is_date = any(sign in lowered for sign in "yd") or ("m" in lowered and not is_time)
    if is_date or is_time:
        return _calendar(is_date, is_time or "mm:" in lowered, epoch_1904)
    found = _DIGITS.search(bare)
    if found is None or "e+" in lowered or "e-" in lowered or "/" in lowered or "@" in lowered:
        return general
    if found[0].endswith(",") or bare.startswith(",", found.end()):
        # A scale ("in millions"), which only the heading tells; the true number serves better.
        return general
    decimals = found[1] or found[2] or ""
    shape = _Format(
        prefix=_unit("".join(text for at, text in literals if at <= found.start())),
        suffix=_unit("".join(text for at, text in literals if at >= found.end())),
        zeros=found[0].partition(".")[0].count("0"),
        least=decimals.count("0"),
        most=len(decimals),
        percent="%" in bare,
    )
    return lambda text: _figure(text, shape)


def _sections(code: str) -> str:
    """The part of a format that is for positive numbers."""
    quoted = False
    for at, sign in enumerate(code):
        if sign == '"':
            quoted = not quoted
        elif sign == ";" and not quoted:
            return code[:at]
    return code


def _parts(section: str) -> tuple[list[tuple[int, str]], str, bool]:
    """Literals with their places, what is left without them, and whether it counts hours beyond a day."""
    literals: list[tuple[int, str]] = []
    bare = ""
    elapsed = False
    for match in _TOKEN.finditer(section[:255]):
        literal = match[1] or match[2] or match[3]
        if literal:
            literals.append((len(bare), literal))
        elif match[4]:
            elapsed = True
        elif match[5]:
            if match[5] in "$€£¥":
                literals.append((len(bare), match[5]))
            else:
                bare += match[5]
    return literals, bare, elapsed


def _unit(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_UNIT and re.search(r"[^\W\d_]|[$€£¥°%]", text) else ""


def _figure(text: str, shape: _Format) -> str:
    value = float(text)
    if abs(value) >= 1e15:
        return general(text)
    if shape.percent:
        value *= 100
    # Excel rounds halves away from zero, and does so on 15 digits.
    value = float(f"{value:.15g}")
    shown = f"{abs(value) + 1e-12 if shape.most < 10 else abs(value):.{shape.most}f}"
    whole, point, decimals = shown.partition(".")
    while len(decimals) > shape.least and decimals.endswith("0"):
        decimals = decimals[:-1]
    figure = whole.zfill(min(shape.zeros, 20)) + (point + decimals if decimals else "")
    sign = "-" if value < 0 and figure.strip("0.") else ""
    suffix = "%" if shape.percent else f" {shape.suffix}" if shape.suffix else ""
    prefix = shape.prefix + (" " if shape.prefix[-1:].isalnum() else "") if shape.prefix else ""
    return f"{sign}{prefix}{figure}{suffix}"


def _calendar(is_date: bool, is_time: bool, epoch_1904: bool) -> Formatter:
    epoch = datetime(1904, 1, 1) if epoch_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 - workbooks know no zones

    def show(text: str) -> str:
        serial = float(text)
        if not 0 <= serial < _LAST_DAY:
            return general(text)
        if not epoch_1904 and serial < 60:
            # Excel believes that 1900 was a leap year, so its days before March are off by one.
            serial += 1
        moment = epoch + timedelta(seconds=round(serial * 86_400))
        time = moment.strftime("%H:%M:%S" if moment.second else "%H:%M")
        if not is_date:
            return time
        date = moment.date().isoformat()
        return f"{date} {time}" if is_time and (moment.hour or moment.minute or moment.second) else date

    return show


def _duration(text: str) -> str:
    value = float(text)
    if abs(value) > _LAST_DAY:
        return general(text)
    minutes, seconds = divmod(round(abs(value) * 86_400), 60)
    shown = f"{minutes // 60}:{minutes % 60:02d}" + (f":{seconds:02d}" if seconds else "")
    return f"-{shown}" if value < 0 else shown


def formatters(styles: Node | None, epoch_1904: bool) -> list[Formatter]:
    """A formatter for each cell style of the workbook, by its number."""
    codes = dict(_BUILT_IN)
    made: dict[int, Formatter] = {}
    found: list[Formatter] = []
    custom = child(styles, "numFmts")
    for node in children(custom) if custom is not None else ():
        identity = number(node, "numFmtId")
        if identity is not None:
            codes[identity] = attr(node, "formatCode") or ""
    cells = child(styles, "cellXfs")
    for node in children(cells) if cells is not None else ():
        if local(node) != "xf":
            continue
        identity = number(node, "numFmtId") or 0
        if identity not in made:
            made[identity] = formatter(codes.get(identity, ""), epoch_1904)
        found.append(made[identity])
    return found
