"""Counting as lists do it: 1, a, iv."""

from __future__ import annotations

_ROMAN = (
    (1000, "m"),
    (900, "cm"),
    (500, "d"),
    (400, "cd"),
    (100, "c"),
    (90, "xc"),
    (50, "l"),
    (40, "xl"),
    (10, "x"),
    (9, "ix"),
    (5, "v"),
    (4, "iv"),
    (1, "i"),
)


def roman(value: int) -> str:
    """Lower-case Roman numerals; figures where Romans had none."""
    if not 0 < value < 4000:
        return str(value)
    text = ""
    for size, sign in _ROMAN:
        count, value = divmod(value, size)
        text += sign * count
    return text


def letters(value: int) -> str:
    """a to z, then aa to zz, then aaa, as Word and PowerPoint count; figures beyond reason."""
    if not 0 < value <= 26 * 30:
        return str(value)
    times, index = divmod(value - 1, 26)
    return chr(ord("a") + index) * (times + 1)


def counted(value: int, style: str) -> str:
    """`value` in a numbering style of Word ("lowerRoman") or PowerPoint ("romanLcPeriod")."""
    lowered = style.lower()
    if "roman" in lowered:
        text = roman(value)
    elif "letter" in lowered or lowered.startswith("alpha"):
        text = letters(value)
    elif lowered == "decimalzero":
        return f"{value:02d}"
    else:
        return str(value)
    return text.upper() if lowered.startswith("upper") or "uc" in lowered else text
