"""Figures in a text: numbers with their units, dates and times of day, however they are written. Pure.

"1.200" is twelve hundred in German and one and a fifth in English, and a bare "17" may be an hour: a figure keeps all
that it may mean, and two figures agree if one meaning does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

_UNITS: dict[str, tuple[str, float]] = {
    name: (kind, factor)
    for kind, factor, names in (
    ("length", 0.001, "mm millimetre millimetres millimeter millimeters"),
    ("length", 0.01, "cm centimetre centimetres centimeter centimeters zentimeter"),
    ("length", 1, "m metre metres meter meters metern mètre mètres metro metros metri metriä"),
    ("length", 1000, "km kilometre kilometres kilometer kilometers kilometern"),
    ("area", 1, "m² m2 kvm qm kvadratmeter quadratmeter"),
    ("area", 10000, "ha hectare hectares hektar"),
    ("mass", 0.000001, "mg milligram milligrams milligramm"),
    ("mass", 0.001, "g gram grams gramm"),
    ("mass", 1, "kg kilo kilos kilogram kilograms kilogramm"),
    ("mass", 1000, "t ton tons tonne tonnes tonnen"),
    ("volume", 0.001, "ml millilitre millilitres milliliter"),
    ("volume", 0.1, "dl deciliter"),
    ("volume", 1, "l litre litres liter liters litern"),
    ("time", 1, "s sec second seconds sekund sekunder sekunde sekunden"),
    ("time", 60, "min minute minutes minut minuter minuten minuutti minuuttia"),
    ("time", 3600, "h hr hour hours timme timmar timmen stunde stunden time timer heure heures hora horas uur uren"),
    ("time", 86400, "day days dag dagar dagars dygn tag tage tagen dage dager jour jours día días giorni dagen päivää"),
    ("time", 86400, "arbetsdag arbetsdagar bankdagar vardagar arbeitstag arbeitstage arbeitstagen werktage werktagen"),
    ("time", 604800, "week weeks vecka veckor veckors woche wochen uge uger uke uker semaine semaines semana semanas"),
    ("months", 1, "month months månad månader månaders monat monate monaten måneder mois mes meses kuukautta maanden"),
    ("months", 3, "quarter quarters kvartal quartal quartale"),
    ("months", 12, "year years yr yrs år års jahr jahre jahren jahres ans année años anno anni jaar vuotta"),
    ("share", 1, "% percent procent prozent prosent pour-cent"),
    ("share", 0.1, "‰ promille"),
    ("kr", 1, "kr krona kronor kronors sek kroner nok dkk"),
    ("kr", 0.01, "öre"),
    ("kr", 1000, "tkr"),
    ("kr", 1_000_000, "mkr"),
    ("euro", 1, "€ eur euro euros"),
    ("euro", 0.01, "cent cents"),
    ("dollar", 1, "$ usd dollar dollars"),
    ("pound", 1, "£ gbp pound pounds pund pfund"),
    ("franc", 1, "chf franken franc francs"),
    ("degrees", 1, "° °c degree degrees grad grader"),
    ("times", 1, "times gång gånger mal fois veces"),
    ("energy", 1, "kwh kilowattstunden kilowattimmar"),
    ("power", 1, "kw kilowatt"),
    ("noise", 1, "db decibel dezibel"),
    ("data", 0.001, "mb megabyte"),
    ("data", 1, "gb gigabyte"),
    ("data", 1000, "tb terabyte"),
    )
    for name in names.split()
}  # fmt: skip

_SCALES = {
    word: value
    for value, words in (
        (100.0, "hundred hundra hundert"),
        (1e3, "thousand tusen tausend"),
        (1e6, "million millions miljon miljoner millionen mio mn"),
        (1e9, "billion billions miljard miljarder milliarde milliarden mrd"),
    )
    for word in words.split()
}

_WRITTEN: dict[str, float] = {
    name: float(value)
    for value, names in enumerate(
        (
            "zero noll null", "one", "two två tva zwei kaksi deux dos twee", "three tre drei trois tres drie kolme",
            "four fyra vier fire neljä quatre cuatro quattro", "five fem fünf viisi cinq cinco cinque vijf",
            "six sex sechs seks kuusi seis zes", "seven sju sieben syv siete sette zeven",
            "eight åtta acht åtte otte huit ocho otto", "nine nio neun neuf nueve nove negen",
            "ten tio zehn kymmenen dix diez dieci tien", "eleven elva", "twelve tolv zwölf douze doce dodici twaalf",
            "thirteen tretton dreizehn", "fourteen fjorton vierzehn", "fifteen femton fünfzehn quinze quince",
            "sixteen sexton sechzehn", "seventeen sjutton siebzehn", "eighteen arton achtzehn",
            "nineteen nitton neunzehn", "twenty tjugo zwanzig vingt veinte",
        )
    )
    for name in names.split()
} | {
    name: float(value)
    for value, names in (
        (30, "thirty trettio dreißig"), (40, "forty fyrtio vierzig"), (50, "fifty femtio fünfzig"),
        (60, "sixty sextio sechzig"), (70, "seventy sjuttio siebzig"), (80, "eighty åttio achtzig"),
        (90, "ninety nittio neunzig"), (12, "dozen dussin dutzend"), (2, "varannan vartannat"),
        (1, "once einmal"), (2, "twice zweimal"), (3, "thrice dreimal"), (4, "viermal"), (5, "fünfmal"),
    )
    for name in names.split()
}  # fmt: skip
"""Without those that are common words elsewhere, as "to" and "elf"."""
_TIMES = {"twice", "once", "thrice", "zweimal", "einmal", "dreimal", "viermal", "fünfmal"}
_ARTICLES = {
    word
    for words in ("a an one en ett ein eine einen einem einer eines et un une una uno een",)
    for word in words.split()
}
"""Before a unit they may count: "a year" is twelve months."""
_ORDINALS = {
    word: float(value)
    for value, words in (
        (1, "first första erste ersten erster erstes"),
        (2, "second zweite zweiten zweiter zweites"),
        (3, "third tredje dritte dritten dritter drittes"),
        (4, "fourth fjärde vierte vierten vierter"),
        (5, "fifth femte fünfte fünften fünfter"),
        (6, "sixth sjätte sechste sechsten"),
    )
    for word in words.split()
}
_HALVES = {
    word
    for words in ("half halv halva halvt hälften halbe halben halber halbes halb hälfte",)
    for word in words.split()
}
_COUNTING = frozenset(_WRITTEN) | _TIMES | _ARTICLES | frozenset(_ORDINALS) | _HALVES

MONTHS: dict[str, int] = {
    name: value
    for value, names in enumerate(
        (
        "january januari januar jan janvier enero", "february februari februar feb février febrero",
        "march mars märz mar marzo", "april apr avril abril", "may maj mai mayo", "june juni jun juin junio",
        "july juli jul juillet julio", "august augusti aug août agosto", "september sep sept septembre septiembre",
        "october oktober okt oct octobre octubre", "november nov novembre noviembre",
        "december dezember dec dez décembre diciembre desember",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip

_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_DATE = re.compile(
    rf"\b(?P<y1>\d{{4}})-(?P<m1>\d\d)-(?P<d1>\d\d)\b"
    rf"|\b(?P<d2>\d{{1,2}})\.\s?(?P<m2>\d{{1,2}})\.(?:\s?(?P<y2>\d{{4}}))?(?!\d)"
    rf"|\b(?P<d3>\d{{1,2}})(?:st|nd|rd|th|:[ea]|\.)?\s+(?:of\s+|de\s+)?(?P<m3>{_MONTH})\b\.?(?:,?\s+(?P<y3>\d{{4}}))?"
    rf"|\b(?P<m4>{_MONTH})\s+(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?\b(?![:.,]\d)(?:,?\s+(?P<y4>\d{{4}}))?",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?<![^\W\d_])(?<![\d][.,:])"
    r"(?P<digits>\d{1,3}(?:[ \u00a0\u202f.,'’]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,:]\d+)?)"
    r"(?P<ordinal>st\b|nd\b|rd\b|th\b|:[ae]\b)?"
    r"(?:[ \u00a0\u202f]?-?(?P<unit>(?:[^\W\d_]|[%‰€$£°²])+\.?(?:m\.)?|m2))?"
)
_WORD = re.compile(r"[^\W\d_]+")
MOST = 40
"""Figures of one sentence; what has more is a table, of which these are compared."""
_DIGIT = re.compile(r"\d")
_SIGNS = {"€": "euro", "$": "dollar", "£": "pound"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, date or time of day, as it stands in a text."""

    start: int
    end: int
    """With its unit."""
    values: frozenset[tuple[str, float]]
    """What it may mean: a number `n`, a ratio `r`, minutes of the day `t`, or a date `d` as month and day."""
    kind: str = ""
    """Of its unit; empty if it has none."""
    factor: float = 1.0
    year: int | None = None
    soft: bool = False
    """An article, which may count or not."""

    def agrees(self, other: Figure) -> bool:
        """Whether both may mean the same."""
        if self.kind and other.kind:
            if self.kind != other.kind:
                return False
            if self.factor != other.factor:
                return any(
                    abs(a * self.factor - b * other.factor) < 1e-9 * max(1.0, abs(a * self.factor))
                    for x, a in self.values
                    for y, b in other.values
                    if x == y == "n"
                )
        if self.year is not None and other.year is not None and self.year != other.year:
            return False
        return not self.values.isdisjoint(other.values)

    def rivals(self, other: Figure) -> bool:
        """Whether the other is of the same kind, so that one may stand where the other belongs."""
        if self.kind or other.kind:
            return self.kind == other.kind
        return not {x for x, _ in self.values}.isdisjoint(x for x, _ in other.values)


