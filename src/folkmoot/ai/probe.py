"""Asking one model for a word, as it is used otherwise: through the runtime, on the organisation's account."""

from __future__ import annotations

from contextlib import aclosing
from time import monotonic
from uuid import UUID

from folkmoot_sdk import ChatRequest, ModelInfo, ProviderError

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.check import FEW_TOKENS, HELLO
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Answering, Runtime
from folkmoot.ai.schemas import ModelCheckOut
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotFound, ValidationFailed
from folkmoot.usage.ledger import Account

TEXT = "hello"


async def probe(app: App, who: Principal, model_id: UUID) -> ModelCheckOut:
    """Raises `NotFound`, and `ValidationFailed` for a kind of model that cannot be asked like this."""
    choice = (await app.part(Catalogue).of(who.tenant, need=model_id)).find(model_id)
    if choice is None:
        raise NotFound("there is no such model")
    runtime, route = app.part(Runtime), Route((choice,))
    account = Account(tenant_id=who.tenant, purpose="check", user_id=who.user_id, key_id=who.key_id)
    began = monotonic()
    try:
        match choice.model.kind:
            case "chat":
                async with aclosing(runtime.chat(route, account, _hello)) as events:
                    async for event in events:
                        if not isinstance(event, Answering):
                            break
            case "embedding":
                (await runtime.embed(route, account, [TEXT], query=True)).whole()
            case "rerank":
                await runtime.rerank(route, account, TEXT, [TEXT])
            case kind:
                raise ValidationFailed(f"a model for {kind} is not tried like this: send it something")
    except ProviderError as error:
        return ModelCheckOut(ok=False, code=error.code, message=str(error), milliseconds=None)
    milliseconds = round((monotonic() - began) * 1000)
    return ModelCheckOut(ok=True, code=None, message=f"{choice.model.name} answers", milliseconds=milliseconds)


def _hello(info: ModelInfo) -> ChatRequest:
    return ChatRequest(info.name, (HELLO,), max_output_tokens=FEW_TOKENS)
