"""What the words of a sentence are to the check of answers: stems, negations, duties, bounds, closed classes. Pure.

The lists are closed classes and the commonest synonyms of offices in English, Swedish and German, with the negations of
some neighbours. In other languages only stems, figures and names are compared.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import Stemmer

from folkmoot.conversations.figures import Figure, figures
from folkmoot.fulltext.stop_words import STOP_WORDS
from folkmoot.fulltext.words import LONGEST_WORD, SNOWBALL

_TOKEN = re.compile(r"(?:\b[^\W\d_]-)?[^\W_]+(?:['’][^\W_]+)?")
_GENITIVE = re.compile("['’]s?$")
_DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]+")

_MORE_STOPS = {
    "en": """may might must shall could also per via within upon therefore thus however please would like get gets got
        us one else even yet still every each without cannot whether whose onto until unless while among need needs
        needed required want wants whoever anyone everyone somebody nobody nothing anything always never according
        means mean case able first'""",
    "sv": """får måste bör även också samt per ja dock cirka ska måsta kunna vill istället både antingen genom hos vid
        behöver behövs enligt alltid aldrig varandra gäller dessutom annars utom före innan minst högst""",
    "de": """darf dürfen müssen sollen sollte je pro ja bzw sowie jedoch beim vom bis ab kann können möchten binnen
        innerhalb laut gemäß wird bitte sofern falls bereits immer nie stets erst höchstens mindestens maximal gilt
        gelten brauchen braucht bekommen bekommt erhalten erhält""",
}  # fmt: skip
_STOPS = {code: words | frozenset(_MORE_STOPS.get(code, "").split()) for code, words in STOP_WORDS.items()}

_NOT = frozenset(
    [
        "not",
        "no",
        "never",
        "neither",
        "none",
        "nobody",
        "nothing",
        "cannot",
        "without",
        "inte",
        "ej",
        "icke",
        "aldrig",
        "ingen",
        "inget",
        "inga",
        "ingenting",
        "utan",
        "varken",
        "nicht",
        "kein",
        "keine",
        "keinen",
        "keinem",
        "keiner",
        "keines",
        "nie",
        "niemals",
        "niemand",
        "nichts",
        "ohne",
        "weder",
        "ikke",
        "ikkje",
        "aldri",
        "ingenting",
        "niet",
        "geen",
        "nooit",
        "zonder",
        "ne",
        "pas",
        "jamais",
        "aucun",
        "aucune",
        "sans",
        "ni",
        "nunca",
        "sin",
        "nao",
        "não",
        "sem",
        "ei",
        "eivät",
        "emme",
        "et",
        "älä",
        "ilman",
    ]
)
"""Words that deny what stands next to them; `n't` is cut off before."""
_AHEAD = frozenset(
    [
        "no",
        "without",
        "ingen",
        "inget",
        "inga",
        "utan",
        "kein",
        "keine",
        "keinen",
        "keinem",
        "keiner",
        "keines",
        "ohne",
        "uten",
        "sans",
        "sin",
    ]
)
"""Those that deny only what follows."""
_NOT_NO = re.compile(
    r"\b(?:not (?:only|just)|whether or not|inte (?:bara|enbart|minst)|nicht (?:nur|zuletzt)|no\. ?(?=\d)|no doubt|why not)\b",
    re.IGNORECASE,
)
_CONCEPTS: dict[str, tuple[str, bool]] = {
    name: (concept, denied)
    for concept, denied, names in (
    ("#permit", False, "may allowed allow allows permitted permit permits permissible can får tillåtet tillåten tillåtna "
     "tillåts tillåter tillåta darf dürfen erlaubt erlauben erlaubte zulässig gestattet kann können"),
    ("#permit", True, "forbidden forbid forbids prohibited prohibit prohibits banned förbjudet förbjuden förbjudna förbjuds "
     "förbjuder otillåtet verboten verbietet untersagt unzulässig"),
    ("#oblige", False, "must shall required requires require obliged mandatory compulsory obligatory måste ska skall krävs "
     "kräver obligatorisk obligatoriskt obligatoriska behöver behövs skyldig skyldiga muss müssen verpflichtet "
     "erforderlich pflicht benötigt benötigen brauchen braucht brauche need needs needed necessary nödvändigt"),
    ("#advise", False, "should recommended recommend recommends advised bör rekommenderas rekommenderar sollte sollten "
     "empfohlen empfiehlt"),
    )
    for name in names.split()
}  # fmt: skip
"""What may, must or should be; and whether the word says that it may not."""
_HAVE_TO = re.compile(r"\b(?:has|have|had) to\b|\b(?:ist|sind)\b(?=[^.;]{0,80}?\bzu \w+en\b)", re.IGNORECASE)

