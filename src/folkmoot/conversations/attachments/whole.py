"""Reading long files whole, part by part, for a question that needs all of them.

The parts go to the model that answers, several at a time: each time it writes down what the question needs, with the
numbers of the passages. The notes go along with the question, and the passages that they name can be cited like any
others. Map and reduce, after Dean and Ghemawat (2004).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from folkmoot_sdk import (
    BadResponse,
    ChatRequest,
    ContextTooLong,
    Message,
    ModelInfo,
    ProviderError,
    TextDelta,
    TextPart,
    Usage,
)

from folkmoot.ai.counting import text_tokens
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.citations.cite import MARKER, CitedPassage
from folkmoot.conversations.prompting.prompt import DATA, DEFAULT_WINDOW, inert, line
from folkmoot.conversations.retrieval.retrieve import number, tell
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter

log = get_logger(__name__)

PART_TOKENS = 24_000
"""Of the files in one call: with more, models begin to pass over things."""
NOTES_TOKENS = 2_048
"""That one call may write."""
THOUGHTS = 4
"""So many times as many, for one that thinks first."""
OVERHEAD_TOKENS = 600
"""What a call has beside passages, question and notes."""
LEAST_PART = 500
MOST_CALLS = 24
"""For one answer; what has no place in them is told."""
AT_ONCE = 4
MOST_NUMBER = 999
"""A marker has three digits."""
SHOWN_QUESTION = 4_000
"""Characters of it that the calls are told."""
NOTHING = "NOTHING"
NOTHING_THERE = "All of the files was read for this question, and nothing in them matters for it."

READ = f"""\
You read one part of long documents for a colleague, who will answer a question from your notes alone. {DATA}
Write down everything in the passages that the answer needs, in short sentences, each on a line of its own. Keep \
names, figures and dates exactly as they stand there. After each sentence write the number of the passage that it \
rests on in square brackets, as [3]. Leave out what the question does not need. If nothing here matters for it, write \
{NOTHING} and nothing else. Write in the language of the question."""
SHORTEN = f"""\
You are given notes that were taken from long documents, for a colleague who will answer a question from them alone. \
{DATA}
Write them down anew in half as many words: join what belongs together, and leave out what the question needs least. \
Keep names, figures and dates exactly, and the numbers in square brackets after what rests on them, as [3]. Write in \
the language of the question."""

_ALL = re.compile(
    r"""
    \b(?:
        summar(?:y|i[sz]e\w*|ies) | overview | outline | tl;?dr | compare | comparison | differences?\ between
        | key\ (?:points|findings|takeaways) | main\ (?:points|ideas) | translate | proof-?read
        | (?:list|name|find|give|show|extract|count)\ (?:me\ )?(?:all|every|each)
        | (?:whole|entire)\ (?:document|file|text|report|contract|book)
        | all\ (?:the\ )?(?:points|names|dates|deadlines|changes|requirements|risks|figures|decisions|sections|chapters)
        # Swedish, Norwegian, Danish
        | sammanfatt\w* | översikt\w* | huvudpunkter\w* | jämför\w* | skillnader\w* | översätt\w*
        | (?:lista|räkna\ upp|nämn|hitta|visa|ge\ mig)\ (?:mig\ )?(?:alla|samtliga|varje)
        | hela\ (?:dokumentet|filen|texten|rapporten|avtalet|boken)
        | oppsummer\w* | opsummer\w* | sammenfat\w* | sammendrag\w* | sammenlign\w* | oversikt\w* | oversigt\w*
        | (?:list|nevn|nævn|finn|find|vis)\ (?:opp\ |op\ )?(?:alle|samtlige|hver) | forskjell\w* | forskel\w*
        | hele\ (?:dokumentet|filen|teksten|rapporten|avtalen|aftalen|boken|bogen)
        # German
        | zusammenfass\w* | zusammengefasst | fass\w*\b.{0,60}\bzusammen | überblick | kernaussagen | hauptpunkte
        | (?:liste|nenne|finde|zeige|zähle|gib)\w*\b.{0,20}\b(?:alle|sämtliche|jede[nrs]?) | vergleich\w*
        | unterschiede? | übersetz\w*
        | (?:ganze[nsr]?|gesamte[nsr]?)\ (?:dokuments?|datei|texte?s?|berichte?s?|vertrage?s?|vertrag|buch)
        # Finnish
        | tiivist\w* | yhteenve\w* | luettele | vertaa | vertaile | käännä | (?:etsi|näytä|listaa)\ kaikki
        | koko\ (?:asiakirja|tiedosto|teksti|raportti|sopimus)\w*
        # French
        | résum\w* | synthèse | synthétise\w* | aperçu | points\ (?:clés|principaux) | compare[rz]? | comparaison
        | (?:liste|énumère|trouve|donne|cite|montre)\w*\b.{0,20}\b(?:tou(?:te)?s|chaque) | différences? | tradui\w*
        | tout\ le\ (?:document|fichier|texte|rapport|contrat|livre)
        # Spanish
        | res[uú]men\w* | resúme\w* | resumi\w+ | resume\ (?:el|la|los|las|est[aeo]\w*) | sintetiza\w* | síntesis
        | (?:lista|enumera|encuentra|muestra|dame|cita)\w*\b.{0,20}\b(?:tod[oa]s|cada) | compara\w* | diferencias?
        | traduc\w+ | puntos\ (?:clave|principales) | todo\ el\ (?:documento|archivo|texto|informe|contrato|libro)
    )\b
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def needs_all(question: str) -> bool:
    """Whether a question about files is likely to need all of them: a summary, a list of everything, a comparison."""
    # A long message brings text of its own along; what is wanted with it stands at its beginning or its end.
    said = question if len(question) <= 1_000 else f"{question[:500]}\n{question[-500:]}"
    return _ALL.search(said) is not None


