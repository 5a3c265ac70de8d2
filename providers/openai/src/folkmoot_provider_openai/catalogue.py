"""What is known of models by their names, as data.

`GET /models` tells little more than names, so kind, context window and the rest come from here, unless the
service says so itself. The first row whose pattern matches holds. A name is looked up in lower case and
without its vendor (`openai/gpt-4o` → `gpt-4o`) or its tag (`bge-m3:latest` → `bge-m3`).

The order of the chat rows is the order of preference: quick to its first word, good at keeping to its
sources, a long context; then the small ones; then the older ones.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from folkmoot_sdk import ModelInfo, ModelKind


class Chat(NamedTuple):
    pattern: str
    context: int | None = None
    output: int | None = None
    vision: bool = False
    tools: bool = False
    reasoning: bool = False
    fixed_sampling: bool = False
    """Refuses `temperature` and `top_p`; they are left out."""


class Embedding(NamedTuple):
    pattern: str
    dimensions: int | None = None
    query: str = ""
    """Put before a question."""
    document: str = ""
    """Put before a passage."""


OTHER = re.compile(
    r"(^|[-_.])(tts|dall-e|image|images|sora|moderation|realtime|audio|rerank\w*|reranker|flux|"
    r"stable-diffusion|sdxl|whisper-tts|speech|video|babbage|davinci|computer-use|guard|instruct-0914|ocr)"
    r"([-_.]|$|\d)"
)
"""Neither chat nor embedding nor transcription: left out."""

TRANSCRIPTION = re.compile(r"whisper|transcribe|voxtral-mini-transcribe|parakeet|canary-1b")

_INSTRUCT = "Instruct: Given a question, retrieve passages that answer it\nQuery: "
_SEARCHING = "Represent this sentence for searching relevant passages: "

EMBEDDINGS = (
    Embedding(r"text-embedding-3-large", 3072),
    Embedding(r"text-embedding-3-small", 1536),
    Embedding(r"text-embedding-ada-002", 1536),
    Embedding(r"e5-(large|mistral).*-instruct", None, query=_INSTRUCT),
    Embedding(r"multilingual-e5-large-instruct", 1024, query=_INSTRUCT),
    Embedding(r"e5-large", 1024, query="query: ", document="passage: "),
    Embedding(r"e5-base", 768, query="query: ", document="passage: "),
    Embedding(r"e5-small", 384, query="query: ", document="passage: "),
    Embedding(r"bge-m3", 1024),
    Embedding(r"bge-large-en", 1024, query=_SEARCHING),
    Embedding(r"bge-base-en", 768, query=_SEARCHING),
    Embedding(r"bge-small-en", 384, query=_SEARCHING),
    Embedding(r"mxbai-embed-large", 1024, query=_SEARCHING),
    Embedding(r"snowflake-arctic-embed-l-v2|arctic-embed2", 1024, query="query: "),
    Embedding(r"qwen3-embedding.*(?<!\d)0\.6b", 1024, query=_INSTRUCT),
    Embedding(r"qwen3-embedding.*(?<!\d)4b", 2560, query=_INSTRUCT),
    Embedding(r"qwen3-embedding.*(?<!\d)8b", 4096, query=_INSTRUCT),
    Embedding(r"qwen3-embedding", None, query=_INSTRUCT),
    Embedding(r"nomic-embed-text", 768, query="search_query: ", document="search_document: "),
    Embedding(r"embeddinggemma", 768, query="task: search result | query: ", document="title: none | text: "),
    Embedding(r"mistral-embed", 1024),
    Embedding(r"jina-embeddings-v3", 1024),
    Embedding(r"gte-large", 1024),
    Embedding(r"gte-base|gte-multilingual-base", 768),
    Embedding(r"gte-small", 384),
    Embedding(r"minilm", 384),
    Embedding(r"(^|[-_])(bge|e5|gte|sbert|sentence)([-_]|$)"),
    Embedding(r"embed"),
)

_ALL = {"vision": True, "tools": True}

CHATS = (
    Chat(r"^gpt-5\.\d+(-chat.*)?$", 400_000, 128_000, **_ALL, reasoning=True, fixed_sampling=True),
    Chat(r"^gpt-4\.1$", 1_047_576, 32_768, **_ALL),
    Chat(r"^gpt-4\.1-mini", 1_047_576, 32_768, **_ALL),
    Chat(r"^gpt-4o$", 128_000, 16_384, **_ALL),
    Chat(r"^gpt-4o-mini", 128_000, 16_384, **_ALL),
    Chat(r"^gpt-5(\.\d+)?-chat", 128_000, 16_384, vision=True, fixed_sampling=True),
    Chat(r"^gpt-5", 400_000, 128_000, **_ALL, reasoning=True, fixed_sampling=True),
    Chat(r"^gpt-([6-9]|\d\d)", None, None, **_ALL, reasoning=True, fixed_sampling=True),
    Chat(r"^gpt-4\.1", 1_047_576, 32_768, **_ALL),
    Chat(r"^(gpt-4o|chatgpt-4o)", 128_000, 16_384, **_ALL),
    Chat(r"^o1-(mini|preview)", 128_000, 65_536, reasoning=True, fixed_sampling=True),
    Chat(r"^o[1-9]", 200_000, 100_000, **_ALL, reasoning=True, fixed_sampling=True),
    Chat(r"^gpt-4-turbo", 128_000, 4_096, **_ALL),
    Chat(r"^gpt-4-(0125|1106)", 128_000, 4_096, tools=True),
    Chat(r"^gpt-4", 8_192, 8_192, tools=True),
    Chat(r"^gpt-3\.5-turbo-instruct", 4_096, 4_096),
    Chat(r"^gpt-3\.5", 16_385, 4_096, tools=True),
    Chat(r"^gpt-oss", 131_072, None, tools=True, reasoning=True),
    Chat(r"^mistral-(large|medium|small)", 128_000, None, tools=True),
    Chat(r"^(llama-?3\.[123]|llama-?4)", 128_000, None, tools=True),
    Chat(r"^qwen-?3", 32_768, None, tools=True, reasoning=True),
    Chat(r"^qwen-?2\.5-?vl", 32_768, None, vision=True),
    Chat(r"^qwen-?2\.5", 32_768, None, tools=True),
    Chat(r"^gemma-?3", 128_000, None, vision=True),
    Chat(r"^deepseek-(r1|reasoner)", 64_000, None, reasoning=True),
    Chat(r"^deepseek", 64_000, None, tools=True),
    Chat(r"llava|pixtral|[-_]vl([-_]|$)|vision", None, None, vision=True),
    Chat(r""),
)

_EMBEDDING_ROWS = [(re.compile(row.pattern), row) for row in EMBEDDINGS]
_CHAT_ROWS = [(re.compile(row.pattern), place, row) for place, row in enumerate(CHATS)]
_SNAPSHOT = re.compile(r"-(\d{4}|\d{4}-\d\d-\d\d|preview|latest)$")
_NUMBERS = re.compile(r"\d+")


def kind_of(name: str) -> ModelKind | None:
    """What a model of this name does; None if it is of no use here."""
    bare = _bare(name)
    if TRANSCRIPTION.search(bare):
        return "transcription"
    if OTHER.search(bare):
        return None
    return "embedding" if any(pattern.search(bare) for pattern, _ in _EMBEDDING_ROWS) else "chat"


def embedding(name: str) -> Embedding:
    """What is known of an embedding model."""
    bare = _bare(name)
    return next((row for pattern, row in _EMBEDDING_ROWS if pattern.search(bare)), EMBEDDINGS[-1])


def chat(name: str) -> Chat:
    """What is known of a chat model."""
    return _chat_row(_bare(name))[1]


def describe(name: str, kind: ModelKind, *, max_batch: int, context: int | None = None) -> ModelInfo:
    """A model as the host lists it; `context` is what the service itself says, and goes first."""
    if kind == "chat":
        row = chat(name)
        return ModelInfo(
            name,
            kind,
            context_window=context or row.context,
            max_output_tokens=row.output,
            vision=row.vision,
            tools=row.tools,
            reasoning=row.reasoning,
        )
    if kind == "embedding":
        known = embedding(name)
        return ModelInfo(name, kind, context_window=context, dimensions=known.dimensions, max_batch=max_batch)
    return ModelInfo(name, kind)


def preferred(models: list[ModelInfo]) -> list[ModelInfo]:
    """Best default of each kind first; what the tables do not know stays in the service's own order."""
    return sorted(models, key=_preference)


def _preference(model: ModelInfo) -> tuple[int, int, bool, list[int]]:
    bare = _bare(model.name)
    order: dict[ModelKind, Literal[0, 1, 2, 3]] = {"chat": 0, "embedding": 1, "rerank": 2, "transcription": 3}
    if model.kind == "chat":
        place, row = _chat_row(_SNAPSHOT.sub("", bare))
        newest = [-int(number) for number in _NUMBERS.findall(row.pattern and bare)]
    else:
        place = next(
            (place for place, (pattern, _) in enumerate(_EMBEDDING_ROWS) if pattern.search(bare)),
            len(_EMBEDDING_ROWS),
        )
        if bare.startswith("text-embedding-3-small"):  # a fifth of the price, half the storage, nearly as good
            place = -1
        newest = []
    return order[model.kind], place, bool(_SNAPSHOT.search(bare)), newest


def _chat_row(bare: str) -> tuple[int, Chat]:
    return next((place, row) for pattern, place, row in _CHAT_ROWS if pattern.search(bare))


def _bare(name: str) -> str:
    return name.lower().rsplit("/", 1)[-1].split(":", 1)[0] if not name.startswith("ft:") else name[3:].lower()
