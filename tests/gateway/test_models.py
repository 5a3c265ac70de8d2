"""`/v1/models`: what somebody may ask, and nothing else."""

import pytest

from tests.gateway.conftest import as_program, key_of, told

NOBODY = "assistant/01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d"


async def ids(program) -> list[str]:
    answer = await program.get("/models")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "list"
    for card in body["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(card)
        assert card["object"] == "model"
        assert isinstance(card["created"], int)
    return [card["id"] for card in body["data"]]


async def test_models_and_assistants_are_listed_and_read_one_by_one(program, assistant):
    found = await ids(program)
    assert {"stub-chat", "stub-embed", "whisper-1", "extractive", assistant} == set(found)
    for model_id in found:
        answer = await program.get(f"/models/{model_id}")
        assert (answer.status_code, answer.json()["id"]) == (200, model_id)
    card = (await program.get(f"/models/{assistant}")).json()
    assert (card["owned_by"], card["name"], card["kind"]) == ("Permits", "Helper", "assistant")
    assert (await program.get("/models/stub-chat")).json()["owned_by"] == "Stub"


async def test_a_model_may_be_called_by_its_connection_too(program):
    card = await program.get("/models/Stub/stub-chat")
    assert (card.status_code, card.json()["id"]) == (200, "Stub/stub-chat")
    assert (await program.get("/models/Without a language model/extractive")).status_code == 200
    assert (await program.chat(model="Stub/stub-chat")).json()["model"] == "Stub/stub-chat"


@pytest.mark.parametrize(
    "model", ["unknown", "../models", "a/../../b", "%00", NOBODY, "assistant/", "assistant/x", "Stub/", "ü" * 300]
)
async def test_what_is_not_there_is_told_so(program, model):
    # httpx would shorten `..` by itself.
    for answer in (await program.get(f"/models/{model.replace('.', '%2E')}"), await program.chat(model=model)):
        assert answer.status_code == 404, answer.text
        assert (told(answer)["type"], told(answer)["code"]) == ("invalid_request_error", "model_not_found")


async def test_drafts_are_for_those_who_may_see_them(api, connected, tenancy, program):
    space = await connected.space()
    draft = f"assistant/{await connected.assistant(space)}"
    shown = f"assistant/{await connected.assistant(space, published=True)}"
    viewer, stranger = await tenancy.colleague(connected), await tenancy.colleague(connected)
    put = await connected.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})
    assert put.status_code == 200
    assert {draft, shown} <= set(await ids(program))
    for person, may in ((viewer, {shown}), (stranger, set())):
        async with as_program(api, await key_of(person)) as theirs:
            assert {item for item in await ids(theirs) if item.startswith("assistant/")} == may
            for item in {draft, shown}:
                expected = 200 if item in may else 404
                assert (await theirs.get(f"/models/{item}")).status_code == expected
                assert (await theirs.chat(model=item)).status_code == expected


async def test_the_key_of_an_assistant_knows_nothing_else(api, connected, assistant):
    other = f"assistant/{await connected.assistant(await connected.space())}"
    key = await key_of(connected, assistant_id=assistant.removeprefix("assistant/"))
    async with as_program(api, key) as theirs:
        assert await ids(theirs) == [assistant]
        assert (await theirs.get(f"/models/{assistant}")).status_code == 200
        assert (await theirs.chat("How high may a fence be?", assistant)).status_code == 200
        for model in (other, "stub-chat", "Stub/stub-chat", "extractive"):
            assert told(await theirs.get(f"/models/{model}"))["code"] == "model_not_found"
            assert told(await theirs.chat(model=model))["code"] == "model_not_found"
        embedded = await theirs.post("/embeddings", json={"model": "stub-embed", "input": "x"})
        assert told(embedded)["code"] == "model_not_found"
        form = {"data": {"model": "whisper-1"}, "files": {"file": ("a.wav", b"RIFF")}}
        assert told(await theirs.post("/audio/transcriptions", **form))["code"] == "model_not_found"


async def test_another_organisation_sees_nothing_of_it(api, tenancy, assistant):
    async with as_program(api, await key_of(await tenancy.owner())) as theirs:
        assert await ids(theirs) == ["extractive"]
        for model in (assistant, "stub-chat"):
            assert (await theirs.get(f"/models/{model}")).status_code == 404
            assert told(await theirs.chat(model=model))["code"] == "model_not_found"


async def test_what_is_switched_off_is_gone(program, connected):
    models = (await connected.get("/models")).json()["items"]
    chat = next(item["id"] for item in models if item["name"] == "stub-chat")
    assert (await connected.patch(f"/models/{chat}", json={"enabled": False})).status_code == 200
    assert "stub-chat" not in await ids(program)
    assert told(await program.chat())["code"] == "model_not_found"