def figures(text: str) -> list[Figure]:
    """Those of a text, in order, at most `MOST`."""
    found: list[Figure] = []
    taken: list[tuple[int, int]] = []
    if _DIGIT.search(text):
        for match in islice(_DATE.finditer(text), MOST):
            date = _date(match)
            if date is not None:
                found.append(date)
                taken.append(match.span())
        for match in islice(_NUMBER.finditer(text), MOST):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                found.append(_number(match, text))
                taken.append((found[-1].start, found[-1].end))
    words = list(_WORD.finditer(text))
    for place, match in enumerate(words):
        word = match.group().lower()
        figure = _written(word, words, place, text) if word in _COUNTING else None
        if len(found) >= MOST:
            break
        if figure is not None and not any(start < figure.end and match.start() < end for start, end in taken):
            found.append(figure)
            taken.append((figure.start, figure.end))
    found.sort(key=lambda figure: figure.start)
    return found[:MOST]


def _date(match: re.Match[str]) -> Figure | None:
    parts = match.groupdict()
    for form in "1234":
        if (month := parts[f"m{form}"]) is None:
            continue
        day, year = int(parts[f"d{form}"]), parts[f"y{form}"]
        number = MONTHS[month.lower()] if not month.isdigit() else int(month)
        if form == "3" and month == "may":
            return None  # "from 18 may"
        if not (1 <= number <= 12 and 1 <= day <= 31):
            return None
        value = frozenset({("d", number * 100.0 + day)})
        return Figure(match.start(), match.end(), value, "date", year=int(year) if year else None)
    return None