@dataclass
class _Part:
    """Passages that go into one call."""

    passages: list[CitedPassage]
    notes: str = ""
    failed: bool = False


@dataclass
class _Reader:
    """The calls for one answer."""

    app: App
    run: Run
    writer: StreamWriter
    route: Route
    done: int = 0
    total: int = 0
    calls: int = 0
    failure: Exception | None = None
    stopped: bool = False
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @property
    def question(self) -> str:
        return self.run.question.content.strip()[:SHOWN_QUESTION]

    async def read(self, part: _Part) -> None:
        """Fill in the notes of a part."""
        try:
            part.notes = await self._notes(part.passages)
        except ProviderError as error:
            part.failed, self.failure = True, error
        except AppError as error:
            # A budget that is used up, or text that the model may not see any more: the other calls would end so, too.
            part.failed, self.failure, self.stopped = True, error, True
        self.progress()

    def progress(self, more: int = 1) -> None:
        self.done += more
        self.writer.write("reading.progress", {"done": self.done, "total": self.total})

    async def _notes(self, passages: Sequence[CitedPassage]) -> str:
        local = dict(enumerate(passages, start=1))
        block = "\n".join(_element(n, passage) for n, passage in local.items())
        try:
            said = await self.ask(READ, f"<passages>\n{block}\n</passages>")
        except ContextTooLong:
            if len(passages) < 2:
                raise
            half = len(passages) // 2
            return f"{await self._notes(passages[:half])}\n{await self._notes(passages[half:])}"
        if not said:
            raise BadResponse("the model wrote nothing about a part of the files: ask again, or choose another model")
        if said.strip(" .\n*").upper() == NOTHING:
            return ""
        return MARKER.sub(lambda found: _known(found, local), said)

    async def ask(self, task: str, data: str) -> str:
        """What the model writes."""
        said: list[str] = []
        usage: Usage | None = None

        def build(info: ModelInfo) -> ChatRequest:
            # What a model thinks counts, too.
            wanted = NOTES_TOKENS * THOUGHTS if info.reasoning else NOTES_TOKENS
            most = min(info.max_output_tokens or wanted, wanted)
            system = Message(role="system", content=(TextPart(task),))
            user = Message(role="user", content=(TextPart(f"{data}\n\nThe question: {self.question}"),))
            return ChatRequest(model=info.name, messages=(system, user), max_output_tokens=most)

        async with self.slots:
            if self.stopped and self.failure is not None:
                raise self.failure
            self.calls += 1
            chat = self.app.part(Runtime).chat(self.route, self.run.account("reading"), build)
            try:
                async with aclosing(chat) as events:
                    async for event in events:
                        if isinstance(event, TextDelta):
                            said.append(event.text)
                        elif isinstance(event, Usage):
                            usage = event
            finally:
                if usage is not None:
                    self.run.add_usage(usage)
        return "".join(said).replace("\x00", "").strip()


