"""Reference pages that are made from the code: `python -m tests.docs.generated` writes them anew."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from folkmoot.kit import access
from folkmoot.settings import described
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
    roles = [f"| `{item}` | {meaning[item.name]} | {', '.join(_having(item))} |" for item in access.Permission]
    heads = " | ".join(f"`{item}`" for item in access.Access)
    spaces = [
        f"| `{role}` | {' | '.join('yes' if item in access.SPACE_ACCESS[role] else '' for item in access.Access)} |"
        for role in access.SpaceRole
    ]
    return f"""\
# Permissions
{HOW}
Two layers decide what somebody may do, and what is not granted in either is refused. The whole matrix is in
`src/folkmoot/kit/access.py`.

## In the organisation

Each person has one role in their organisation. Every route names one permission, or is listed as public.

| permission | opens | roles that have it |
| --- | --- | --- |
{chr(10).join(roles)}

A route whose permission is missing answers 403 with the code `forbidden`. `GET /api/v1/me` lists the caller's own.

## In a space

Whoever is in a space has one role there, which holds for the space and for the assistants, collections and documents
in it. Who opens a space becomes its admin.

| role in the space | {heads} |
| --- | {" | ".join("---" for _ in access.Access)} |
{chr(10).join(spaces)}

A space that somebody is not in, and everything in it, answers 404: what one may not know of is not there. This holds
for administrators of the organisation too. Who is in a space and lacks the right gets 403.

Conversations are outside of both layers: they belong to the person who began them, and nobody else reads them.
"""


def notes_of(kind: type) -> dict[str, str]:
    """The string under each member of an enumeration."""
    body = ast.parse(inspect.getsource(kind)).body[0].body
    return {
        before.targets[0].id: after.value.value
        for before, after in pairwise(body)
        if isinstance(before, ast.Assign) and isinstance(after, ast.Expr)
    }


def _having(permission: access.Permission) -> list[str]:
    return [f"`{role}`" for role, granted in access.ROLES.items() if permission in granted]


PAGES = {"docs/reference/settings.md": settings_page, "docs/reference/permissions.md": permissions_page}

if __name__ == "__main__":
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(), encoding="utf-8")