def _number(match: re.Match[str], text: str) -> Figure:
    digits, start, end = match["digits"], match.start(), match.end("digits")
    values = _meanings(digits)
    kind, factor = "", 1.0
    before = text[start - 1 : start]
    if before in _SIGNS:
        kind, start = _SIGNS[before], start - 1
    if match["ordinal"]:
        return Figure(start, match.end("ordinal"), values, "order")
    unit = (match["unit"] or "").lower().rstrip(".")
    if unit in _SCALES:
        values = frozenset((x, value * _SCALES[unit]) for x, value in values if x == "n")
        end = match.end("unit")
        after = _WORD.match(text, end + 1)
        unit = after.group().lower() if after else ""
        if unit in _UNITS:
            kind, factor = _UNITS[unit]
            end = after.end() if after else end
    elif unit in _UNITS:
        kind, factor = _UNITS[unit]
        end = match.end("unit")
    elif unit in ("am", "pm", "a.m", "p.m"):
        if unit[0] == "p":
            values = frozenset((x, (value % 720) + 720) for x, value in values if x == "t")
        else:
            values = frozenset((x, value % 720) for x, value in values if x == "t")
        end = match.end("unit")
    if kind and not any(x == "n" for x, _ in values):
        kind = ""
    if kind:
        values = frozenset((x, value) for x, value in values if x == "n")
    return Figure(start, end, values or frozenset({("n", -1.0)}), kind, factor)


