"""Reference pages that are made from the code: `python -m tests.docs.generated` writes them anew."""

from __future__ import annotations

import ast
import inspect
from functools import partial
from itertools import pairwise

from folkmoot.kit import access
from folkmoot.settings import described
from tests.docs import sdk_errors, sdk_reference
from tests.docs.blocks import ROOT

HOW = "<!-- Made by `python -m tests.docs.generated`; a test checks that it is current. -->\n"


def settings_page() -> str:
    rows = [f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |" for name, default, meaning in described()]
    return f"""\
# Settings
{HOW}
Settings come from the environment; `folkmoot settings` prints this list. Every variable can also be read from a file:
`FOLKMOOT_SECRET_KEY_FILE=/run/secrets/key` is the same as `FOLKMOOT_SECRET_KEY` with the file's content, without the
white space around it. Lists are comma-separated. A value that cannot work is refused at start, with a sentence that
names the variable.

`folkmoot up`, `folkmoot ask` and the commands with `--data` fill in the addresses of the engines, the storage and the
master key from the data folder. `serve`, `worker` and `migrate` take all of them from here.

| variable | default | meaning |
| --- | --- | --- |
{chr(10).join(rows)}
"""


def permissions_page() -> str:
    meaning = notes_of(access.Permission)
    permissions = [item for item in access.Permission if item is not access.Permission.SIGNED_IN]
    roles = [
        _row(f"`{item}`", meaning[item.name], *("yes" if item in granted else "" for granted in access.ROLES.values()))
        for item in permissions
    ]
    wants = list(access.Access)
    spaces = [
        _row(f"`{kind}`", f"`{role}`", *("yes" if want in access.space_access(kind, role) else "" for want in wants))
        for kind in access.SpaceKind
        for role in access.SpaceRole
        if access.space_access(kind, role)
    ]
    needed = [
        _row(f"`{item}`", f"`{access.scope_of(item, 'GET')}`", f"`{access.scope_of(item, 'POST')}`")
        for item in access.Permission
    ]
    return f"""\
# Permissions
{HOW}
Two layers decide what somebody may do, and what is not granted in either is refused. An API key is bound by a third:
its scopes. The whole matrix is in `src/folkmoot/kit/access.py`.

## In the organisation

Each person has one of the predefined roles, and those of their groups; custom roles add to them. What counts is all of
it together. Every route names one permission, or is listed as public; `signed-in` stands for anybody with a valid
token.

{_head("permission", "opens", *(f"`{role}`" for role in access.ROLES))}
{chr(10).join(roles)}

A custom role may hold any of these but `platform`, which no role gives: administrators of the installation are named
one by one. A route whose permission is missing answers 403 with the code `forbidden`. `GET /api/v1/me` lists the
caller's own.

## In a space

There are three kinds of spaces.

{_head("kind", "what it is for")}
{_notes(access.SpaceKind)}

Whoever is in a space has a role there, which holds for the space and for the assistants, collections and documents in
it. Who opens a space becomes its admin. People are let in by themselves or as members of a group, and the highest of
all these roles counts. `owner` is not given: everybody is that in their own personal space. The last person who is
admin by themself, and can sign in, is neither taken out nor made less; groups do not count, since they may be emptied.

{_head("to", "means")}
{_notes(access.Access)}

{_head("kind", "role", *(f"`{want}`" for want in wants))}
{chr(10).join(spaces)}

Making assistants and collections in one's personal space needs the permissions `assistants` and `collections` as well.
An assistant is shown to viewers once it is published; until then it answers them 404, and so it does from the moment it
is hidden again.

A space that somebody is not in, and everything in it, answers 404: what one may not know of is not there. This holds
for administrators of the organisation too. Who is in a space and lacks the right gets 403.

Conversations are outside of both layers: they belong to the person who began them, and nobody else reads them.

## Scopes of API keys

A key can do what its owner may do at that moment, as far as its scopes go. The key of one assistant reaches that
assistant alone, whatever its scopes.

{_head("scope", "allows")}
{_notes(access.Scope)}

A key made without a word about scopes has {", ".join(f"`{scope}`" for scope in access.DEFAULT_SCOPES)}. Which scope a
route needs follows from its permission and method; routes about asking need `chat` instead. What gives or proves
identity (passwords, second factor, sessions, keys) is for people who are signed in, and closed to every key.

{_head("permission of the route", "to read", "to change")}
{chr(10).join(needed)}
"""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> str:
    return f"{_row(*cells)}\n{_row(*('---' for _ in cells))}"


def _notes(kind: type) -> str:
    """A table of an enumeration: each member with the string under it, on one line."""
    notes = notes_of(kind)
    return "\n".join(_row(f"`{item.value}`", " ".join(notes.get(item.name, "").split())) for item in kind)


def notes_of(kind: type) -> dict[str, str]:
    """The string under each member of an enumeration."""
    body = ast.parse(inspect.getsource(kind)).body[0].body
    return {
        before.targets[0].id: after.value.value
        for before, after in pairwise(body)
        if isinstance(before, ast.Assign) and isinstance(after, ast.Expr)
    }


PAGES = {
    "docs/reference/settings.md": settings_page,
    "docs/reference/permissions.md": permissions_page,
    "docs/plugins/reference.md": partial(sdk_reference.reference_page, HOW),
    "docs/plugins/errors.md": partial(sdk_errors.errors_page, HOW),
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(), encoding="utf-8")
