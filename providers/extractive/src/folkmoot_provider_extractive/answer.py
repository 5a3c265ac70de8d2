"""One answer out of sentences that stand in the documents, streamed as any other model's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from folkmoot_sdk import ChatEvent, ChatRequest, Finish, ModelInfo, ModelNotFound, Price, TextDelta, Usage

from folkmoot_provider_extractive.pick import content_words, pick
from folkmoot_provider_extractive.words import ENGLISH, Language, detect

MODEL = "extractive"
TITLE = "Extracts from your documents (no language model)"

_QUESTION_LIMIT = 4_000
"""Characters of a question that are looked at: what is pasted after them is seldom the question."""

_PIECE = re.compile(r"\s*\S+\s*")


class Connection:
    """Follows `ChatModel`. Needs no key, no network and no state."""

    async def models(self) -> list[ModelInfo]:
        return [ModelInfo(MODEL, "chat", title=TITLE, passages=True, price=Price())]

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer, word by word. Raises `ModelNotFound`."""
        if request.model != MODEL:
            raise ModelNotFound(f"this connection has no model {request.model!r}, only {MODEL!r}: choose that one")
        text = compose(request)
        pieces = _PIECE.findall(text)
        pause = min(WORD_SECONDS, LONGEST_SECONDS / len(pieces))
        for piece in pieces:
            yield TextDelta(piece)
            await asyncio.sleep(pause)
        read = sum(len(message.text.split()) for message in request.messages)
        read += sum(len(passage.text.split()) for passage in request.passages)
        yield Usage(input_tokens=read, output_tokens=len(text.split()))
        yield Finish("stop")


WORD_SECONDS = 0.008
"""From one word to the next: all at once, a person would not see that it is an answer being given."""
LONGEST_SECONDS = 1.0
"""Of all pauses together."""


def compose(request: ChatRequest) -> str:
    """The whole answer: that there is no model, then each sentence as it stands, with its marker."""
    questions = [message.text[:_QUESTION_LIMIT] for message in request.messages if message.role == "user"]
    question = questions[-1] if questions else ""
    language = _language(question, request)
    if not request.passages:
        return language.nothing if request.grounded else language.no_documents
    words = content_words(question, language)
    if not words and len(questions) > 1:  # "and why?" is about what was asked before
        words = content_words(questions[-2], language)
    picked = pick(question, request.passages, language, words=words)
    if not picked:
        return language.nothing
    return "\n\n".join([language.extracts, *(f"{sentence.text} [{sentence.n}]" for sentence in picked)])


def _language(question: str, request: ChatRequest) -> Language:
    """The question's; if its few words tell nothing, that of the best passage."""
    found = detect(question)
    if found is None and request.passages:
        found = detect(request.passages[0].text[:1000])
    return found or ENGLISH
