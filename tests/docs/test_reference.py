"""The reference pages say what the code does: every code, setting, command, event and permission, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import folkmoot_sdk
import pytest
from folkmoot_sdk.errors import PluginError

from folkmoot.cli import main
from folkmoot.conversations.events import AnswerEvent
from folkmoot.kit.errors import AppError
from folkmoot.plugins import choose
from tests.docs.blocks import ROOT
from tests.docs.generated import PAGES

CODE = re.compile(r"[a-z]+(-[a-z]+)*")
ENDINGS = {"_failure": 0, "_fail": 2, "abandon": 3, "_refusal": 2, "_field": 2, "Locked": 2,
           "Outcome": 1}  # fmt: skip
"""Functions that are given a code, and the place of it."""
WHERE = (
    "src",
    "plugins/parser-pdf/src",
    "plugins/parser-office/src",
    "plugins/auth-oidc/src",
    "plugins/auth-ldap/src",
    "plugins/sdk/src",
    "providers",
)


def text_of(page: str) -> str:
    return (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")


def sources() -> list[Path]:
    found = [path for folder in WHERE for path in (ROOT / folder).rglob("*.py") if "tests" not in path.parts]
    assert len(found) > 60
    return found


def called(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""), node)
        for node in calls
    ]


def words(node: ast.AST | None) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def codes_in(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for name, call in called(tree):
        found.update(word for item in call.keywords if item.arg == "code" for word in words(item.value))
        if name in ENDINGS and len(call.args) > ENDINGS[name]:
            found.update(words(call.args[ENDINGS[name]]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names = [getattr(target, "id", getattr(target, "attr", "")) for target in node.targets]
            if {"code", "error_code"} & set(names):
                found.update(words(node.value))
    return {code for code in found if CODE.fullmatch(code)}


def below(kind: type) -> set[type]:
    return {kind} | {deeper for child in kind.__subclasses__() for deeper in below(child)}


def known_codes() -> set[str]:
    assert folkmoot_sdk
    assert choose.EmptyFile
    classes = [
        kind for root in (AppError, PluginError) for kind in below(root) if kind.__module__.startswith("folkmoot")
    ]
    found = {kind.code for kind in classes}
    for path in sources():
        found |= codes_in(ast.parse(path.read_text(encoding="utf-8")))
    return found


def test_every_error_code_is_listed_and_no_other():
    page = text_of("errors.md")
    tables, prose = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)), page.rpartition("## ")[2]
    assert tables | set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", prose)) == known_codes()


def test_codes_are_found_wherever_they_are_given():
    source = 'raise Conflict("x", code="a-b")\nrow.error_code = "c-d"\n_failure("e-f", "x")\nabandon(a, t, m, "g-h")'
    assert codes_in(ast.parse(source)) == {"a-b", "c-d", "e-f", "g-h"}


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_current(page):
    assert (ROOT / page).read_text(encoding="utf-8") == PAGES[page](), "run `python -m tests.docs.generated`"


def commands(group: click.Group, path: str = "folkmoot") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inner = commands(command, f"{path} {name}") if isinstance(command, click.Group) else {f"{path} {name}": command}
        found |= inner
    return found


def test_every_command_has_its_heading_and_names_its_options():
    sections = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", text_of("commands.md"), re.MULTILINE | re.DOTALL))
    found = commands(main)
    assert set(sections) == set(found)
    for name, command in found.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in sections[name], f"`{name}` takes {parameter.opts[0]}, and its page does not"


def recorded() -> set[str]:
    found: set[str] = set()
    for path in sources():
        for name, call in called(ast.parse(path.read_text(encoding="utf-8"))):
            if name in ("record", "_record", "note"):
                constants = (word for argument in call.args for node in ast.walk(argument) for word in words(node))
                found |= {word for word in constants if re.fullmatch(r"[a-z_]+\.[a-z_]*[a-z]", word)}
    return found


def test_every_recorded_action_is_listed_and_no_other():
    page = text_of("events.md").partition("## What is recorded")[2]
    # Some are put together from a state.
    made = {"user.made_active", "user.made_inactive", "user.created", "user.invited", "message.stopped"}
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z_.]+)`", rows)) == recorded() | made
    assert len(recorded()) > 20


def test_every_event_of_the_answer_stream_is_listed_with_its_fields():
    page = text_of("events.md").partition("## The WebSocket")[0]
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| (.*) \|$", page, re.MULTILINE))
    kinds = {kind.__struct_config__.tag: kind for kind in AnswerEvent.__args__}
    assert set(rows) == set(kinds)
    for name, kind in kinds.items():
        for field in kind.__struct_fields__:
            assert f"`{field}`" in rows[name], f"{name} has {field}, and its page does not"


def pages() -> list[Path]:
    return [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_settings_that_pages_name_exist():
    known = set(re.findall(r"FOLKMOOT_[A-Z_]+", text_of("settings.md"))) | {"FOLKMOOT_SDK_API", "FOLKMOOT_PASSWORD"}
    for page in pages():
        for name in re.findall(r"FOLKMOOT_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")):
            assert name.removesuffix("_FILE") in known, f"{page.name} names {name}, which is no setting"