_MORE = (
    r"more|greater|longer|higher|older|larger|over|above|exceed\w*|mer|fler|längre|högre|äldre|större|över|överstig\w+|mehr|"
    r"länger|höher|älter|größer|über|übersteig\w+"
)
_LESS = (
    r"less|fewer|shorter|lower|younger|smaller|under|below|closer|nearer|mindre|färre|kortare|lägre|yngre|närmare|weniger|"
    r"kürzer|niedriger|jünger|kleiner|unter|näher"
)
_BOUND = re.compile(
    rf"""(?P<most>\b(?:at\ (?:most|the\ most)|up\ to|max(?:imum|imal\w*|imalt)?|högst|som\ (?:mest|längst)|upp\ till|höchstens|
      längstens|bis\ zu|no\ later)\b)
    |(?P<least>\b(?:at\ least|min(?:imum)?|minst|åtminstone|lägst|mindestens|wenigstens|minimal)\b)
    |(?P<more>\b(?:{_MORE})\b(?:[^.;,]{{0,40}}?\b(?:than|än|als|the)\b)?)
    |(?P<less>\b(?:{_LESS})\b(?:[^.;,]{{0,40}}?\b(?:than|än|als|the)\b)?)""",
    re.IGNORECASE | re.VERBOSE,
)
_BOUND_AFTER = re.compile(
    r"\s*\w{0,14}\s*(?:(?P<least>or (?:more|over|older|above)|eller (?:fler|mer|äldre|högre)|oder (?:mehr|älter|höher))"
    r"|(?P<most>or (?:less|fewer|under|younger|below)|eller (?:färre|mindre|yngre)|oder (?:weniger|jünger)))\b",
    re.IGNORECASE,
)

_AHEAD_OF = re.compile(
    r"\s*(?:\w+\s+)?(?:before|ahead|prior|earlier|in advance|innan|före|i förväg|vorher|vor|im voraus)\b", re.IGNORECASE
)

_ALL = frozenset(
    [
        "all",
        "every",
        "everyone",
        "everybody",
        "always",
        "everywhere",
        "entire",
        "whole",
        "any",
        "alla",
        "allt",
        "alltid",
        "överallt",
        "samtliga",
        "hela",
        "varje",
        "alle",
        "aller",
        "allen",
        "immer",
        "überall",
        "sämtliche",
        "ganzen",
        "gesamte",
        "jeder",
        "jede",
        "jedes",
        "jedem",
        "stets",
        "unbegrenzt",
        "unlimited",
    ]
)
_SOME = frozenset(
    [
        "some",
        "several",
        "certain",
        "sometimes",
        "often",
        "usually",
        "most",
        "many",
        "vissa",
        "några",
        "ibland",
        "ofta",
        "oftast",
        "flera",
        "många",
        "einige",
        "manche",
        "manchmal",
        "oft",
        "meist",
        "meistens",
        "mehrere",
        "viele",
    ]
)
_ONLY = frozenset(
    [
        "only",
        "solely",
        "exclusively",
        "except",
        "unless",
        "bara",
        "endast",
        "enbart",
        "utom",
        "nur",
        "lediglich",
        "ausschließlich",
        "außer",
    ]
)

