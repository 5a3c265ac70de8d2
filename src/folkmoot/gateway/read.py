"""From what a client sends to what a provider is asked. Pure.

What cannot be done is refused in words, with the field that asks for it; what would not change the answer is left out.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from folkmoot_sdk import ChatRequest, ImagePart, Message, ModelInfo, TextPart, ToolCall, ToolSpec

from folkmoot.gateway.errors import Refused
from folkmoot.gateway.schemas import ChatCompletionRequest, ChatMessage, ContentPart, ResponseFormat

OPTIONS = ("frequency_penalty", "presence_penalty", "logit_bias", "service_tier", "verbosity")
"""Passed on as they are to models of the same dialect."""
IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_CHOICES = ("auto", "none", "required")


@dataclass(frozen=True)
class Read:
    """A request of a client, understood."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    tool_choice: str | None
    images: bool
    schema: dict[str, Any] | None
    options: dict[str, Any]
    sent: ChatCompletionRequest

    def for_model(self, info: ModelInfo) -> ChatRequest:
        """The request for one model."""
        sent, effort = self.sent, self.sent.reasoning_effort
        form = sent.response_format
        named = form.json_schema.name if form is not None and form.json_schema is not None else "answer"
        return ChatRequest(
            model=info.name,
            messages=self.messages,
            tools=self.tools,
            tool_choice=self.tool_choice,
            parallel_tools=sent.parallel_tool_calls if self.tools else None,
            temperature=sent.temperature,
            top_p=sent.top_p,
            max_output_tokens=sent.max_completion_tokens or sent.max_tokens,
            stop=_stops(sent.stop),
            response_schema=self.schema,
            response_schema_name=named,
            json_object=form is not None and form.type == "json_object",
            reasoning_effort="high" if effort in ("xhigh", "max") else effort,
            seed=sent.seed,
            options=self.options if info.dialect == "chat-completions" else {},
        )

    def suits(self, info: ModelInfo) -> bool:
        """Whether a model is known to take what the request has.

        Asked of those that stand in for another: whoever is named may know better than we do.
        """
        return (
            (info.vision or not self.images)
            and (info.tools or not self.tools)
            and (info.json_schema or self.schema is None)
        )


def read(sent: ChatCompletionRequest) -> Read:
    """Raises `Refused`."""
    check_answer(sent)
    for name in ("functions", "function_call"):
        if getattr(sent, name) is not None:
            raise Refused(name, f"`{name}` is the old form, which is not offered: use `tools` and `tool_choice`")
    tools = tuple(_tools(sent))
    messages = tuple(_message(message, place) for place, message in enumerate(sent.messages))
    return Read(
        messages=messages,
        tools=tools,
        tool_choice=_choice(sent, tools),
        images=any(isinstance(part, ImagePart) for message in messages for part in message.content),
        schema=_schema(sent.response_format),
        options={name: value for name in OPTIONS if (value := getattr(sent, name)) is not None},
        sent=sent,
    )


def check_answer(sent: ChatCompletionRequest) -> None:
    """Raise `Refused` for a form of answer that nobody gives here, model or assistant."""
    if sent.n not in (None, 1):
        raise Refused("n", f"`n` is {sent.n}, and one answer is given to each request: ask several times")
    if sent.logprobs:
        raise Refused("logprobs", "answers carry no probabilities: leave `logprobs` out")
    if sent.modalities is not None and sent.modalities != ["text"]:
        raise Refused("modalities", "answers are text: leave `modalities` out")
    if sent.web_search_options is not None:
        raise Refused("web_search_options", "nothing is looked up on the web here: leave `web_search_options` out")
    if sent.stream_options is not None and not sent.stream:
        raise Refused("stream_options", "`stream_options` goes with `stream`: true")


def text_of(message: ChatMessage, place: int) -> str:
    """The text of a message that may have nothing else. Raises `Refused`."""
    parts = _parts(message.content, f"messages[{place}].content", images=False)
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def role_of(message: ChatMessage, place: int) -> Literal["system", "user", "assistant", "tool"]:
    """Raises `Refused` for a role that there is not."""
    role = ROLES.get(message.role)
    if role is None:
        raise Refused(
            f"messages[{place}].role", f"{message.role[:40]!r} is no role: it is one of {', '.join(sorted(ROLES))}"
        )
    return role


