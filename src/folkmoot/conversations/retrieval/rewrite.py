"""A question that goes on from another as one that can be searched for alone.

A cheap model writes it where there is one, in little time and few words; what it writes is only ever searched for, and
only if it holds to the words of the conversation. Else the words of the question before go along with the new ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from folkmoot.ai.catalogue import Catalogue
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.aside import aside
from folkmoot.conversations.citations.cite import MARKER
from folkmoot.conversations.prompting.prompt import Turn
from folkmoot.conversations.retrieval.decide import LOOKED_AT, WORD, language_of, refers_back, salient
from folkmoot.conversations.retrieval.reference import LANGUAGES
from folkmoot.conversations.retrieval.small_talk import is_assent, is_small_talk
from folkmoot.fulltext.words import ask
from folkmoot.kit.app import App

SECONDS = 2.5
TOKENS = 60
TURNS = 6
"""The newest turns, which the model is told."""
SHOWN = 600
"""Characters of each."""
LONGEST = 300
"""Characters of a question that is searched for."""
MOST_ADDED = 8
"""Words of earlier turns that go along without a model: with many, no passage has most of them."""
BACK = 3
"""Questions that are gone back at most to one that stands alone."""
TASK = (
    "You are given the end of a conversation, and the newest message. Write the newest message as one question that is"
    " understood without the conversation, so that documents can be searched for it. Put in what its words refer to,"
    " with the words of the conversation. Keep its language, add nothing else, and do not answer it. If it is"
    " understood alone already, repeat it. Write that question only, on one line."
)
_LABEL = re.compile(r"^[\w ]{0,30}:\s+(?=\S)")
_SENTENCE = re.compile(r"[^.!?\n]+\?")


@dataclass(frozen=True)
class Rewritten:
    """What is searched for in place of a question."""

    query: str
    model: dict[str, str] | None
    """Who wrote it; None: no model did."""
    joined: bool = False
    """Whether words of earlier questions were added to it."""


async def rewrite(app: App, run: Run) -> Rewritten:
    """`run`'s question with what it refers to. Never fails, and takes little longer than `SECONDS`."""
    question, history = run.question.content, run.history
    if len(question) <= LOOKED_AT:
        snapshot = await app.part(Catalogue).of(run.message.tenant_id, classes=run.class_ids)
        given = told(question, history)
        text = snapshot.text_of(run.class_ids)
        written = await aside(app, snapshot, text, run.account("rewrite"), TASK, given, tokens=TOKENS, seconds=SECONDS)
        if written is not None and (query := checked(written.text, question, given)) is not None:
            return Rewritten(query, written.model)
    return Rewritten(joined(question, history), None, joined=True)


def told(question: str, history: Sequence[Turn]) -> str:
    """What the model is given: the newest turns, shortened, and the question."""
    lines = [f"{_who(turn)}: {_shortened(turn)}" for turn in history[-TURNS:]]
    return "\n".join([*lines, "", f"Newest message: {' '.join(question.split())}"])


def _who(turn: Turn) -> str:
    return "Assistant" if turn.role == "assistant" else "Person"


def _shortened(turn: Turn) -> str:
    text = " ".join(MARKER.sub("", turn.text).split())
    return text if len(text) <= SHOWN else text[:SHOWN].rsplit(" ", 1)[0] + " …"


def checked(written: str, question: str, given: str) -> str | None:
    """What a model wrote, if it is one line that can be a question from this conversation; else None."""
    lines = [line for line in written.splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    line = _LABEL.sub("", lines[0].strip()).strip(" \"'“”„«»`*")
    if not line or len(line) > LONGEST:
        return None
    keys, theirs, own = _keys(line), _keys(given), _keys(" ".join(_salient(question, ())))
    # It keeps to what was said: at most half of its words are its own, and some of the question's are still there.
    if not keys or 2 * len(keys - theirs) > len(keys) or (own and not own & keys and not is_assent(question)):
        return None
    return line


def _keys(text: str) -> set[int]:
    return {key for word in ask(text, LANGUAGES).words for key in word.keys[:1]}


def joined(question: str, history: Sequence[Turn]) -> str:
    """The question with the words of what it goes on from, without a model."""
    asked = [turn.text for turn in history if turn.role == "user"]
    own = question
    known = {word.casefold() for word in WORD.findall(own)}
    sources: list[str] = []
    if is_assent(question):
        # What was offered is what is asked for now.
        last = next((turn.text for turn in reversed(history) if turn.role == "assistant"), "")
        own = ""
        known.clear()
        sources += _SENTENCE.findall(last)[-1:]
    sources += _before(asked)
    added: list[str] = []
    for source in sources:
        for word in _salient(source, asked):
            if word.casefold() not in known and len(added) < MOST_ADDED:
                known.add(word.casefold())
                added.append(word)
    return " ".join([*own.split(), *added])[: max(LONGEST, len(own))]


def _before(asked: Sequence[str]) -> list[str]:
    """The questions before, newest first, back to one that stands alone."""
    found: list[str] = []
    for at in range(len(asked) - 1, -1, -1):
        text = asked[at][:LOOKED_AT]
        if is_small_talk(text, answered=True):
            continue
        found.append(text)
        if refers_back(text, asked[:at]) is None or len(found) == BACK:
            break
    return found


def _salient(text: str, asked: Sequence[str]) -> list[str]:
    words = WORD.findall(text)
    small = [word.casefold() for word in words]
    kept = set(salient(small, language_of(small, asked)))
    return [word for word, low in zip(words, small, strict=True) if low in kept]
