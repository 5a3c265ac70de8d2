"""Where the sentences of a text begin and end, and which of them claim something. Pure.

A line ends a sentence unless the next goes on in small letters, as in text that was wrapped by hand. Rows of a table
and items of a list are sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from folkmoot.conversations.citations.figures import MONTHS

LONGEST = 1000
"""Characters; what goes on without an end is cut at a space."""

_MARKERS = r"(?:[^\S\n]*\[\d{1,3}\])*"
# A full stop ends a sentence only before white space ("1.2 metres"); those of East Asia need none.
_END = re.compile(rf"(?:[.!?…]+[\"'”’»)\]*_]*{_MARKERS}(?=\s|$)|[。！？]+[」』”’）]*{_MARKERS})")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[„“\"])(?:[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]|e\.?g|i\.?e|etc|approx|mr|mrs|ms|dr|prof|st|sec|art|fig|cf|vs|"
    r"bl\.\s?a|t\.\s?ex|t\.\s?o\.\s?m|fr\.\s?o\.\s?m|d\.\s?v\.\s?s|s\.\s?k|m\.\s?m|ca|jfr|kap|tel|kl|nr|resp|avd|"
    r"z\.\s?b|d\.\s?h|u\.\s?a|bzw|ggf|abs|vgl|str|inkl|exkl|evtl|max|min|jan|feb|apr|aug|sept?|okt|oct|nov|dec|dez)$",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?:^|\W)[^\W\d_]{1,4}$")
_SMALL = re.compile(r"\s+[a-zåäöéü]")
_NUMBERED = re.compile(r"\s*(?:\d{1,3}|[^\W\d_])$")
_AFTER_NUMBER = re.compile(r"\s+(?:[a-zåäöéüß]|(?i:" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\b)")
_LINE = re.compile(r"[^\n]+")
_BEGINS = re.compile(r"\s*(?:[-*+•–▪]|#{1,6}|>|\||\d{1,3}[.)]\s|```|~~~)")
_LEAD = re.compile(r"\s*(?:>\s*)*(?:[-*+•▪–]\s+|\d{1,3}[.)]\s+|\(?[a-z]\)\s+|\[[ x]\]\s+)*")
_RULE = re.compile(r"\s*\|?[\s:|=-]+\|?\s*$")
_WORD = re.compile(r"[^\W_]+")
_MARKER = re.compile(r"\[\d{1,3}\]")


@dataclass(frozen=True, slots=True)
class Span:
    """A sentence by its place, without the space around it and without what makes it an item of a list."""

    start: int
    end: int


def sentences(text: str) -> Iterator[Span]:
    """All of a text, in order; markers after a full stop belong to the sentence before them."""
    for start, end in _paragraphs(text):
        yield from _within(text, start, end)


def claims(content: str) -> Iterator[Span]:
    """The sentences of an answer that may claim something: no code, headings, questions, greetings or refusals."""
    fenced = False
    for start, end in _paragraphs(content):
        line = content[start:end]
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            continue
        if fenced or _RULE.match(line) or _is_heading(line) or _heads_a_table(content, end, line):
            continue
        for span in _within(content, start, end):
            if is_claim(content[span.start : span.end]):
                yield span


def is_claim(sentence: str) -> bool:
    """Whether a sentence says something that documents could bear out."""
    plain = _MARKER.sub("", sentence).strip().strip("*_ ")
    if not _WORD.search(plain) or plain.endswith(("?", "？", ":", "：")):
        return False
    if _POLITE.match(plain) or _SOURCE.match(plain):
        return False
    refusal = _REFUSAL.search(plain)
    # What a refusal goes on with is a claim again.
    return refusal is None or bool(_YET.search(plain, refusal.end()))


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Lines; those that were wrapped in the middle of a sentence as one."""
    begun: int | None = None
    ended = 0
    for match in _LINE.finditer(text):
        start, end = match.span()
        if begun is not None:
            line = match.group().lstrip()
            apart = start > ended + 1 or not line
            led = _BEGINS.match(line) or _end_of_lead(line, 0, len(line))
            goes_on = not apart and line[:1].islower() and not led
            if goes_on and not text[begun:ended].rstrip().endswith((".", "!", "?", ":", ";", "|")):
                ended = end
                continue
            yield begun, ended
        begun, ended = start, end
    if begun is not None:
        yield begun, ended


def _within(text: str, start: int, end: int) -> Iterator[Span]:
    begun = _end_of_lead(text, start, end)
    for match in _END.finditer(text, begun, end):
        if match.start() < begun:
            continue
        mark = text[match.start()]
        if mark == "." and match.end() < end and _goes_on(text, begun, match.start(), match.end(), end):
            continue
        yield from _cut(text, begun, match.end())
        begun = match.end()
    yield from _cut(text, begun, end)


def _end_of_lead(text: str, start: int, end: int) -> int:
    """Where an item of a list begins after its bullet."""
    lead = _LEAD.match(text, start, min(end, start + 200))
    return lead.end() if lead else start


def _goes_on(text: str, begun: int, at: int, after: int, end: int) -> bool:
    """Whether the full stop at `at` belongs to a number or an abbreviation."""
    before = text[max(begun, at - 12) : at]
    if before[-1:].isdigit():
        return bool(_AFTER_NUMBER.match(text, after, end)) or bool(_NUMBERED.fullmatch(text[begun:at]))
    if _SHORT.search(before) and _SMALL.match(text, after, end):
        return True
    return bool(_ABBREVIATION.search(before)) and bool(re.match(r"\s*[^\s]", text[after : after + 4]))