async def read_whole(
    app: App, run: Run, writer: StreamWriter, route: Route, passages: Sequence[CitedPassage], *, room: int
) -> list[dict[str, Any]]:
    """Read all of these and write `run.notes`, with the passages that they name; `room` is in tokens.

    Returns what was left out, as `LeftOut`. Raises what models raise if no part could be read.
    """
    reader = _Reader(app, run, writer, route)
    parts = _packed(passages, _part_tokens(route, reader.question))
    unread = parts[MOST_CALLS:]
    parts = parts[:MOST_CALLS]
    reader.total = len(parts)
    reader.progress(0)
    await _all(reader, parts)
    failed = [part for part in parts if part.failed]
    if reader.failure is not None and (reader.stopped or len(failed) == len(parts)):
        raise reader.failure
    text = "\n".join(part.notes for part in parts if part.notes)
    text = await _shortened(reader, text, room // 2)
    text, cut = _cut(text, room // 2)
    _keep(run, writer, text, passages, room - text_tokens(text))
    if not text and not failed and not unread:
        run.notes = NOTHING_THERE
    run.trace["reading"] = {"calls": reader.calls, "parts": len(parts), "unread": len(unread) + len(failed)}
    return _told(failed, unread, cut)


async def _all(reader: _Reader, parts: Sequence[_Part]) -> None:
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(reader.read(part))


def _part_tokens(route: Route, question: str) -> int:
    window = route.first.info.context_window or DEFAULT_WINDOW
    spare = window - NOTES_TOKENS - OVERHEAD_TOKENS - text_tokens(READ) - text_tokens(question)
    return max(LEAST_PART, min(PART_TOKENS, spare))


def _packed(passages: Sequence[CitedPassage], most: int) -> list[_Part]:
    """As few parts as hold them, in order."""
    parts: list[_Part] = []
    size = most + 1
    for passage in passages:
        cost = text_tokens(_element(len(passages), passage))
        if size + cost > most:
            parts.append(_Part([]))
            size = 0
        parts[-1].passages.append(passage)
        size += cost
    return parts


def _element(n: int, passage: CitedPassage) -> str:
    heading = f' heading="{line(passage.heading)}"' if passage.heading else ""
    opening = f'<passage n="{n}" document="{line(passage.document_name)}"{heading}>'
    return f"{opening}\n{inert(passage.text)}\n</passage>"


def _known(found: re.Match[str], local: dict[int, CitedPassage]) -> str:
    """The marker of a passage by its id, until it gets a number among all; one that names nothing goes."""
    passage = local.get(int(found.group(1)))
    return f"[{passage.chunk_id}]" if passage is not None else ""


_BY_ID = re.compile(r"\[([0-9a-f-]{36})\]")


async def _shortened(reader: _Reader, text: str, most: int) -> str:
    """Notes that are too long, once more in fewer words; unchanged if the model does not manage."""
    if text_tokens(text) <= most or reader.calls >= MOST_CALLS:
        return text
    # In these calls, too, the numbers are small: ids of passages would be misspelt.
    ids = list(dict.fromkeys(_BY_ID.findall(text)))
    short = {chunk_id: n for n, chunk_id in enumerate(ids, start=1) if n <= MOST_NUMBER}
    by_number = {n: chunk_id for chunk_id, n in short.items()}
    plain = _BY_ID.sub(lambda found: f"[{short[found.group(1)]}]" if found.group(1) in short else "", text)
    groups = _grouped(plain.splitlines(), _part_tokens(reader.route, reader.question))
    groups = groups[: MOST_CALLS - reader.calls]
    said = [""] * len(groups)

    async def one(place: int) -> None:
        try:
            said[place] = await reader.ask(SHORTEN, f"<notes>\n{inert(groups[place])}\n</notes>")
        except ProviderError as error:
            log.info("reading.not_shortened", error=error.code)

    async with asyncio.TaskGroup() as group:
        for place in range(len(groups)):
            group.create_task(one(place))
    if not all(said):
        return text
    whole = "\n".join(said)
    return MARKER.sub(lambda found: f"[{by_number[n]}]" if (n := int(found.group(1))) in by_number else "", whole)


def _grouped(lines: Sequence[str], most: int) -> list[str]:
    groups: list[list[str]] = []
    size = most + 1
    for one in lines:
        cost = text_tokens(one) + 1
        if size + cost > most:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += cost
    return ["\n".join(group) for group in groups]


def _cut(text: str, most: int) -> tuple[str, int]:
    """As many notes as have room, and how many have none."""
    lines = [one for one in text.splitlines() if one.strip()]
    kept: list[str] = []
    for one in lines:
        # An id stands where a number of three digits will.
        most -= text_tokens(_BY_ID.sub("[999]", one)) + 1
        if most < 0:
            break
        kept.append(one)
    return "\n".join(kept), len(lines) - len(kept)


def _keep(run: Run, writer: StreamWriter, text: str, passages: Sequence[CitedPassage], room: int) -> None:
    """Give the passages that the notes name their numbers; those that have room go along themselves."""
    by_id = {str(passage.chunk_id): passage for passage in passages}
    named = [by_id[chunk_id] for chunk_id in dict.fromkeys(_BY_ID.findall(text)) if chunk_id in by_id]
    named = named[: max(0, MOST_NUMBER + 1 - run.number())]
    new = number(run, [replace(passage, score=0.5) for passage in named], by_tool=True)
    for passage in new:
        cost = text_tokens(_element(passage.n, passage))
        if cost <= room:
            room -= cost
            run.passages[passage.n] = replace(passage, by_tool=False)
    numbers = {str(passage.chunk_id): passage.n for passage in run.passages.values()}
    run.notes = _BY_ID.sub(lambda found: f"[{numbers[found.group(1)]}]" if found.group(1) in numbers else "", text)
    if new:
        tell(run, writer, new, run.question.content)


def _told(failed: Sequence[_Part], unread: Sequence[_Part], cut: int) -> list[dict[str, Any]]:
    left: list[dict[str, Any]] = []
    for parts, why in (
        (unread, f"are too long to be read whole: the end of {{names}} was not read, after {MOST_CALLS} parts"),
        (failed, "could not be read in part, since the model failed: {names}"),
    ):
        names = list(dict.fromkeys(passage.document_name for part in parts for passage in part.passages))
        if names:
            told = why.format(names=", ".join(names[:3]) + (" and others" if len(names) > 3 else ""))
            left.append({"what": "files", "count": len(names), "why": told})
    if cut:
        left.append({"what": "files", "count": cut, "why": "notes from the files had no room any more"})
    return left
