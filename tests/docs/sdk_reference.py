"""The reference page for plugin authors, made from the source of the SDK: every hook, type, function and kit."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import folkmoot_sdk
from folkmoot_sdk import hooks
from folkmoot_sdk.testing import recorded

SHARED = ("http", "chat_completions", "catalogue")
"""Modules that a plugin imports by their own name."""
KITS = {
    "register_ai_providers": ("testing.providers", "ProviderConformance"),
    "register_parsers": ("testing.parsers", "ParserConformance"),
    "register_auth_backends": ("testing.auth", "AuthConformance"),
}
"""Which kit tests what a hook returns."""
TESTING = {
    "testing.recorded": recorded.__all__,
    "testing.harness": ["NOW", "Handler", "Reply"],
    "testing.parsers": ["Broken", "Sample"],
}
"""What an author needs beside the kits themselves."""
PAGES_OF = {
    "register_ai_providers": "providers.md",
    "register_parsers": "parsers.md",
    "register_auth_backends": "auth.md",
}
TITLES = {
    "chat": "Questions and answers",
    "providers": "Providers and models",
    "parsers": "Parsers",
    "auth": "Signing in",
    "config": "Configuration",
    "context": "What the host lends",
    "hooks": "Hooks",
    "http": "Asking a service",
    "chat_completions": "OpenAI's dialect",
    "catalogue": "What is known of models",
    "testing.recorded": "Recordings",
    "testing.harness": "Upstreams that fail",
    "testing.parsers": "Files for the kit",
}


@dataclass(frozen=True)
class Thing:
    """One public name with what its source says of it."""

    name: str
    node: ast.AST
    note: str

    @property
    def kind(self) -> str:
        if isinstance(self.node, ast.ClassDef):
            bases = {ast.unparse(base).rpartition(".")[2] for base in self.node.bases}
            return next((kind for kind in ("Struct", "Protocol", "NamedTuple") if kind in bases), "class")
        return "function" if isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef) else "value"


def module(name: str) -> ModuleType:
    return importlib.import_module(f"folkmoot_sdk.{name}")


def things_of(found: ModuleType) -> dict[str, Thing]:
    """All that a module defines itself at its top, by name."""
    body = ast.parse(Path(inspect.getfile(found)).read_text(encoding="utf-8")).body
    things: dict[str, Thing] = {}
    for node, after in pairwise([*body, ast.Pass()]):
        note = _text(after)
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                things[node.name] = Thing(node.name, node, inspect.cleandoc(ast.get_docstring(node) or ""))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                things[name] = Thing(name, node, note)
            case _:
                pass
    return things


def places() -> dict[str, tuple[str, dict[str, Thing]]]:
    """Section to the module one imports from, and its public things in the order of the source."""
    own = ("chat", "providers", "config", "context", "parsers", "auth", "hooks")
    found = {name: ("folkmoot_sdk", _public(things_of(module(name)), folkmoot_sdk.__all__)) for name in own}
    for name in SHARED:
        package = module(name)
        if not hasattr(package, "__path__"):
            listed = getattr(package, "__all__", [name for name in things_of(package) if not name.startswith("_")])
            found[name] = (f"folkmoot_sdk.{name}", _public(things_of(package), listed))
            continue
        parts: dict[str, Thing] = {}
        for path in sorted(Path(inspect.getfile(package)).parent.glob("[a-z]*.py")):
            parts |= things_of(module(f"{name}.{path.stem}"))
        found[name] = (f"folkmoot_sdk.{name}", {each: parts[each] for each in sorted(package.__all__, key=str.lower)})
    for name, listed in TESTING.items():
        # An error of a recording is defined where both sides of it can raise it.
        things = things_of(module("testing.recording")) | things_of(module(name))
        found[name] = (f"folkmoot_sdk.{name}", _public(things, listed))
    return found


def _public(things: dict[str, Thing], listed: list[str]) -> dict[str, Thing]:
    return {name: thing for name, thing in things.items() if name in listed}


def reference_page(how: str) -> str:
    sections = [
        f"## {TITLES[name]}\n\n`from {source} import …`\n\n{_opening(name)}\n\n"
        + "\n\n".join(shown(thing) for thing in things.values())
        for name, (source, things) in places().items()
        if name != "hooks"
    ]
    kits = "\n".join(_kit(name, kit) for name, kit in KITS.values())
    return f"""\
# Reference for plugin authors
{how}
Every hook, type and function of `folkmoot-sdk` {version()}, from its source. [Errors](errors.md) have a page of their
own; what to do with all of this is in [providers](providers.md), [parsers](parsers.md) and [sign-in](auth.md).

## Hooks

`from folkmoot_sdk import hookimpl`

A hook takes no argument, does no I/O and returns a list of specs. See [hooks](hooks.md) for the entry point.

{_hooks()}

{chr(10).join(f"{section}{chr(10)}" for section in sections)}
## The conformance kit

