"""What one call comes to: the provider's own figures where it gives them, a marked estimate where it does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import monotonic

import msgspec
from folkmoot_sdk import (
    ChatEvent,
    ChatRequest,
    Finish,
    ImagePart,
    ProviderError,
    ReasoningDelta,
    TextDelta,
    TextPart,
    ToolCallDelta,
    Transcript,
    Usage,
)

from folkmoot.ai.route import Choice
from folkmoot.usage.ledger import Spent
from folkmoot.usage.money import cost

CHARACTERS_PER_TOKEN = 3
"""Fewer than any tokenizer takes for European languages, so that an estimate errs upwards."""
IMAGE_TOKENS = 1_500
"""About what providers count for one picture at full resolution."""
USUAL_ANSWER = 4_096
"""Tokens that are reserved for an answer whose length nobody has bounded."""
MOST_TOKENS = 100_000_000
"""Of one call; more is no figure but a mistake."""
LONGEST_AUDIO = 1_000_000.0
"""Seconds of one call; eleven days are no recording but a mistake."""
BYTES_PER_SECOND = 4_000
"""Of compressed speech at 32 kbit/s: a length to count by where the provider tells none."""


def tokens_of(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def _asked(request: ChatRequest) -> int:
    total = sum(tokens_of(passage.text) + 20 for passage in request.passages)
    for message in request.messages:
        total += 4 + sum(tokens_of(call.arguments) for call in message.tool_calls)
        for part in message.content:
            match part:
                case TextPart():
                    total += tokens_of(part.text)
                case ImagePart():
                    total += IMAGE_TOKENS
    return total + sum(tokens_of(f"{tool.description}{tool.parameters}") for tool in request.tools)


def expected(choice: Choice, request: ChatRequest | None = None, texts: Sequence[str] = (), audio: int = 0) -> int:
    """Micro-units to reserve for a call: its input, and an answer as long as was asked for, else a usual one.

    `audio` in bytes.
    """
    answer = 0
    if request is not None:
        most = choice.info.max_output_tokens or USUAL_ANSWER
        answer = min(request.max_output_tokens or USUAL_ANSWER, max(most, 1), MOST_TOKENS)
    asked = _asked(request) if request is not None else sum(tokens_of(text) for text in texts)
    price, seconds = choice.price or choice.ceiling, audio / BYTES_PER_SECOND
    return cost(price, input_tokens=_sane(asked), output_tokens=answer, audio_seconds=seconds)


def _sane(tokens: object) -> int:
    """A provider may say anything."""
    return min(max(0, tokens), MOST_TOKENS) if isinstance(tokens, int) else 0


def counted(usage: Usage) -> Usage:
    """The figures of a provider as they can be: nothing negative, nothing beyond what one call may have."""
    return Usage(**{name: _sane(getattr(usage, name)) for name in Usage.__struct_fields__})


def _seconds(told: object) -> float | None:
    """A length of audio that can be; None if it is none."""
    return float(told) if isinstance(told, int | float) and 0 <= told <= LONGEST_AUDIO else None


class Meter:
    """Watches one call."""

    def __init__(
        self, choice: Choice, request: ChatRequest | None = None, texts: Sequence[str] = (), audio: int = 0
    ) -> None:
        self._choice, self._request, self._texts, self._audio = choice, request, texts, audio
        self._usage: Usage | None = None
        self._said = 0
        self._seconds = 0.0
        self._finished = False
        self._estimated = False
        self._error = ""
        self._reached = False
        self._started = monotonic()
        self._first: float | None = None

    def began(self) -> None:
        self._reached = True
        self._first = monotonic()

    def see(self, event: ChatEvent) -> None:
        match event:
            case TextDelta() | ReasoningDelta():
                self._said += len(event.text)
            case ToolCallDelta():
                self._said += len(event.arguments)
            case Usage():
                self._usage = counted(event)
            case Finish():
                self._finished = True
            case _:
                pass

    def embedded(self, tokens: int, *, estimated: bool) -> None:
        self._reached = True
        self._usage, self._estimated = Usage(tokens, 0), estimated

    def heard(self, told: Transcript) -> None:
        self._reached = True
        self._usage = counted(told.usage) if told.usage is not None else None
        seconds = _seconds(told.seconds)
        if seconds is not None:
            self._seconds = seconds
        elif told.usage is None:
            self._guess_seconds()

    def left(self) -> None:
        """Whoever asked went away while the provider was at it: it counts what it was sent, and so do we."""
        if self._request is None and not self._reached:
            self._usage, self._estimated = Usage(sum(tokens_of(text) for text in self._texts), 0), True
            self._guess_seconds()
        self._reached = True

    def _guess_seconds(self) -> None:
        if self._audio:
            self._seconds, self._estimated = min(self._audio / BYTES_PER_SECOND, LONGEST_AUDIO), True

    def failed(self, error: ProviderError) -> None:
        self._error = error.code

    def usage(self) -> Usage:
        """The provider's figures; of an answer that broke off or was counted by nobody, an estimate."""
        told = self._usage
        if self._request is None or not self._reached:
            return told or Usage(0, 0)
        # All zero is what some say who do not count.
        if told is not None and self._finished and (told.input_tokens > 0 or told.output_tokens > 0):
            return told
        self._estimated = True
        said = math.ceil(self._said / CHARACTERS_PER_TOKEN)
        if told is None or told.input_tokens <= 0:
            return Usage(_asked(self._request), said)
        # Some tell the input at the beginning, and the output only at the end that did not come.
        return msgspec.structs.replace(told, output_tokens=max(told.output_tokens, said))

    def spent(self) -> Spent:
        usage = self.usage()
        price, now = self._choice.price, monotonic()
        tokens = {
            "input_tokens": _sane(usage.input_tokens),
            "output_tokens": _sane(usage.output_tokens),
            "cached_input_tokens": _sane(usage.cached_input_tokens),
            "cache_write_tokens": _sane(usage.cache_write_tokens),
        }
        reached = self._reached or self._usage is not None
        return Spent(
            model_id=self._choice.model.id,
            model=self._choice.model.name,
            provider=self._choice.connection.kind,
            connection_id=self._choice.connection.id,
            **tokens,
            reasoning_tokens=_sane(usage.reasoning_tokens),
            audio_seconds=self._seconds,
            cost=cost(price or self._choice.ceiling, **tokens, audio_seconds=self._seconds) if reached else 0,
            priced="listed" if price is not None else "ceiling",
            estimated=self._estimated,
            error=self._error,
            first_ms=round((self._first - self._started) * 1000) if self._first is not None else None,
            total_ms=round((now - self._started) * 1000),
        )