def _cut(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > LONGEST:
        at = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
        at = at if at > 0 else start + LONGEST
        yield Span(start, at)
        start = at
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield Span(start, end)


def _is_heading(line: str) -> bool:
    line = line.strip()
    if line.startswith("#"):
        return True
    bold = line.startswith("**") and line.endswith("**") and line.count("**") == 2
    return bold and not line.rstrip("*").endswith((".", "!"))


def _heads_a_table(text: str, end: int, line: str) -> bool:
    following = text[end + 1 : end + 200].partition("\n")[0]
    return "|" in line and "-" in following and bool(_RULE.match(following))


_POLITE = re.compile(
    r"""(?:hello|hi|hey|dear\ \w+|good\ (?:morning|day|evening)|thank\ you|thanks|you're\ welcome|you\ are\ welcome
      |sure|of\ course|certainly|great\ question|good\ question|happy\ to\ help|glad\ to\ help|yes|no|okay|ok|sorry
      |hej|hallå|tack|tack\ så\ mycket|varsågod|självklart|absolut|visst|ja|nej|god\ morgon|bra\ fråga
      |hallo|guten\ (?:tag|morgen|abend)|danke|vielen\ dank|bitte|gerne?|gern\ geschehen|natürlich|nein|gute\ frage
      |bonjour|merci|salut|oui|non|hola|gracias|sí|moi|kiitos|hei|takk|tak|goedendag|bedankt)
      (?:[\s,]+(?:there|du|dig|ihnen|dir|everyone|alla|så\ mycket|sehr|very\ much|for\ (?:asking|your\ question)
      |för\ din\ fråga|för\ frågan|für\ (?:ihre|deine|die)\ (?:an)?frage))*\s*[.!,…]*$
    |(?:let\ me\ know|feel\ free|please\ let\ me|i\ hope\ (?:this|that)|hope\ (?:this|that)|is\ there\ anything
      |if\ you\ (?:have|need)\ (?:any\ )?(?:more|further|other)|here\ (?:is|are)\ (?:what|the|a|some)\b[^.]*\bfound
      |i\ will|i\ can\ help|i\ am\ (?:an?\ )?(?:ai|assistant)|i'm\ (?:happy|glad|here)
      |hör\ (?:gärna\ )?av|säg\ (?:gärna\ )?till|jag\ hoppas|hoppas\ (?:det|att)|om\ du\ (?:har|vill\ ha)\ (?:fler|mer)
      |vill\ du|återkom|fråga\ gärna|jag\ kan\ hjälpa|ich\ hoffe|melden\ sie\ sich|melde\ dich|lassen\ sie\ (?:mich|es)
      |wenn\ sie\ (?:noch\ )?(?:weitere|mehr)\ fragen|bei\ (?:weiteren\ )?fragen|ich\ helfe|gerne\ helfe)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_THINGS = (
    r"(?:documents?|passages?|sources?|materials?|texts?|excerpts?|context|information|files?|records?|dokument(?:en|et)?|"
    r"källorna|underlaget|materialet|texten|texterna|avsnitten|utdragen|informationen|dokumenten?|unterlagen|quellen|"
    r"texten?|passagen|auszügen?|informationen|abschnitten?)"
)
_NOT = r"(?:not|n['’]t|no|nothing|none|neither|inte|ingen|inget|inga|ingenting|saknar|saknas|nicht|nichts|kein\w*)"
_TELLS = (
    r"(?:say|says|said|mention\w*|contain\w*|state[sd]?|specif\w+|answer\w*|include[sd]?|provide[sd]?|cover|"
    r"give|gives|address|describe[sd]?|tell|tells|have|has|indicate[sd]?|explain\w*|define[sd]?|find|found|information|säger|"
    r"nämn\w+|anger|anges|innehåller|beskriv\w+|svara?r?|ger|framgår|står|finns|tar upp|uppgifte?r?|besked|enthalten|"
    r"enthält|sagen|sagt|nennen|genannt|erwähn\w+|beantwort\w+|geben|gibt|steht|stehen|angegeben|angaben|antwort|gefunden|finden|informationen)"
)
_REFUSAL = re.compile(
    rf"""\b{_THINGS}\b[^.;]{{0,40}}?(?:\b{_TELLS}\b[^.;]{{0,30}}\b{_NOT}\b|{_NOT}\b[^.;]{{0,30}}\b{_TELLS}\b)
    |\b(?:{_NOT}\b[^.;]{{0,30}}\b{_TELLS}|{_TELLS}\b[^.;]{{0,30}}\b{_NOT})\b[^.;]{{0,40}}\b{_THINGS}\b
    |\bi\ (?:could|can|did|do)(?:\ not|n['’]t|not)\ (?:find|know|see|answer|say|tell|have)
    |\bi\ (?:found|have|see)\ (?:no|nothing)\b|\bcannot\ (?:be\ )?(?:answer|find|determin)\w*
    |\bnot\ (?:stated|mentioned|specified)\b
    |\bjag\ (?:kan|kunde|hittar|hittade|vet|ser)\ (?:tyvärr\ )?(?:inte|inga|inget|ingen|ingenting)\b
    |\b(?:framgår|nämns|anges)\ (?:tyvärr\ |det\ )?(?:inte|ingenting|inget)\b
    |\bich\ (?:kann|konnte|habe|finde|fand|weiß|sehe)\b[^.]{{0,40}}\b(?:nicht|nichts|kein\w*)\b
    |\b(?:geht|gehen)\b[^.]{{0,60}}\bnicht\ hervor\b|\bnicht\ (?:erwähnt|angegeben|genannt)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_YET = re.compile(r"\b(?:but|however|men|dock|aber|jedoch)\b", re.IGNORECASE)
_SOURCE = re.compile(r"(?:sources?|references?|källor|källa|referenser|quellen?|se\ även|see\ also)\s*:", re.IGNORECASE)
