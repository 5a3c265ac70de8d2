"""Whether a message is searched for at all, and whether it can be understood without what was said before. Pure.

Both go by closed classes of words, without a model: a decision is taken for each question, and must cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from folkmoot.conversations.prompting.prompt import Turn
from folkmoot.conversations.retrieval.reference import GENERAL, LANGUAGES, Grammar, grammar_of
from folkmoot.conversations.retrieval.small_talk import is_assent, is_small_talk
from folkmoot.fulltext.stop_words import STOP_WORDS

WORD = re.compile(r"\w+(?:['’-]\w+)*")
LOOKED_AT = 400
"""Characters of a question in which it is looked for what it refers to; a longer one brings its own context."""
LONGEST_FRAGMENT = 3
"""Words of a question without a verb, as "And in winter?" is without its "and"."""


@dataclass(frozen=True)
class Decision:
    """What is done for one question."""

    search: bool
    why: str
    """For the record of how the answer came to be."""
    refers_back: bool = False
    """Whether it is only understood with what was said before."""


def decide(question: str, history: Sequence[Turn], mode: str = "auto") -> Decision:
    """`mode` is the assistant's `retrieval`; `history` the turns above the question, oldest first."""
    if mode == "off":
        return Decision(search=False, why="the assistant searches only by tools")
    said = [turn for turn in history if turn.role == "user"]
    last = next((turn.text for turn in reversed(history) if turn.role == "assistant"), "")
    if said and last and is_assent(question) and _offers(last):
        return Decision(search=True, why="it takes up what the answer before offered", refers_back=True)
    if mode != "search" and is_small_talk(question, answered=bool(last)):
        return Decision(search=False, why="the message is small talk")
    if said and (why := refers_back(question, [turn.text for turn in said])) is not None:
        return Decision(search=True, why=why, refers_back=True)
    return Decision(search=True, why="the question stands alone")


def _offers(answer: str) -> bool:
    """Whether an answer ends with a question."""
    return "?" in answer.rstrip()[-200:]


def refers_back(question: str, before: Sequence[str] = ()) -> str | None:
    """Why a question is only understood with what was asked `before`, in a few words; None if it stands alone."""
    question = question.strip()
    if len(question) > LOOKED_AT:
        return None
    tokens = [word.replace("’", "'") for word in WORD.findall(question)]
    small = [token.casefold() for token in tokens]
    if not small:
        return "it has no words of its own"
    code = language_of(small, before)
    if not code:
        return None
    grammar = grammar_of(code)
    if _begins(small, grammar.links):
        return "it begins as a continuation"
    if any(" ".join(phrase) in " ".join(small) for phrase in grammar.remarks):
        return "it is about the answer before"
    own = salient(small, code)
    if (word := _pointing(tokens, small, grammar, code)) is not None:
        return f"it refers back by {word!r}"
    subjects = [word for word in own if word not in grammar.facets and word not in GENERAL]
    if not subjects:
        return "it names no subject"
    if len(small) <= LONGEST_FRAGMENT and not any(word in grammar.verbs for word in small) and len(own) < 3:
        return "it is a fragment"
    return None


@cache
def _stop(code: str) -> frozenset[str]:
    return frozenset(STOP_WORDS.get(code, ()))


@cache
def _small(code: str) -> frozenset[str]:
    return _stop(code) | grammar_of(code).verbs


def salient(small: Sequence[str], code: str) -> list[str]:
    """Those of the words, in small letters, that say what a text is about."""
    empty = _small(code)
    return [word for word in small if word not in empty and (len(word) > 1 or word.isdigit())]


def language_of(small: Sequence[str], before: Sequence[str] = ()) -> str:
    """The language that has most of a question's small words; of several, the one that was spoken before."""
    earlier = [word.casefold() for text in before[-3:] for word in WORD.findall(text[:LOOKED_AT])]
    best, most = "", (0, 0)
    for code in LANGUAGES:
        known = _small(code)
        counted = sum(word in known for word in small), sum(word in known for word in earlier)
        if counted > most:
            best, most = code, counted
    return best


def _begins(small: Sequence[str], links: frozenset[tuple[str, ...]]) -> bool:
    return any(tuple(small[:length]) in links for length in (1, 2, 3, 4, 5))


def _pointing(tokens: Sequence[str], small: Sequence[str], grammar: Grammar, code: str) -> str | None:
    """The word that stands for something said before and not in the question itself."""
    stop = _stop(code)
    for at, word in enumerate(small):
        if word not in grammar.pointing:
            continue
        before = small[at - 1] if at else ""
        after = small[at + 1] if at + 1 < len(small) else ""
        if word in grammar.articles and _is_article(tokens, small, at, grammar, stop):
            continue
        if grammar.is_empty(small, at) or after in grammar.times or after in grammar.relative:
            continue
        if word in grammar.polite and tokens[at][:1].isupper():
            continue
        if word in grammar.counting and after and after not in stop:
            continue
        if word in grammar.ending:
            if not after:
                return tokens[at]
            continue
        if before in grammar.prepositions or word in grammar.always:
            return tokens[at]
        if not _named(tokens, small, at, grammar, stop):
            return tokens[at]
    return None


def _is_article(tokens: Sequence[str], small: Sequence[str], at: int, grammar: Grammar, stop: frozenset[str]) -> bool:
    """Whether a word such as German "das" or Swedish "den" belongs to a noun that follows."""
    following = list(zip(tokens[at + 1 : at + 4], small[at + 1 : at + 4], strict=True))
    if not following:
        return False
    if grammar.capitals:
        # An adjective may stand between.
        return any(token[:1].isupper() for token, _ in following[:2])
    word = following[0][1]
    if word in stop or word in grammar.verbs:
        return False
    before = small[at - 1] if at else ""
    return before not in grammar.modals and word.endswith(grammar.adjective_ends)


def _named(tokens: Sequence[str], small: Sequence[str], at: int, grammar: Grammar, stop: frozenset[str]) -> bool:
    """Whether the question itself names, before the word at `at`, what that may stand for."""
    if grammar.capitals and any(
        token[:1].isupper() and word not in stop and word not in grammar.verbs
        for token, word in zip(tokens[1:at], small[1:at], strict=True)
    ):
        return True
    for place in range(at - 1):
        following = small[place + 1]
        if following in stop or following in grammar.verbs:
            continue
        article = small[place] in grammar.articles and _is_article(tokens, small, place, grammar, stop)
        if article or small[place] in grammar.determiners or (place == 0 and small[0] in grammar.openers):
            return True
    return False
