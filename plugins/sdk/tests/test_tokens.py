"""Tokens are counted as OpenAI's models count them, without a network."""

from __future__ import annotations

import asyncio
import socket

import pytest
from folkmoot_sdk import ChatRequest, ImagePart, Message, TextPart, ToolCall, ToolSpec
from folkmoot_sdk.chat_completions import count_tokens
from folkmoot_sdk.chat_completions import tokens as counting
from folkmoot_sdk.chat_completions.tokens import picture_tokens, vocabulary_of


def said(text: str, **more: object) -> Message:
    return Message(role="user", content=(TextPart(text),), **more)


def counted(model: str, *messages: Message, **more: object) -> int | None:
    return asyncio.run(count_tokens(ChatRequest(model=model, messages=messages, **more), model))


@pytest.fixture
def offline(monkeypatch):
    counting._counter.cache_clear()

    def refuse(*_: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    counting._counter.cache_clear()


# Counted with tiktoken 0.14 and the vocabularies that it fetches itself.
@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("gpt-4o", "tiktoken is great!", 6),
        ("gpt-4", "tiktoken is great!", 6),
        ("gpt-4o", "Hej på dig, 1.8 m!", 10),
        ("gpt-4o", "人口" * 100, 100),
        ("gpt-4o", "", 0),
    ],
)
def test_a_text_has_as_many_tokens_as_its_model_says(offline, model, text, tokens):
    assert counted(model, said(text)) == tokens + 7  # a turn's own, and those of the answer's beginning


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai/gpt-4.1", "o200k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("o3", "o200k_base"),
        ("claude-sonnet-5", None),
        ("gpt-99", None),
        ("", None),
    ],
)
def test_a_model_whose_vocabulary_is_not_known_is_not_counted(model, vocabulary):
    assert vocabulary_of(model) == vocabulary
    assert (counted(model, said("Hej")) is None) is (vocabulary is None)


def test_calls_tools_and_pictures_count_too():
    alone = counted("gpt-4o", said("Hej"))
    call = said("Hej", tool_calls=(ToolCall("1", "weather", '{"place": "Umeå"}'),))
    tool = ToolSpec("weather", "What the weather is", {"type": "object", "properties": {"place": {"type": "string"}}})
    picture = Message(role="user", content=(ImagePart("image/png", b"", 1024, 1024), TextPart("Hej")))
    assert counted("gpt-4o", call) > alone
    assert counted("gpt-4o", said("Hej"), tools=(tool,)) > alone + 20
    assert counted("gpt-4o", picture) == alone + 765


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        # The examples of OpenAI's own guide.
        ("gpt-4o", 1024, 1024, 765),
        ("gpt-4o", 2048, 4096, 1105),
        ("gpt-4o", 200, 100, 255),
        ("gpt-4.1-mini", 1024, 1024, 1659),
        ("gpt-4o-mini", 512, 512, 8500),
        ("gpt-4o", None, None, 765),
        ("gpt-4o", 100_000, 1, 765),
    ],
)
def test_a_picture_costs_what_its_tiles_or_patches_cost(model, width, height, tokens):
    assert picture_tokens(ImagePart("image/png", b"", width, height), model) == tokens


def test_hostile_text_is_counted_in_time(offline):
    assert counted("gpt-4o", said("a" * 200_000)) > 20_000
    assert counted("gpt-4o", said("x \ud800 y <|endoftext|>")) > 5


def test_without_a_vocabulary_nothing_is_counted(offline, monkeypatch):
    monkeypatch.setattr(counting.metadata, "distribution", _missing)
    assert counted("gpt-4o", said("Hej")) is None


def test_a_vocabulary_that_was_changed_is_not_used(offline, monkeypatch):
    changed = {name: one._replace(sha256="0" * 64) for name, one in counting._VOCABULARIES.items()}
    monkeypatch.setattr(counting, "_VOCABULARIES", changed)
    assert counted("gpt-4o", said("Hej")) is None


def _missing(name: str) -> None:
    raise counting.metadata.PackageNotFoundError(name)
