"""How many tokens a request has: a quick estimate for most, the model's own count where it is close.

The estimate goes by bytes, so that it holds for scripts that take several to a letter. It errs upwards for the
languages of Europe; dense text (base64, tables of figures) may have half as many again.
"""

from __future__ import annotations

import asyncio
import math

import msgspec
from folkmoot_sdk import ChatRequest, ImagePart, Message, ProviderError, TextPart, TokenCounter, ToolSpec

from folkmoot.ai.guard import guarded
from folkmoot.ai.open import OpenModel
from folkmoot.kit.log import get_logger

log = get_logger(__name__)

BYTES_PER_TOKEN = 3
IMAGE_TOKENS = 1_600
"""About what providers count for one picture at full resolution."""
MESSAGE_TOKENS = 4
"""What a turn costs beside its words."""
TOOL_TOKENS = 16
COUNT_SECONDS = 3.0
"""How long a provider may take to count: an estimate does as well as an answer that comes later."""


def text_tokens(text: str) -> int:
    """About how many tokens a text has."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return math.ceil(size / BYTES_PER_TOKEN)


def image_tokens(image: ImagePart) -> int:
    """About how many tokens a picture has: as at Anthropic (a token for 750 pixels), where its size is known.

    OpenAI's tiles come to less for all but tiny ones. Source: platform.claude.com, Vision, "Calculate image costs".
    """
    if image.width and image.height:
        return min(max(math.ceil(image.width * image.height / 750), 255), IMAGE_TOKENS)
    return IMAGE_TOKENS


def tool_tokens(tool: ToolSpec) -> int:
    schema = msgspec.json.encode(tool.parameters).decode()
    return TOOL_TOKENS + text_tokens(tool.name) + text_tokens(tool.description) + text_tokens(schema)


def message_tokens(message: Message) -> int:
    total = MESSAGE_TOKENS + sum(text_tokens(call.name + call.arguments) + 8 for call in message.tool_calls)
    for part in message.content:
        total += text_tokens(part.text) if isinstance(part, TextPart) else image_tokens(part)
    return total


def request_tokens(request: ChatRequest) -> int:
    """About how many tokens the input of a request has."""
    total = sum(message_tokens(message) for message in request.messages)
    total += sum(text_tokens(passage.text) + 20 for passage in request.passages)
    return total + sum(tool_tokens(tool) for tool in request.tools)


async def count(model: OpenModel, request: ChatRequest) -> int | None:
    """The model's own count of a request's input; None if it has none, or does not tell in time."""
    counter = model.connection
    if not isinstance(counter, TokenCounter):
        return None
    try:
        async with asyncio.timeout(COUNT_SECONDS):
            with guarded(model.name, model.secrets):
                counted = await counter.count_tokens(request)
    except (TimeoutError, ProviderError) as error:
        log.info("model.not_counted", model=model.name, error=type(error).__name__)
        return None
    # A plugin may say anything.
    return counted if isinstance(counted, int) and counted > 0 else None
