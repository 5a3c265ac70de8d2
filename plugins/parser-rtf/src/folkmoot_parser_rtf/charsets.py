"""What the bytes of an RTF file mean: by its code page, and by the character set of each font.

The numbers are those of the RTF specification 1.9.1, "Font Table".
"""

from __future__ import annotations

import codecs
from functools import lru_cache

SYMBOL = "symbol"
"""Not a codec: the font has pictures where others have letters."""

_BY_CHARSET = {
    77: "mac_roman",
    78: "shift_jis",
    79: "euc_kr",
    80: "gb2312",
    81: "big5",
    83: "hebrew",
    84: "mac_arabic",
    85: "mac_greek",
    86: "mac_turkish",
    88: "mac_latin2",
    89: "mac_cyrillic",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gbk",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}
_PAGES = {
    10000: "mac_roman",
    10001: "shift_jis",
    10006: "mac_greek",
    10007: "mac_cyrillic",
    10029: "mac_latin2",
    936: "gbk",
    1361: "johab",
    65001: "utf-8",
    28591: "latin-1",
    20866: "koi8-r",
    21866: "koi8-u",
}

# The font that Word's own dialogs take signs from; its bytes mean nothing without it.
_SIGNS = dict(zip(range(0x41, 0x5B), "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", strict=True))
_SIGNS.update(zip(range(0x61, 0x7B), "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True))
_SIGNS.update({0xA3: "≤", 0xA5: "∞", 0xB0: "°", 0xB1: "±", 0xB3: "≥", 0xB4: "×", 0xB7: "•", 0xB9: "≠", 0xBB: "≈"})
_SIGNS.update({0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xDE: "⇒", 0xE5: "∑", 0xD6: "√", 0xF2: "∫"})
_PRIVATE = 0xF000


@lru_cache(maxsize=64)
def of_page(page: int) -> str | None:
    """The codec of a Windows code page, None if nobody knows it."""
    wanted = _PAGES.get(page, f"cp{page}")
    try:
        return codecs.lookup(wanted).name
    except LookupError:
        return None


def of_charset(charset: int) -> str | None:
    """The codec of a font's character set; None where it is the document's own."""
    return SYMBOL if charset == 2 else _BY_CHARSET.get(charset)


def decode(data: bytes, codec: str) -> str:
    """The text of `data`; what the codec has no sign for is a replacement character."""
    if codec == SYMBOL:
        return "".join(sign(byte) for byte in data)
    return data.decode(codec, "replace")


def sign(code: int) -> str:
    """A character of the Symbol font, by its byte or by the private code point that Word gives it."""
    code = code - _PRIVATE if code >= _PRIVATE else code
    found = _SIGNS.get(code)
    if found is not None:
        return found
    if code < 0x80:
        return chr(code) if code >= 0x20 and not chr(code).isalpha() else ""
    return "•"
