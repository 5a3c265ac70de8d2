"""What the OpenAPI document says of `/v1` that Litestar cannot tell from the handlers: streams, forms and examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIType

from folkmoot.gateway.answers import ChatCompletionChunk
from folkmoot.gateway.errors import ErrorOut
from folkmoot.gateway.transcripts import FORMATS

_SAID = {
    400: "The request makes no sense as it stands; `param` names the field. Also `context_length_exceeded` and "
    "`content_filter`.",
    401: "`invalid_api_key`.",
    403: "`scope_missing`, `model_not_cleared` and others: known to you, and not allowed to you.",
    404: "`model_not_found`: not there, or not for you to know of.",
    405: "`method_not_allowed`.",
    408: "`request_timeout`: the body stood still for too long.",
    409: "`answer_in_progress`, `request_in_progress` and others: clashes with what is stored.",
    412: "`changed_meanwhile`.",
    413: "`content_too_large`.",
    415: "`unsupported_content_type`.",
    429: "`rate_limit_exceeded`: `Retry-After` says when to come back. `insufficient_quota`: a budget is used up.",
    500: "`internal_error`: our mistake, logged under `X-Request-ID`.",
    502: "`provider_bad_response`, `provider_authentication_failed`, `provider_quota_exhausted`: the provider did not "
    "answer as it should.",
    503: "`provider_unavailable`, `not_available`: try again in a moment.",
}
ERRORS = {status: ResponseSpec(ErrorOut, description=said, generate_examples=False) for status, said in _SAID.items()}
CHUNKS = ResponseSpec(
    ChatCompletionChunk,
    media_type="text/event-stream",
    generate_examples=False,
    description="The answer; with `stream`: true its chunks, each the data of one event, and `[DONE]` as the last.",
)
ASSISTANT = "assistant/01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d"
QUESTION = {
    "model": ASSISTANT,
    "messages": [{"role": "user", "content": "How high may a fence be?"}],
    "stream": False,
}
TEXTS = {"model": "text-embedding-3-small", "input": ["A fence may be 1.2 metres high."]}


def _with_example(operation: Operation, example: dict[str, Any]) -> None:
    body = operation.request_body
    if isinstance(body, RequestBody):
        for media in body.content.values():
            media.example = example


@dataclass
class ChatOperation(Operation):
    """Answers in two forms, by `stream`."""

    def __post_init__(self) -> None:
        _with_example(self, QUESTION)
        response = (self.responses or {}).get("200")
        if isinstance(response, OpenAPIResponse):
            whole = OpenAPIMediaType(schema=Reference(ref="#/components/schemas/ChatCompletion"))
            response.content = {"application/json": whole, **(response.content or {})}


@dataclass
class EmbedOperation(Operation):
    def __post_init__(self) -> None:
        _with_example(self, TEXTS)


def _text(description: str, **more: Any) -> Schema:
    return Schema(type=OpenAPIType.STRING, description=description, **more)


@dataclass
class TranscribeOperation(Operation):
    """The body is read as it comes, so it is described here and not by a parameter."""

    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
        fields: dict[str, Reference | Schema] = {
            "file": file,
            "model": _text("An id that `GET /v1/models` lists, of a model for transcription."),
            "language": _text("ISO 639-1, if it is known."),
            "prompt": _text("Words and names that may occur."),
            "response_format": _text("`json` if left out.", enum=list(FORMATS)),
            "temperature": Schema(type=OpenAPIType.NUMBER),
        }
        self.request_body = RequestBody(
            required=True,
            content={
                "multipart/form-data": OpenAPIMediaType(
                    schema=Schema(type=OpenAPIType.OBJECT, required=["file", "model"], properties=fields)
                )
            },
        )
        response = (self.responses or {}).get("200")
        if isinstance(response, OpenAPIResponse):
            response.content = {**(response.content or {}), "text/plain": OpenAPIMediaType(schema=_text("The text."))}