CLASSES: dict[str, tuple[str, str]] = {
    name: (kind, row.split()[0])
    for kind, rows in (
    ("weekday", "monday mondays måndag måndagar måndagen montag montags|tuesday tuesdays tisdag tisdagar tisdagen dienstag dienstags|"
     "wednesday wednesdays onsdag onsdagar onsdagen mittwoch mittwochs|thursday thursdays torsdag torsdagar torsdagen donnerstag donnerstags|"
     "friday fridays fredag fredagar fredagen freitag freitags|saturday saturdays lördag lördagar lördagen samstag samstags sonnabend|"
     "sunday sundays söndag söndagar söndagen sonntag sonntags"),
    ("month", "january januari januar|february februari februar|march mars märz|april|maj|june juni|july juli|august augusti|"
     "september|october oktober|november|december dezember"),
    ("season", "spring våren vår frühling frühjahr|summer sommar sommaren sommer sommers|autumn höst hösten herbst|winter vinter vintern winters"),
    ("compass", "north norr norden nord|south söder süden süd|east öster osten ost|west väster westen"),
    ("colour", "red röd rött röda rot rote roten rotes|green grön grönt gröna grün grüne grünen grünes|blue blå blått blåa blau blaue blauen|"
     "yellow gul gult gula gelb gelbe gelben|black svart svarta schwarz schwarze schwarzen|white vit vitt vita weiß weiße weißen|"
     "brown brun brunt bruna braun braune braunen|orange|grey gray grå grått gråa grau graue"),
    ("rate", "hourly stündlich|daily dagligen täglich dygn|weekly veckovis wöchentlich|monthly månadsvis monatlich|"
     "yearly annual annually årlig årligen årliga jährlich jährliche"),
    ("size", "large big larger stor stort stora större groß große großen|small little smaller liten litet lilla små mindre klein kleine kleinen"),
    ("open", "open opens öppen öppet öppna öppnar geöffnet offen öffnet|closed closes stängd stängt stängda stänger geschlossen schließt"),
    ("change", "increase increases increased raise raised höjs höjas höjer ökar öka erhöht erhöhen steigt|"
     "decrease decreases decreased reduce reduced lowered sänks sänkas sänker minskar minska senkt gesenkt sinkt"),
    ("age", "adult adults vuxen vuxna erwachsene erwachsenen|child children barn barnen kind kinder kindern"),
    ("side", "left vänster vänstra links linke linken|right höger högra rechts rechte rechten"),
    ("place", "inside indoors indoor inomhus drinnen innen|outside outdoors outdoor utomhus draußen außen"),
    )
    for row in rows.split("|")
    for name in row.split()
}  # fmt: skip
"""Words of which one excludes the others, by their class and the first of their row."""

