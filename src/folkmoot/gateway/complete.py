"""Answers of plain models: straight from here to the provider, with nothing stored but what it cost.

The text belongs to no space, so it is text of the organisation's default class.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from folkmoot_sdk import (
    ChatEvent,
    ChatRequest,
    Finish,
    FinishReason,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from msgspec import UNSET

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.meter import Meter
from folkmoot.ai.route import Choice, Route, Snapshot
from folkmoot.ai.runtime import Answering, Runtime
from folkmoot.gateway import names
from folkmoot.gateway.answers import (
    ChatAnswer,
    ChatChoice,
    ChatCompletion,
    CompletionUsage,
    ToolCallFunction,
    ToolCallOut,
)
from folkmoot.gateway.chunks import Chunks, counted, encode, new_id
from folkmoot.gateway.read import Read, read
from folkmoot.gateway.schemas import ChatCompletionRequest
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.usage.ledger import Account


def account_of(principal: Principal) -> Account:
    """Who pays for a call of a plain model."""
    return Account(tenant_id=principal.tenant, purpose="api", user_id=principal.user_id, key_id=principal.key_id)


async def choose(app: App, principal: Principal, model_id: str, kind: str) -> tuple[Snapshot, Route]:
    """Who answers a call with text of no space.

    Raises `NotFound` (`model-not-found`), also for what the key of an assistant may not ask, `ValidationFailed` for a
    model of another kind, and `Conflict` (`model-not-cleared`).
    """
    if principal.assistant_id is not None:
        raise names.no_such_model(model_id)
    snapshot = await app.part(Catalogue).of(principal.tenant)
    wanted = names.find(snapshot, model_id, kind)

    async def still(choice: Choice) -> None:
        now = await app.part(Catalogue).of(principal.tenant)
        now.route(kind, now.text_of([None]), choice.model.id)

    return snapshot, replace(snapshot.route(kind, snapshot.text_of([None]), wanted.model.id), still=still)


@dataclass
class Call:
    """One question to a plain model, and what its answer has come to."""

    asked: str
    """The id that the client used."""
    read: Read
    snapshot: Snapshot
    route: Route
    account: Account
    model: str = ""
    """The id of who answers."""
    _request: ChatRequest | None = None
    _meter: Meter | None = None
    _usage: Usage | None = None

    @classmethod
    async def prepare(cls, app: App, principal: Principal, sent: ChatCompletionRequest) -> Call:
        """Raises `Refused`, and what `choose` raises."""
        snapshot, route = await choose(app, principal, sent.model, "chat")
        understood = read(sent)
        # Whoever is named decides for itself; who stands in for it must be known to be able.
        able = (route.first, *(choice for choice in route.choices[1:] if understood.suits(choice.info)))
        return cls(sent.model, understood, snapshot, replace(route, choices=able), account_of(principal))

    async def events(self, app: App) -> AsyncGenerator[ChatEvent]:
        """The events of the answer; `model` is known from the first on. Raises as `Runtime.chat` does."""
        async with aclosing(app.part(Runtime).chat(self.route, self.account, self._build)) as events:
            async for event in events:
                if isinstance(event, Answering):
                    self._begin(event.model.choice)
                    continue
                if self._meter is not None:
                    self._meter.see(event)
                if type(event) is Usage:
                    self._usage = event
                yield event

    def usage(self) -> CompletionUsage:
        """What the answer took: the provider's figures, else the same estimate that the ledger enters."""
        if self._usage is not None or self._meter is None:
            return counted(self._usage or Usage(0, 0))
        return counted(self._meter.usage(), estimated=True)

    def _build(self, info: ModelInfo) -> ChatRequest:
        self._request = self.read.for_model(info)
        return self._request

    def _begin(self, choice: Choice) -> None:
        self.model = self.asked if choice is self.route.first else names.id_of(self.snapshot, choice)
        self._meter = Meter(choice, self._request)
        self._meter.began()


@dataclass
class _Whole:
    """An answer as it gathers."""

    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: dict[int, tuple[str, str, list[str]]] = field(default_factory=dict[int, tuple[str, str, list[str]]])
    reason: FinishReason = "stop"

    def see(self, event: ChatEvent) -> None:
        match event:
            case TextDelta():
                self.text.append(event.text)
            case ReasoningDelta():
                self.reasoning.append(event.text)
            case ToolCallStarted():
                self.calls[event.index] = (event.id, event.name, [])
            case ToolCallDelta():
                if (begun := self.calls.get(event.index)) is not None:
                    begun[2].append(event.arguments)
            case Finish():
                self.reason = event.reason
            case _:
                pass

    def document(self, call: Call) -> bytes:
        answer = ChatCompletion(
            id=new_id(),
            created=int(time.time()),
            model=call.model,
            choices=[ChatChoice(message=self._message(), finish_reason=self.reason)],
            usage=call.usage(),
        )
        return encode(answer)

    def _message(self) -> ChatAnswer:
        calls = [
            ToolCallOut(id=call_id, function=ToolCallFunction(name=name, arguments="".join(arguments)))
            for _, (call_id, name, arguments) in sorted(self.calls.items())
        ]
        return ChatAnswer(
            content="".join(self.text) if self.text or not calls else None,
            reasoning_content="".join(self.reasoning) if self.reasoning else UNSET,
            tool_calls=calls or UNSET,
        )


async def whole(app: App, call: Call) -> AsyncGenerator[bytes]:
    """The answer in one piece, once it is finished. Raises as `Runtime.chat` does."""
    gathered = _Whole()
    async with aclosing(call.events(app)) as events:
        async for event in events:
            gathered.see(event)
            if type(event) is Finish:
                yield gathered.document(call)


async def frames(app: App, call: Call) -> AsyncGenerator[bytes]:
    """The answer as server-sent events while it comes. Raises as `Runtime.chat` does."""
    options = call.read.sent.stream_options
    wanted = options is not None and options.include_usage is True
    chunks: Chunks | None = None
    async with aclosing(call.events(app)) as events:
        async for event in events:
            if chunks is None:
                chunks = Chunks(call.model, usage=wanted)
                yield chunks.role()
            match event:
                case TextDelta():
                    yield chunks.text(event.text)
                case ReasoningDelta():
                    yield chunks.reasoning(event.text)
                case ToolCallStarted():
                    yield chunks.call(event.index, event.id, event.name)
                case ToolCallDelta():
                    yield chunks.arguments(event.index, event.arguments)
                case Finish():
                    yield chunks.end(event.reason, call.usage())
                case _:
                    pass