def _message(message: ChatMessage, place: int) -> Message:
    role, where = role_of(message, place), f"messages[{place}]"
    if message.function_call is not None:
        raise Refused(f"{where}.function_call", "`function_call` is the old form: use `tool_calls`")
    content = _parts(message.content, f"{where}.content", images=role == "user")
    if role == "tool" and not message.tool_call_id:
        raise Refused(f"{where}.tool_call_id", "a tool's message must say which call it answers, in `tool_call_id`")
    if role == "assistant" and not content and message.refusal:
        content = (TextPart(message.refusal),)
    calls = tuple(_calls(message, where)) if role == "assistant" else ()
    if not content and not calls and message.content is None:
        raise Refused(f"{where}.content", "the message is empty: give it a `content`")
    return Message(
        role=role,
        content=content,
        tool_calls=calls,
        tool_call_id=message.tool_call_id if role == "tool" else None,
    )


def _calls(message: ChatMessage, where: str) -> Iterator[ToolCall]:
    for number, call in enumerate(message.tool_calls or ()):
        if call.type != "function":
            raise Refused(f"{where}.tool_calls[{number}].type", _only_functions(call.type))
        yield ToolCall(call.id, call.function.name, call.function.arguments)


def _parts(
    content: str | Sequence[ContentPart] | None, where: str, *, images: bool
) -> tuple[TextPart | ImagePart, ...]:
    if not isinstance(content, str):
        return tuple(_part(part, f"{where}[{number}]", images=images) for number, part in enumerate(content or ()))
    return (TextPart(content),) if content else ()


def _part(part: ContentPart, where: str, *, images: bool) -> TextPart | ImagePart:
    if part.type == "text" and part.text is not None:
        return TextPart(part.text)
    if part.type == "refusal" and part.refusal is not None:
        return TextPart(part.refusal)
    if part.type == "image_url" and part.image_url is not None:
        if not images:
            raise Refused(where, "pictures stand in messages of the role `user`, to a plain model: send text here")
        return _image(part.image_url.url, f"{where}.image_url.url")
    if part.type in ("text", "refusal", "image_url"):
        raise Refused(where, f"a part of the type {part.type!r} must have a field {part.type!r}")
    raise Refused(f"{where}.type", f"a part of the type {part.type[:40]!r} is not read here: send text or pictures")


def _image(url: str, where: str) -> ImagePart:
    head, comma, data = url.partition(",")
    kind, _, packing = head.removeprefix("data:").partition(";")
    if not comma or not head.startswith("data:"):
        raise Refused(where, "no address is fetched for a client: send the picture itself, as a `data:` URL")
    media_type = "image/jpeg" if kind.lower() == "image/jpg" else kind.lower()
    if media_type not in IMAGES or packing.rpartition(";")[2].strip().lower() != "base64":
        raise Refused(where, f"a picture is PNG, JPEG, WebP or GIF in base64, as `data:image/png;base64,…`, "
                      f"and this begins with {head[:60]!r}")  # fmt: skip
    try:
        raw = binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Refused(where, "the picture is no base64 that can be read") from None
    if not raw:
        raise Refused(where, "the picture is empty")
    return ImagePart(media_type, raw)


def _tools(sent: ChatCompletionRequest) -> Iterator[ToolSpec]:
    for number, tool in enumerate(sent.tools or ()):
        if tool.type != "function":
            raise Refused(f"tools[{number}].type", _only_functions(tool.type))
        if tool.function is None:
            raise Refused(f"tools[{number}].function", "a tool of the type 'function' must have a field 'function'")
        spec = tool.function
        yield ToolSpec(spec.name, spec.description or "", spec.parameters or {"type": "object", "properties": {}})


def _choice(sent: ChatCompletionRequest, tools: Sequence[ToolSpec]) -> str | None:
    chosen = sent.tool_choice
    if chosen is None:
        return None
    if not tools:
        if chosen == "none":
            return None
        raise Refused("tool_choice", "`tool_choice` chooses among `tools`, and there are none")
    if isinstance(chosen, str):
        return chosen
    if chosen.type != "function" or chosen.function is None:
        raise Refused("tool_choice", "`tool_choice` is `auto`, `none`, `required`, or one function by its name")
    name = chosen.function.name
    if name in _CHOICES or all(tool.name != name for tool in tools):
        raise Refused("tool_choice.function.name", f"{name[:80]!r} is none of the tools that can be chosen by name")
    return name


def _schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    if form is None or form.type in ("text", "json_object"):
        return None
    if form.type != "json_schema":
        raise Refused("response_format.type", f"{form.type[:40]!r} is none of `text`, `json_object`, `json_schema`")
    if form.json_schema is None or form.json_schema.schema is None:
        raise Refused("response_format.json_schema", "the form `json_schema` needs a `name` and a `schema`")
    return form.json_schema.schema


def _stops(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    given = (stop,) if isinstance(stop, str) else tuple(stop or ())
    return tuple(text for text in given if text)


def _only_functions(kind: str) -> str:
    return f"{kind[:40]!r} is not offered: tools are of the type 'function'"
