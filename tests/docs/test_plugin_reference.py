"""The reference for plugin authors leaves nothing of the SDK out: no hook, type, field, method, promise or error."""

from __future__ import annotations

import importlib
import inspect
import re

import folkmoot_sdk
import msgspec
import pytest
from folkmoot_sdk import catalogue, chat_completions, errors, hooks, http
from folkmoot_sdk.errors import PluginError
from folkmoot_sdk.testing import recorded

from tests.docs.blocks import ROOT
from tests.docs.sdk_errors import DOES, family_of
from tests.docs.sdk_reference import KITS


def sections(page):
    text = (ROOT / "docs" / "plugins" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))


REFERENCE = sections("reference.md")
ERRORS = (ROOT / "docs" / "plugins" / "errors.md").read_text(encoding="utf-8")
PLUMBING = {"hookimpl", "hookspec"}
"""Markers of pluggy's own, which the page shows in use."""


def public():
    found = {name: getattr(folkmoot_sdk, name) for name in folkmoot_sdk.__all__}
    for part in (http, chat_completions, recorded):
        found |= {name: getattr(part, name) for name in part.__all__}
    found |= {
        name: item for name, item in vars(catalogue).items() if getattr(item, "__module__", "") == catalogue.__name__
    }
    names = {name for name in found if not name.startswith("_")} - PLUMBING
    return {name: found[name] for name in names if not is_error(found[name])}


def is_error(item):
    return isinstance(item, type) and issubclass(item, PluginError)


def test_every_public_name_has_its_section():
    assert len(public()) > 80
    assert set(public()) - set(REFERENCE) == set()


def test_every_hook_is_shown_with_its_signature_and_its_kit():
    specified = [name for name in dir(hooks) if hasattr(getattr(hooks, name), "folkmoot_spec")]
    assert set(specified) == set(KITS)
    for name in specified:
        assert f"def {name}() -> list[" in REFERENCE[name]
        assert KITS[name][1] in REFERENCE[name]


@pytest.mark.parametrize("name", sorted(name for name, item in public().items() if inspect.isclass(item)))
def test_every_field_and_method_of_a_type_is_in_its_section(name):
    kind, section = public()[name], REFERENCE[name]
    fields = set(getattr(kind, "__struct_fields__", ())) | set(getattr(kind, "__annotations__", {}))
    for field in fields:
        assert field.startswith("_") or f"| `{field}` |" in section, f"{name}.{field} is not in the reference"
    for method, item in vars(kind).items():
        if inspect.isfunction(item) and not method.startswith("_") and method not in fields:
            assert f"def {method}(" in section, f"{name}.{method}() is not in the reference"
    said = inspect.getdoc(kind) if kind.__doc__ and "__doc__" in vars(kind) else None
    if said and not issubclass(kind, tuple) and not said.startswith((name, "Protocol")):
        assert said.partition("\n")[0] in section


def test_what_the_source_says_of_a_field_stands_beside_it():
    assert "Stored with every connection, so never renamed" in REFERENCE["ProviderSpec"]
    assert (
        "| `retires_on` | `str \\| None` | `None` | The day on which the provider takes it away"
        in REFERENCE["ModelInfo"]
    )
    assert isinstance(folkmoot_sdk.ModelInfo("a", "chat"), msgspec.Struct)


@pytest.mark.parametrize(("module", "name"), KITS.values())
def test_every_promise_of_a_kit_is_listed(module, name):
    kit = getattr(importlib.import_module(f"folkmoot_sdk.{module}"), name)
    promises = [each for each in dir(kit) if each.startswith("test_")]
    assert len(promises) > 10
    for promise in promises:
        assert f"\n- {promise.removeprefix('test_').replace('_', ' ')}\n" in f"{REFERENCE[name]}\n"


def test_every_error_is_listed_with_its_code_and_what_folkmoot_does():
    kinds = family_of(PluginError)
    assert {kind.__name__ for kind in kinds} == {name for name, item in vars(errors).items() if is_error(item)}, (
        "an error stands outside of the tree"
    )
    assert set(DOES) == {kind.__name__ for kind in kinds}
    for kind in set(kinds) - {PluginError}:
        retryable = "yes" if kind.retryable else "no"
        assert f"| `{kind.__name__}` | `{kind.code}` | {retryable} | " in ERRORS
        assert kind.__name__ in ERRORS.partition("```")[2].partition("```")[0], "and not in the tree"
