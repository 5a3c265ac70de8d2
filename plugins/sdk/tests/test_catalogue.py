"""What is known of models comes from files with a date, and no price is guessed."""

from __future__ import annotations

import sys

import msgspec
import pytest
from folkmoot_sdk import ModelInfo, Price
from folkmoot_sdk.catalogue import Catalogue, Known, open_models

FILE = """
as_of = "2026-11-20"
other = ["^dall-e"]

[[model]]
match = "^small(-2026-01-01)?$"
kind = "chat"
context_window = 1000
tools = true
efforts = ["low"]
tools_effort = "none"
price = { input = 150_000, output = 600_000 }
retires_on = "2027-01-31"

[[model]]
match = "^large$"
kind = "chat"
price = { input = 1, as_of = "2026-01-01" }

[[model]]
match = "^vec"
kind = "embedding"
dimensions = 3
max_batch_tokens = 9
price = {}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """A catalogue from the text of a file in a package of its own."""
    names = iter(f"folkmoot_test_catalogue_{n}" for n in range(9))

    def read(text):
        name = next(names)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "models.toml").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        catalogue = Catalogue.read(name, "models.toml")
        sys.modules.pop(name, None)
        return catalogue

    return read


def test_a_price_carries_the_day_of_its_list(read):
    catalogue = read(FILE)
    assert catalogue.known("small", "chat").price == Price(150_000, 600_000, as_of="2026-11-20")
    assert catalogue.known("large", "chat").price == Price(1, as_of="2026-01-01")
    assert catalogue.known("vec-1", "embedding").price == Price(as_of="2026-11-20"), "nothing is a price too"
    assert catalogue.known("other", "chat").price is None


def test_prices_and_days_hold_only_where_the_vendor_sells_them(read):
    catalogue = read(FILE)
    sold = catalogue.describe("vendor/small-2026-01-01", "chat", priced=True, dialect="d")
    assert sold == ModelInfo(
        "vendor/small-2026-01-01",
        "chat",
        context_window=1000,
        tools=True,
        dialect="d",
        price=Price(150_000, 600_000, as_of="2026-11-20"),
        retires_on="2027-01-31",
    )
    elsewhere = catalogue.describe("small", "chat", priced=False, context_window=9)
    assert (elsewhere.price, elsewhere.retires_on, elsewhere.context_window) == (None, None, 9)
    assert catalogue.describe("gpu-7", "chat", priced=True, known_as="small").price is not None


def test_a_model_that_takes_tools_only_at_an_effort_it_lacks_has_none_there(read):
    catalogue = read(FILE)
    assert catalogue.describe("small", "chat", priced=True, strict_tools=False).tools
    assert not catalogue.describe("small", "chat", priced=True, strict_tools=True).tools


def test_the_first_file_is_asked_first_and_kinds_are_told_apart(read):
    both = read(FILE) + open_models()
    assert both.known("vec-bge-m3", "embedding").dimensions == 3
    assert both.known("bge-m3:latest", "embedding").dimensions == 1024
    assert [both.kind_of(name) for name in ("small", "vec-1", "dall-e-3", "bge-m3", "x-reranker-2")] == [
        "chat",
        "embedding",
        None,
        "embedding",
        "rerank",
    ]


def test_the_order_of_the_rows_is_the_order_of_preference(read):
    catalogue = read(FILE)
    names = ["vec-2", "zeta", "large", "small-2026-01-01", "small", "alpha"]
    models = [ModelInfo(name, catalogue.kind_of(name)) for name in names]
    assert [model.name for model in catalogue.preferred(models)] == [
        "small",
        "small-2026-01-01",
        "large",
        "zeta",
        "alpha",
        "vec-2",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "as_of = 3",
        'as_of = "2026-01-01"\n[[model]]\nmatch = "a"\nkind = "chat"\nprize = 3',
        'as_of = "2026-01-01"\n[[model]]\nmatch = "a"\nkind = "cat"',
    ],
)
def test_a_file_with_a_slip_in_it_is_refused(read, text):
    with pytest.raises(msgspec.ValidationError):
        read(text)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("llama3.1:8b", "chat"),
        ("BAAI/bge-m3", "embedding"),
        ("intfloat/multilingual-e5-large", "embedding"),
        ("thenlper/gte-small", "embedding"),
        ("sentence-transformers/all-MiniLM-L6-v2", "embedding"),
        ("nomic-embed-text:latest", "embedding"),
        ("qwen3-embedding:8b", "embedding"),
        ("Systran/faster-whisper-large-v3", "transcription"),
        ("bge-reranker-v2-m3", "rerank"),
        ("stable-diffusion-xl", None),
        ("llama-guard-3", None),
        ("whisper-tts", None),
    ],
)
def test_a_name_tells_what_an_open_model_does(name, kind):
    assert open_models().kind_of(name) == kind


def test_open_models_have_no_price_and_their_prefixes():
    assert all(row.price is None for row in open_models().rows)
    e5 = open_models().known("intfloat/multilingual-e5-base", "embedding")
    assert (e5.query, e5.document) == ("query: ", "passage: ")
    assert open_models().known("text-unknown", "embedding") == Known(match="", kind="embedding")