{kits}"""


def version() -> str:
    """Major and minor of the SDK: a patch changes no page."""
    return ".".join(importlib.metadata.version("folkmoot-sdk").split(".")[:2])


def _opening(name: str) -> str:
    return inspect.cleandoc(module(name).__doc__ or "")


def _hooks() -> str:
    rows = [
        f"### `{name}`\n\n```python\n{signature(thing.node)}: ...\n```\n\n{thing.note} How: [{PAGES_OF[name]}]"
        f"({PAGES_OF[name]}). Tested by [`{KITS[name][1]}`](#{KITS[name][1].lower()}).\n"
        for name, thing in things_of(hooks).items()
        if hasattr(getattr(hooks, name), "folkmoot_spec")
    ]
    others = [shown(thing) for name, thing in things_of(hooks).items() if name in ("SDK_API",)]
    return "\n".join([*rows, *others])


def shown(thing: Thing) -> str:
    """One section: heading, signature or fields, what the source says."""
    head, note = f"### `{thing.name}`\n\n", f"{thing.note}\n\n" if thing.note else ""
    match thing.node:
        case ast.ClassDef() as node:
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            tag = f"*{thing.kind}{f' of {bases}' if thing.kind == 'class' and bases else ''}*\n\n"
            return (head + tag + note + _table(node) + _methods(node)).rstrip()
        case ast.FunctionDef() | ast.AsyncFunctionDef() as node:
            return f"{head}```python\n{signature(node)}\n```\n\n{note}".rstrip()
        case node:
            return f"{head}```python\n{ast.unparse(node)}\n```\n\n{note}".rstrip()


def fields_of(node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    """Name, type, default and note of each public field."""
    rows = []
    for item, after in pairwise([*node.body, ast.Pass()]):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
            default = "" if item.value is None else ast.unparse(item.value)
            rows.append((item.target.id, ast.unparse(item.annotation), default, _text(after)))
    # What the constructor sets and describes is a field too.
    for init in (each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"):
        for item, after in pairwise([*init.body, ast.Pass()]):
            match item:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]) if _text(after):
                    rows.append((name, _argument(init, name), "", _text(after)))
                case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=kind) if _text(after):
                    rows.append((name, ast.unparse(kind), "", _text(after)))
                case _:
                    pass
    return rows


def methods_of(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those that an author calls, writes or overrides; a constructor only if there is something to say of it."""
    found = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [
        item
        for item in found
        if not item.name.startswith(("_", "test_")) or (item.name == "__init__" and ast.get_docstring(item))
    ]


def signature(node: ast.AST) -> str:
    """`def name(…) -> …`, on one line or, if that is long, on one for each argument."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    ends = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = ast.unparse(node.args)
    for decorator in map(ast.unparse, node.decorator_list):
        if decorator in ("asynccontextmanager", "contextmanager", "property", "classmethod", "staticmethod"):
            start = f"@{decorator}\n{start}"
    line = f"{start} {node.name}({arguments}){ends}"
    if max(map(len, line.splitlines())) <= 110:
        return line
    return f"{start} {node.name}(\n    {_wrapped(arguments)}\n){ends}"


def _wrapped(arguments: str) -> str:
    """Arguments on lines of their own: cut at the commas that stand outside of all brackets."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "([{") - (letter in ")]}")
        parts[-1] += letter
        if letter == "," and depth == 0:
            parts.append("")
    return "\n    ".join(part.strip() for part in parts)


def _table(node: ast.ClassDef) -> str:
    rows = fields_of(node)
    if not rows:
        return ""
    lines = [_field(*each) for each in rows]
    return "\n".join(("| field | type | default | |", "| --- | --- | --- | --- |", *lines)) + "\n\n"


def _methods(node: ast.ClassDef) -> str:
    return "".join(
        f"```python\n{signature(item)}\n```\n\n{inspect.cleandoc(ast.get_docstring(item) or '')}".rstrip() + "\n\n"
        for item in methods_of(node)
    )


def _kit(name: str, kit: str) -> str:
    """What an author says of a plugin, and what is promised, with those of its bases."""
    found = getattr(module(name), kit)
    own = [base for base in reversed(found.__mro__) if base is not object]
    nodes = [things_of(inspect.getmodule(base))[base.__name__].node for base in own]
    latest = {field[0]: field for node in nodes for field in fields_of(node)}
    methods = {item.name: item for node in nodes for item in methods_of(node)}
    table = "\n".join(_field(*field) for field in latest.values())
    listed = "\n".join(
        f"- `{item}`: {(ast.get_docstring(made) or '').partition(chr(10) + chr(10))[0]}".replace("\n", " ").rstrip(": ")
        for item, made in methods.items()
    )
    promises = "\n".join(f"- {sentence}" for sentence in _promises(nodes))
    return f"""\
### `{kit}`

`from folkmoot_sdk.{name} import {kit}`

{inspect.getdoc(found)}

| to set | type | default | |
| --- | --- | --- | --- |
{table}

To override or to call:

{listed}

What it promises:

{promises}
"""


def _promises(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                yield item.name.removeprefix("test_").replace("_", " ")


def _argument(init: ast.FunctionDef, name: str) -> str:
    arguments = (*init.args.args, *init.args.kwonlyargs)
    found = next((item.annotation for item in arguments if item.arg == name), None)
    return ast.unparse(found) if found is not None else ""


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _field(name: str, kind: str, default: str, note: str) -> str:
    return row(f"`{name}`", _code(kind), _code(default), note)


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace(chr(10), ' ') for cell in cells)} |"
