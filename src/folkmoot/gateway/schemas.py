"""What clients of OpenAI's API send to `/v1/chat/completions`.

Fields that are not here are ignored, as OpenAI's own servers do, so that a newer client works. What would change the
answer and cannot be done is here all the same, to be refused in words.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from folkmoot.kit.structs import Struct

MOST_MESSAGES = 5_000
MOST_TOOLS = 128
LARGEST_COUNT = 100_000_000

ModelId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        description="An id that `GET /v1/models` lists: a model's name, or `assistant/` and an assistant's id.",
        examples=["gpt-5-mini"],
    ),
]
Count = Annotated[int, Meta(ge=1, le=LARGEST_COUNT, examples=[1_000])]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ImageUrl(Struct, frozen=True, kw_only=True):
    url: Annotated[str, Meta(examples=["data:image/png;base64,iVBORw0KGgo="])]
    """A `data:` URL with PNG, JPEG, WebP or GIF; no address is fetched."""
    detail: str | None = None


class ContentPart(Struct, frozen=True, kw_only=True):
    """`text` with `text`, `image_url` with `image_url`, or a model's `refusal`."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None
    refusal: str | None = None


class CalledFunction(Struct, frozen=True, kw_only=True):
    name: str
    arguments: str = ""
    """JSON, as the model wrote it."""


class ChatToolCall(Struct, frozen=True, kw_only=True):
    id: str
    function: CalledFunction
    type: str = "function"


class ChatMessage(Struct, frozen=True, kw_only=True):
    role: str
    """`system`, `developer`, `user`, `assistant` or `tool`."""
    content: str | list[ContentPart] | None = None
    tool_calls: list[ChatToolCall] | None = None
    """Of an assistant's turn."""
    tool_call_id: str | None = None
    """Of a tool's turn: which call it answers."""
    refusal: str | None = None
    function_call: Any = None
    """Refused: the old form of `tool_calls`."""


class FunctionSpec(Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$", examples=["find_permit"])]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON Schema of the arguments."""


class ChatTool(Struct, frozen=True, kw_only=True):
    type: str
    """`function`."""
    function: FunctionSpec | None = None


class ChosenFunction(Struct, frozen=True, kw_only=True):
    name: str


class ToolChoice(Struct, frozen=True, kw_only=True):
    type: str
    """`function`."""
    function: ChosenFunction | None = None


class AnswerSchema(Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$", examples=["permit"])]
    schema: dict[str, Any] | None = None
    """JSON Schema."""


class ResponseFormat(Struct, frozen=True, kw_only=True):
    type: str
    """`text`, `json_object` or `json_schema`."""
    json_schema: AnswerSchema | None = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool | None = None
    """One more chunk before the end, with what the answer took."""


class ChatCompletionRequest(Struct, frozen=True, kw_only=True):
    """One turn. All that was said before comes along: nothing of it is kept for a plain model."""

    model: ModelId
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[ChatTool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    """The older name of `max_completion_tokens`."""
    temperature: float | None = None
    top_p: float | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Seed | None = None
    reasoning_effort: Effort | None = None
    """`xhigh` and `max` count as `high`."""
    n: int | None = None
    """1: for several answers, ask several times."""
    frequency_penalty: float | None = None
    """This and the next four are for models that are connected in the same dialect; others ignore them."""
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    service_tier: str | None = None
    verbosity: str | None = None
    logprobs: bool | None = None
    """Refused if true: answers carry no probabilities."""
    modalities: list[str] | None = None
    """`text`."""
    functions: Any = None
    """Refused: the old form of `tools`."""
    function_call: Any = None
    """Refused: the old form of `tool_choice`."""
    web_search_options: Any = None
    """Refused: no model looks anything up for a client."""
