"""Ids of models and assistants."""

from uuid import UUID, uuid4

import pytest

from folkmoot.ai.route import Snapshot
from folkmoot.gateway import names
from folkmoot.kit.errors import NotFound
from tests.ai.test_policy import choice

ASSISTANT = "01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d"


def of(connection: str, name: str, kind: str = "chat", **fields):
    made = choice(name, kind=kind, **fields)
    made.connection.name = connection
    return made


def snapshot(*choices) -> Snapshot:
    return Snapshot(choices, {}, None)


def test_the_first_of_a_name_keeps_it_and_the_others_are_told_apart():
    first, second, third = of("One", "gpt"), of("Two", "gpt"), of("Two", "other")
    found = snapshot(first, second, third)
    assert [(name, item) for name, item in names.listed(found)] == [
        ("gpt", first),
        ("Two/gpt", second),
        ("other", third),
    ]
    for name, item in names.listed(found):
        assert names.find(found, name) is item
        assert names.id_of(found, item) == name
    assert names.find(found, "One/gpt") is first
    assert names.find(found, "Two/other") is third


def test_a_name_with_a_slash_goes_before_a_connection_of_that_name():
    routed, plain = of("Router", "openai/gpt"), of("openai", "gpt")
    found = snapshot(routed, plain)
    assert names.find(found, "openai/gpt") is routed
    assert names.find(found, "gpt") is plain


def test_of_two_kinds_with_one_name_that_is_found_which_can_do_it():
    chat, embedding = of("One", "bge"), of("Two", "bge", "embedding")
    found = snapshot(chat, embedding)
    assert names.find(found, "bge", "embedding") is embedding
    assert names.find(found, "bge", "chat") is chat
    assert names.find(found, "Two/bge", "chat") is embedding


def test_what_may_not_be_called_is_not_there():
    found = snapshot(of("One", "off", enabled=False), of("One", "gone", offered=False), of("One", "rank", "rerank"))
    assert list(names.listed(found)) == []
    for name in ("off", "gone", "rank", "One/off", "", "/", "../models", "x" * 10_000):
        with pytest.raises(NotFound) as refusal:
            names.find(found, name)
        assert refusal.value.code == "model-not-found"
        assert len(refusal.value.detail) < 300


def test_an_assistant_is_named_by_its_id():
    assert names.assistant_of(f"assistant/{ASSISTANT}") == UUID(ASSISTANT)
    assert names.assistant_of("gpt") is None
    assert names.assistant_of(str(uuid4())) is None
    for half in ("assistant/", "assistant/helper", f"assistant/{ASSISTANT}/x", "assistant/../models"):
        with pytest.raises(NotFound):
            names.assistant_of(half)
