"""`/v1`: what programs that were written for OpenAI's API call."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from litestar import Controller, Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Choice
from folkmoot.gateway import assistants, complete, names
from folkmoot.gateway.answers import ChatCompletion, EmbeddingList, ModelCard, ModelCards, Transcription
from folkmoot.gateway.body import body_of
from folkmoot.gateway.complete import Call
from folkmoot.gateway.errors import PREFIX, Handlers, below
from folkmoot.gateway.operations import CHUNKS, ERRORS, ChatOperation, EmbedOperation, TranscribeOperation
from folkmoot.gateway.schemas import ChatCompletionRequest
from folkmoot.gateway.stream import EventStream, WholeAnswer, while_heard
from folkmoot.gateway.transcripts import LARGEST_BODY, read_form, transcribe
from folkmoot.gateway.vectors import EmbeddingRequest, embed
from folkmoot.kit.access import Permission, Principal, Scope
from folkmoot.kit.app import App
from folkmoot.kit.http import needs, principal_of
from folkmoot.kit.jobs import Task

LARGEST_REQUEST = 32 * 1024 * 1024
"""Bytes: pictures come within."""
encode = msgspec.json.Encoder().encode
AnyRequest = Request[Any, Any, State]


def gateway(answer: Task, handlers: Handlers) -> Router:
    """The routes under `/v1`. `answer` has an assistant's answer written; `handlers` are the application's own."""
    return Router(
        path=PREFIX,
        route_handlers=[ModelsController, AnswersController],
        exception_handlers=below(handlers),
        opt={**needs(Permission.SPACES, scope=Scope.CHAT, assistant_key=True), "answer": answer},
        tags=["OpenAI-compatible"],
    )


class ModelsController(Controller):
    path = "/models"

    @get("/", operation_id="v1_list_models", summary="List the models and assistants I may ask", responses=ERRORS)
    async def page(self, app: NamedDependency[App], request: AnyRequest) -> ModelCards:
        """The default of each kind comes first of its kind; assistants come last. All of them, in one page."""
        principal = principal_of(request)
        return ModelCards(data=[*await _plain(app, principal), *await assistants.cards(app, principal)])

    @get("/{model:path}", operation_id="v1_get_model", summary="Read one model or assistant", responses=ERRORS)
    async def read(self, app: NamedDependency[App], request: AnyRequest, model: FromPath[str]) -> ModelCard:
        model_id, principal = model.removeprefix("/"), principal_of(request)
        if (assistant_id := names.assistant_of(model_id)) is not None:
            return await assistants.card(app, principal, assistant_id, model_id)
        if principal.assistant_id is not None:
            raise names.no_such_model(model_id)
        snapshot = await app.part(Catalogue).of(principal.tenant)
        return _card(model_id, names.find(snapshot, model_id))


class AnswersController(Controller):
    @post(
        "/chat/completions",
        operation_id="v1_chat_completion",
        summary="Ask a model or an assistant",
        operation_class=ChatOperation,
        responses={**ERRORS, 200: CHUNKS},
        status_code=200,
        dto=body_of(ChatCompletionRequest),
        return_dto=None,
        request_max_body_size=LARGEST_REQUEST,
    )
    async def chat(
        self, app: NamedDependency[App], request: AnyRequest, data: JSONBody[ChatCompletionRequest]
    ) -> Response[ChatCompletion]:
        """A plain model is asked at once and nothing is kept. An assistant answers from its knowledge, with citations.

        Whoever leaves before the end stops the answer.
        """
        principal = principal_of(request)
        if (assistant_id := names.assistant_of(data.model)) is not None:
            asked = await assistants.ask(app, principal, assistant_id, data, request.route_handler.opt["answer"])
            frames, whole = assistants.frames(app, asked), assistants.whole(app, asked)
        else:
            call = await Call.prepare(app, principal, data)
            frames, whole = complete.frames(app, call), complete.whole(app, call)
        answered = EventStream(frames) if data.stream else WholeAnswer(whole)
        return cast("Response[ChatCompletion]", answered)

    @post(
        "/embeddings",
        operation_id="v1_embeddings",
        summary="Turn texts into vectors",
        operation_class=EmbedOperation,
        responses=ERRORS,
        status_code=200,
        dto=body_of(EmbeddingRequest),
        return_dto=None,
        request_max_body_size=LARGEST_REQUEST,
    )
    async def embeddings(
        self, app: NamedDependency[App], request: AnyRequest, data: JSONBody[EmbeddingRequest]
    ) -> Response[EmbeddingList]:
        async with while_heard(request.receive):
            return _encoded(await embed(app, principal_of(request), data))

    @post(
        "/audio/transcriptions",
        operation_id="v1_transcription",
        summary="Turn speech into text",
        operation_class=TranscribeOperation,
        responses=ERRORS,
        status_code=200,
        request_max_body_size=LARGEST_BODY,
    )
    async def transcriptions(self, app: NamedDependency[App], request: AnyRequest) -> Response[Transcription]:
        """At most 25 MB of audio."""
        form = await read_form(request.headers.get("content-type", ""), request.stream())
        async with while_heard(request.receive):
            return await transcribe(app, principal_of(request), form)


def _encoded(answer: Any) -> Response[Any]:
    return Response(encode(answer), media_type="application/json")


async def _plain(app: App, principal: Principal) -> list[ModelCard]:
    """The key of an assistant knows of no model but its assistant."""
    if principal.assistant_id is not None:
        return []
    snapshot = await app.part(Catalogue).of(principal.tenant)
    return [_card(model_id, choice) for model_id, choice in names.listed(snapshot)]


def _card(model_id: str, choice: Choice) -> ModelCard:
    window = choice.info.context_window
    return ModelCard(
        id=model_id,
        created=int(choice.model.created_at.timestamp()),
        owned_by=choice.connection.name,
        name=choice.info.title or choice.model.name,
        kind=choice.model.kind,
        context_window=window if window is not None else msgspec.UNSET,
    )