def _meanings(digits: str) -> frozenset[tuple[str, float]]:
    found: set[tuple[str, float]] = set()
    plain = re.sub(r"[ \u00a0\u202f'’]", "", digits)
    if ":" in plain:
        left, _, right = plain.partition(":")
        if int(left[:6]) <= 24 and len(right) == 2 and int(right) < 60:
            return frozenset({("t", int(left) * 60.0 + int(right))})
        # A scale or a ratio.
        return frozenset({("r", _value(left) / max(1.0, _value(right)))})
    marks = re.findall(r"[.,]", plain)
    last = max(plain.rfind("."), plain.rfind(","))
    after = len(plain) - last - 1
    if not marks:
        number = _value(plain)
        found.add(("n", number))
        if number <= 24 and len(plain) <= 2:
            found.add(("t", number * 60))
        return frozenset(found)
    if len(set(marks)) == 2:
        found.add(("n", _value(re.sub(r"[.,]", "", plain[:last]) + "." + plain[last + 1 :])))
    elif len(marks) > 1:
        found.add(("n", _value(re.sub(r"[.,]", "", plain))))
    else:
        found.add(("n", _value(plain[:last] + "." + plain[last + 1 :])))
        if after == 3 and plain[0] != "0":
            found.add(("n", _value(plain[:last] + plain[last + 1 :])))
        left, right = plain[:last], plain[last + 1 :]
        if after == 2 and plain[last] == "." and int(left[:6]) <= 24 and int(right) < 60:
            found.add(("t", int(left) * 60.0 + int(right)))
    return frozenset(found)


def _value(digits: str) -> float:
    return float(digits[:40])


def _written(word: str, words: list[re.Match[str]], place: int, text: str) -> Figure | None:
    match = words[place]
    following = words[place + 1] if place + 1 < len(words) else None
    near = following is not None and text[match.end() : following.start()] in (" ", "\u00a0", "-")
    after = following.group().lower() if following is not None and near else ""
    start, end = match.span()
    if word in _TIMES:
        return Figure(start, end, frozenset({("n", _WRITTEN[word])}), "times")
    if word in _ORDINALS and not (place == 0 and text[end : end + 1] == ","):
        if word == "second" and after in ("", "s"):
            return None
        return Figure(start, end, frozenset({("n", _ORDINALS[word])}), "order")
    if word in _WRITTEN:
        value, kind, factor = _WRITTEN[word], "", 1.0
        if after in _SCALES and following is not None:
            value, end = value * _SCALES[after], following.end()
        elif after in _UNITS and following is not None:
            (kind, factor), end = _UNITS[after], following.end()
        elif following is not None and after in ("working", "full", "calendar", "hela", "volle", "ganze"):
            third = words[place + 2].group().lower() if place + 2 < len(words) else ""
            if third in _UNITS:
                (kind, factor), end = _UNITS[third], words[place + 2].end()
        # "one" is a pronoun as often as a number.
        return Figure(start, end, frozenset({("n", value)}), kind, factor, soft=word == "one" and not kind)
    if word in _ARTICLES and following is not None and after in _UNITS:
        kind, factor = _UNITS[after]
        return Figure(start, following.end(), frozenset({("n", 1.0)}), kind, factor, soft=True)
    if word in _HALVES:
        return Figure(start, end, frozenset({("n", 0.5)}), soft=True)
    return None
