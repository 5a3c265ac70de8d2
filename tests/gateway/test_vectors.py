"""`/v1/embeddings`."""

import base64
import struct

import pytest

from tests.gateway.conftest import told
from tests.gateway.test_chat import settled
from tests.support.openai_stub import embed

TEXTS = ["A fence may be high.", "A hedge too."]


async def asked(program, **fields):
    return await program.post("/embeddings", json={"model": "stub-embed", "input": TEXTS, **fields})


def close(vector, text) -> bool:
    return all(abs(a - b) < 1e-6 for a, b in zip(vector, embed(text, len(vector)), strict=True))


async def test_texts_become_vectors_in_their_order(program, connected):
    body = (await asked(program)).json()
    assert (body["object"], body["model"]) == ("list", "stub-embed")
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert all(close(item["embedding"], text) for item, text in zip(body["data"], TEXTS, strict=True))
    assert body["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    (entry,) = await settled(connected)
    assert (entry["purpose"], entry["model"], entry["input_tokens"]) == ("api", "stub-embed", "8")


async def test_one_text_alone_and_fewer_dimensions(program):
    body = (await asked(program, input="A fence.", dimensions=16)).json()
    (item,) = body["data"]
    assert close(item["embedding"], "A fence.")
    assert len(item["embedding"]) == 16


async def test_packed_as_the_official_client_wants_it(program):
    body = (await asked(program, encoding_format="base64")).json()
    for item, text in zip(body["data"], TEXTS, strict=True):
        raw = base64.b64decode(item["embedding"])
        assert close(struct.unpack(f"<{len(raw) // 4}f", raw), text)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 2_049}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": [["a"]]}, "input[0][0]"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "many"}, "dimensions"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_with_its_field(program, fields, param):
    answer = await asked(program, **fields)
    assert answer.status_code == 400
    assert told(answer)["param"] == param


@pytest.mark.parametrize(
    ("model", "status"), [("stub-chat", 400), ("unknown", 404), ("assistant/01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d", 404)]
)
async def test_only_a_model_for_it_can_do_it(program, model, status):
    answer = await asked(program, model=model)
    assert answer.status_code == status
    assert told(answer)["message"]