_SYNONYMS: dict[str, Sequence[str]] = {
    "en": (
        "fee charge cost costs price pay paid", "begin start starts commence", "end ends finish finishes",
        "help support assist", "send submit hand", "staff employee employees personnel worker",
        "buy purchase", "keep kept retain retained store stored save", "large big", "free gratis",
        "delete deleted erase remove", "get receive obtain gets", "show display",
        "inform informed told tell notify notified", "change alter altered modify amended", "repair fix",
        "car vehicle", "need require", "quick fast", "allow permit", "application apply request",
        "yearly annual annually year", "phone telephone call", "law act legislation",
        "dispose discard", "off out", "turn switch", "under below",
    ),
    "sv": (
        "avgift kostnad pris kosta kostar betala betalas betalar", "börja starta påbörja", "sluta avsluta upphöra",
        "skicka lämna sända", "anställd medarbetare personal", "köpa inköp", "spara bevara lagra", "stor större",
        "ta bort radera gallra", "få erhålla", "bil fordon",
        "ändra ändring", "ansöka ansökan", "år årligen årlig",
        "öppen öppet öppettider", "meddela informera underrätta",
    ),
    "de": (
        "gebühr kosten kostet preis beträgt zahlen bezahlen zahlt", "beginnen anfangen beginn start",
        "enden aufhören", "senden schicken einreichen", "beschäftigte mitarbeiter angestellte personal",
        "kaufen erwerben", "aufbewahren speichern", "groß größer", "kostenlos gratis kostenfrei unentgeltlich",
        "löschen entfernen", "auto fahrzeug wagen", "ändern änderung",
        "antrag beantragen", "jahr jährlich", "gleichen selben gleiche selbe", "geöffnet offen öffnet öffnungszeiten", "mitteilen informieren",
        "woche wöchentlich",
        "rabatt nachlass ermäßigung", "maximal höchstens",
    ),
}  # fmt: skip
# Between clauses; where a number and what it is of do not belong together any more.
_BREAK = re.compile(
    r"[,;:()–—](?!\d)|\b(?:and|or|but|while|whereas|och|eller|men|medan|und|oder|aber|sondern|während|because|since|if|when|"
    r"unless|except|om|när|eftersom|utom|wenn|falls|weil|außer|sofern)\b|[.!?](?=\s)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word."""

    word: str
    """In small letters."""
    key: str
    """Its stem; a group of synonyms has one."""
    start: int
    part: int
    """Number of its clause."""
    stop: bool
    name: bool
    """In capitals within a sentence, or a code as "E5"."""
    place: tuple[str, str] | None = None
    """In a closed class: a weekday, a colour."""


@dataclass(slots=True)
class Wording:
    """The words of a sentence as they are compared."""

    tokens: list[Token]
    figures: list[Figure]
    parts: list[int]
    """Of each figure."""
    breaks: list[int]
    """Where clauses end."""
    bounds: list[int]
    """Of each figure: 1 at least, -1 at most, 0 neither."""
    denials: tuple[tuple[frozenset[str], frozenset[str]], ...] = ()
    """For each negation what it denies in the first place, and all that stands about it; keys and concepts."""
    concepts: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    """`all`, `some`, `only`."""
    only: frozenset[str] = frozenset()
    """Keys and concepts of the clause with "only"."""
    digits: frozenset[str] = frozenset()
    """Of its figures."""
    keys: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Places of the words that say something, by key."""


class _Stems(threading.local):
    """Snowball's state belongs to one thread."""

    def __init__(self) -> None:
        self._stems: dict[str, Any] = {}
        self._groups: dict[str, dict[str, str]] = {}
        self._known: dict[str, dict[str, str]] = {}

    def of(self, language: str) -> Callable[[str], str]:
        """(a word in small letters) -> the key of its stem, or of the synonyms it belongs to."""
        if language not in self._groups:
            # The library has no types.
            library: Any = Stemmer
            stem: Any = library.Stemmer(SNOWBALL[language]).stemWord if language in SNOWBALL else str
            self._stems[language], self._known[language] = stem, {}
            self._groups[language] = {
                stem(word): f"={number}"
                for number, row in enumerate(_SYNONYMS.get(language, ()))
                for word in row.split()
            }
        stem, groups, known = self._stems[language], self._groups[language], self._known[language]

        def key(word: str) -> str:
            found = known.get(word)
            if found is None:
                if len(known) >= _MOST_REMEMBERED:
                    known.clear()
                stemmed = stem(word[:LONGEST_WORD])
                place = CLASSES.get(word)
                found = "@" + place[1] if place is not None else str(groups.get(stemmed, stemmed))
                known[word] = found
            return found

        return key


_STEMS = _Stems()
_MOST_REMEMBERED = 50_000


def keys_of(text: str, language: str) -> set[str]:
    """Keys of the words of a text that say something, quickly: for finding out where to look closer."""
    key, stops = _STEMS.of(language), _STOPS.get(language, frozenset[str]())
    found: set[str] = set()
    for word in _TOKEN.findall(text.lower()):
        if word in stops or word in _NOT or word in _CONCEPTS:
            continue
        if _DENSE.match(word):
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
        else:
            found.add(key(word))
    return found


def language_of(text: str, otherwise: str = "") -> str:
    """Whose small words a text uses; `otherwise` if none or several do."""
    words = {word for word in _TOKEN.findall(text[:1500].lower()) if len(word) > 1}
    counts = {code: len(words & stops) for code, stops in _STOPS.items()}
    most = max(counts.values())
    # A short sentence shares its small words with other languages.
    if counts.get(otherwise, 0) >= max(1, most - 1):
        return otherwise
    spoken = [code for code, count in counts.items() if count == most]
    return spoken[0] if most and len(spoken) == 1 else otherwise


def wording(text: str, language: str) -> Wording:
    """Take a sentence apart."""
    found = figures(text)
    breaks = [match.start() for match in _BREAK.finditer(text)]
    skipped = [match.span() for match in _NOT_NO.finditer(text)]
    inside = [(figure.start, figure.end) for figure in found if not figure.soft]
    tokens = list(_tokens(text, language, breaks, inside))
    parts = [_part(breaks, figure.start) for figure in found]
    spent: set[int] = set()
    bounds = [_bound(text, figure, spent) for figure in found]
    denials, concepts = _denials(text, tokens, skipped, spent)
    words = {token.word for token in tokens}
    marks = {name for name, list_ in (("all", _ALL), ("some", _SOME), ("only", _ONLY)) if words & list_}
    limited = {token.part for token in tokens if token.word in _ONLY}
    only = frozenset(key for token in tokens if token.part in limited and (key := _meant(token)) is not None)
    digits = frozenset(part for figure in found for part in _TOKEN.findall(text[figure.start : figure.end].lower()))
    keys: dict[str, list[int]] = {}
    for place, token in enumerate(tokens):
        if not token.stop:
            keys.setdefault(token.key, []).append(place)
    return Wording(tokens, found, parts, breaks, bounds, denials, concepts, frozenset(marks), only, digits, keys)


def _tokens(text: str, language: str, breaks: list[int], inside: list[tuple[int, int]]) -> Iterator[Token]:
    key_of, stops = _STEMS.of(language), _STOPS.get(language, frozenset[str]())
    first, part = True, 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        while part < len(breaks) and breaks[part] < start:
            part += 1
        if inside and any(a <= start < b for a, b in inside):
            first = False
            continue
        raw = match.group()
        if not raw.isascii() and _DENSE.match(raw):
            for at in range(max(1, len(raw) - 1)):
                pair = raw[at : at + 2]
                yield Token(pair, pair, start + at, 0, stop=False, name=False)
            continue
        word = raw.lower()
        if not word.isalnum():
            if "-" in word:
                word = word.replace("-", "")
            if word.endswith(("n't", "n’t")):
                yield Token(word[:-3], word[:-3], start, part, stop=True, name=False)
                yield Token("not", "not", match.end() - 3, part, stop=True, name=False)
                continue
            word = _GENITIVE.sub("", word)
        code = not word.isalpha() and any(c.isdigit() for c in word)
        capitals = len(raw) > 1 and raw.isupper()
        name = code or capitals or (not first and raw[0].isupper() and language != "de")
        place = CLASSES.get(word)
        stop = not (code or capitals or place) and (
            word in stops or word in _NOT or word in _CONCEPTS or len(word) == 1
        )
        yield Token(word, word if code else key_of(word), start, part, stop=stop, name=name, place=place)
        first = False


def _part(breaks: list[int], at: int) -> int:
    return sum(1 for each in breaks if each < at)


def _bound(text: str, figure: Figure, spent: set[int]) -> int:
    """Whether a figure is the least or the most; a negation that belongs to it is added to `spent`."""
    if _AHEAD_OF.match(text, figure.end):
        # "At least a day before" and "up to a day before" are the same limit.
        return 0
    after = _BOUND_AFTER.match(text, figure.end)
    if after:
        return 1 if after["least"] else -1
    before = text[max(0, figure.start - 70) : figure.start]
    offset = figure.start - len(before)
    cut = max((match.end() for match in re.finditer(r"[.;:]\s|\d", before)), default=0)
    found = None
    for match in _BOUND.finditer(before, cut):
        found = match
    if found is None or len(re.findall(r"\w+", before[found.end() :])) > 4:
        return 0
    if found["most"] or found["least"]:
        return -1 if found["most"] else 1
    value = 1 if found["more"] else -1
    negations = [m for m in _TOKEN.finditer(before, cut, found.start()) if m.group().lower() in _NOT]
    if negations and len(re.findall(r"\w+", before[negations[-1].end() : found.start()])) <= 5:
        spent.add(offset + negations[-1].start())
        return -value
    return value


def _denials(
    text: str, tokens: list[Token], skipped: list[tuple[int, int]], spent: set[int]
) -> tuple[tuple[tuple[frozenset[str], frozenset[str]], ...], frozenset[str]]:
    denials: list[tuple[frozenset[str], frozenset[str]]] = []
    concepts: set[str] = set()
    if _HAVE_TO.search(text):
        concepts.add("#oblige")
    for place, token in enumerate(tokens):
        concept = _CONCEPTS.get(token.word)
        if concept is not None:
            concepts.add(concept[0])
            if concept[1]:
                denials.append((frozenset({concept[0]}), frozenset({concept[0]})))
        if token.word in _NOT and token.start not in spent and not any(a <= token.start < b for a, b in skipped):
            near, nearest = _scope(tokens, place)
            if nearest:
                denials.append((nearest, near))
    return tuple(denials), frozenset(concepts)


def _scope(tokens: list[Token], place: int) -> tuple[frozenset[str], frozenset[str]]:
    """(what stands about a negation, what of it is denied in the first place)."""
    part = tokens[place].part
    before, after = list[str](), list[str]()
    ahead = tokens[place].word in _AHEAD
    for token in tokens[place + 1 :]:
        if token.part != part or len(after) >= 3:
            break
        if (key := _meant(token)) is not None:
            after.append(key)
    for token in reversed(tokens[:place]):
        if token.part != part or len(before) >= 3 or ahead:
            break
        if (key := _meant(token)) is not None:
            before.append(key)
    modal = [key for key in before[:1] if key.startswith("#")]
    nearest = modal + after[:1] or before[:1]
    return frozenset({*before, *after}), frozenset(nearest)


def _meant(token: Token) -> str | None:
    concept = _CONCEPTS.get(token.word)
    if concept is not None:
        return concept[0]
    return None if token.stop else token.key
