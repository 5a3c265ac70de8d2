"""OpenAI's Chat Completions dialect, for every provider that speaks it: bodies, events, vectors, transcripts, lists.

    class Connection:
        def __init__(self, config, context):
            self._service = Service(context, config.base_url, ApiKey(config.api_key))

        async def models(self):
            return [ModelInfo(model.id, "chat") for model in await list_models(self._service)]

        def chat(self, request):
            return stream_chat(self._service, chat_body(request), Asked(request.model))

Stable as the rest of the SDK is. Not imported with `folkmoot_sdk`, for it brings httpx along.
"""

from folkmoot_sdk.chat_completions.calls import (
    check_named,
    embed,
    list_models,
    list_models_if_any,
    stream_chat,
)
from folkmoot_sdk.chat_completions.events import AnswerReader, read_usage
from folkmoot_sdk.chat_completions.request import Quirks, chat_body, is_strict
from folkmoot_sdk.chat_completions.tokens import count_tokens
from folkmoot_sdk.chat_completions.transcription import transcribe
from folkmoot_sdk.chat_completions.wire import Chunk, ListedModel

__all__ = [
    "AnswerReader",
    "Chunk",
    "ListedModel",
    "Quirks",
    "chat_body",
    "check_named",
    "count_tokens",
    "embed",
    "is_strict",
    "list_models",
    "list_models_if_any",
    "read_usage",
    "stream_chat",
    "transcribe",
]
