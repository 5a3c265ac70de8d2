"""What a request is estimated at, and what a provider's own count is worth."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from folkmoot_sdk import (
    ChatRequest,
    Finish,
    ImagePart,
    Message,
    ModelInfo,
    ProviderSpec,
    TextDelta,
    TextPart,
    ToolSpec,
    Unavailable,
)
from msgspec import Struct

from folkmoot.ai import counting
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.counting import IMAGE_TOKENS, image_tokens, request_tokens, text_tokens
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.kit.errors import Conflict
from folkmoot.plugins.manager import PluginManager

KIND = "counts-for-a-test"
ASKED = ChatRequest(model="odd-chat", messages=(Message(role="user", content=(TextPart("Hej"),)),))


class Config(Struct, frozen=True):
    pass


class Connection:
    told: object = 7

    async def models(self):
        return [ModelInfo("odd-chat", "chat")]

    async def chat(self, request):
        yield TextDelta("Hej")
        yield Finish("stop")

    async def count_tokens(self, request):
        match self.told:
            case BaseException() as error:
                raise error
            case "never":
                await asyncio.sleep(60)
        return self.told


@pytest.fixture
async def counted(app, owner):
    """What comes of what the provider tells."""
    connection = Connection()

    @asynccontextmanager
    async def connect(_config, _context):
        yield connection

    plugins = app.part(PluginManager).providers
    plugins[KIND] = ProviderSpec(kind=KIND, title="Counts", config=Config, connect=connect)
    await owner.made("/connections", kind=KIND, name="Counts", config={})

    async def counted(told: object, **more) -> int | None:
        connection.told = told
        choices = (await app.part(Catalogue).of(owner.tenant_id)).choices
        choice = next(choice for choice in choices if choice.model.name == "odd-chat")
        return await app.part(Runtime).count(Route((choice,), **more), ASKED)

    yield counted
    del plugins[KIND]


async def test_a_providers_count_holds(counted):
    assert await counted(7) == 7


@pytest.mark.parametrize("told", [None, 0, -5, "many", 3.5, Unavailable("not now"), ValueError("a defect"), "never"])
async def test_without_a_count_that_can_be_the_estimate_holds(counted, told, monkeypatch):
    monkeypatch.setattr(counting, "COUNT_SECONDS", 0.05)
    assert await counted(told) is None


async def test_a_model_that_may_not_see_the_text_any_more_does_not_count_it(counted):
    async def refuse(_: object) -> None:
        raise Conflict("it is secret now")

    with pytest.raises(Conflict):
        await counted(7, still=refuse, made=0.0)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("abc", 1), ("abcd", 2), ("å" * 3, 2), ("人口", 2), ("😀", 2), ("\ud800", 1)]
)
def test_a_text_is_estimated_by_its_bytes(text, tokens):
    assert text_tokens(text) == tokens


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (None, None, IMAGE_TOKENS),
        (1000, 750, 1000),
        (10, 10, 255),
        (20_000, 20_000, IMAGE_TOKENS),
        (0, 5, IMAGE_TOKENS),
    ],
)
def test_a_picture_is_estimated_by_its_size(width, height, tokens):
    assert image_tokens(ImagePart("image/png", b"", width, height)) == tokens


def test_tools_are_part_of_a_request():
    tool = ToolSpec("weather", "What it is like outside", {"type": "object", "properties": {"place": {}}})
    more = ChatRequest(model="m", messages=ASKED.messages, tools=(tool,))
    assert request_tokens(more) > request_tokens(ASKED) + 20
