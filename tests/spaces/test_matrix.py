"""The matrix as it holds at the door: kind of space, role, and how one came by it, against what each call answers."""

import pytest

TABLE = """
               shared       shared       shared       shared       personal     personal     organisation organisation
               viewer       editor       admin        outsider     owner        outsider     viewer       admin
space          200          200          200          404          200          404          200          200
list           1            2            2            404          1            404          404          404
published      200          200          200          404          -            -            -            -
draft          404          200          200          404          200          404          -            -
edit           403          200          200          404          -            -            -            -
edit-draft     404          200          200          404          200          404          -            -
publish        403          200          200          404          -            -            -            -
publish-draft  404          200          200          404          403          404          -            -
versions       403          200          200          404          200          404          -            -
make           403          201          201          404          201          404          404          404
collect        403          201          201          404          201          404          403          201
member         403          403          200          404          403          404          403          403
group          403          403          200          404          403          404          403          403
rename         403          403          200          404          403          404          403          200
delete         403          403          204          404          403          404          403          204
"""
KINDS, ROLES, *CALLS = (line.split() for line in TABLE.strip().splitlines())
EXPECTED = {
    f"{kind}/{role}": {call: line[place] for call, *line in CALLS}
    for place, (kind, role) in enumerate(zip(KINDS, ROLES, strict=True))
}
LOWER = {"viewer": "viewer", "editor": "viewer", "admin": "editor"}


async def answers(client, space, drafts, published, somebody, some_group):
    """What each of the calls of the table answers, in its order: those that destroy come last."""

    async def status(method, path, **fields):
        return str((await client.request(method, path, json=fields or None)).status_code)

    listed = await client.get(f"/spaces/{space}/assistants")
    found = {
        "space": await status("GET", f"/spaces/{space}"),
        "list": str(len(listed.json()["items"])) if listed.status_code == 200 else str(listed.status_code),
    }
    for name, assistant in (("", published), ("-draft", drafts)):
        if assistant is None:
            continue
        found["draft" if name else "published"] = await status("GET", f"/assistants/{assistant}")
        found[f"edit{name}"] = await status("PATCH", f"/assistants/{assistant}", name="Other")
        if name:
            versions = drafts if published is None else published
            found["versions"] = await status("GET", f"/assistants/{versions}/versions")
        found[f"publish{name}"] = await status("POST", f"/assistants/{assistant}/publish")
    return found | {
        "make": await status("POST", f"/spaces/{space}/assistants", name="New"),
        "collect": await status("POST", f"/spaces/{space}/collections", name="New"),
        "member": await status("PUT", f"/spaces/{space}/members/{somebody.user.id}", role="viewer"),
        "group": await status("PUT", f"/spaces/{space}/groups/{some_group}", role="viewer"),
        "rename": await status("PATCH", f"/spaces/{space}", name="Other"),
        "delete": await status("DELETE", f"/spaces/{space}"),
    }


def expected(row):
    return {name: value for name, value in EXPECTED[row].items() if value != "-"}


async def let_in(owner, space, person, role, way, group):
    if way in ("direct", "both"):
        held = role if way == "direct" else LOWER[role]
        put = await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": held})
        assert put.status_code == 200
    if way in ("group", "both"):
        put = await owner.put(f"/spaces/{space}/groups/{await group(owner, person)}", json={"role": role})
        assert put.status_code == 200


@pytest.mark.parametrize("way", ["direct", "group", "both"])
@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
async def test_in_a_shared_space_the_highest_role_decides(owner, tenancy, group, role, way):
    space = await owner.space()
    draft, published = await owner.assistant(space), await owner.assistant(space, published=True)
    person, somebody = await tenancy.colleague(owner), await tenancy.colleague(owner)
    await let_in(owner, space, person, role, way, group)
    assert (await person.get(f"/spaces/{space}")).json()["role"] == role
    assert [(item["id"], item["role"]) for item in (await person.get("/spaces")).json()["items"]] == [(space, role)]
    found = await answers(person, space, draft, published, somebody, await group(owner))
    assert found == expected(f"shared/{role}")


async def test_outside_of_a_shared_space_nothing_is_there(owner, tenancy, group):
    space = await owner.space()
    draft, published = await owner.assistant(space), await owner.assistant(space, published=True)
    outsider = await tenancy.colleague(owner, role="owner")
    found = await answers(outsider, space, draft, published, owner, await group(owner, outsider))
    assert found == expected("shared/outsider")


async def test_a_personal_space_is_its_owners_alone(owner, tenancy, group):
    person = await tenancy.colleague(owner)
    space = (await person.get("/spaces/personal")).json()["id"]
    draft = await person.assistant(space)
    some_group = await group(owner, owner)
    found = await answers(owner, space, draft, None, owner, some_group)
    assert found == expected("personal/outsider")
    assert await answers(person, space, draft, None, owner, some_group) == expected("personal/owner")


@pytest.mark.parametrize(("role", "row"), [("user", "viewer"), ("ai-configurator", "admin"), ("owner", "admin")])
async def test_the_organisation_space_goes_by_permission(owner, tenancy, group, role, row):
    person = await tenancy.colleague(owner, role=role)
    space = (await person.get("/spaces/organisation")).json()
    assert space["role"] == row
    found = await answers(person, space["id"], None, None, owner, await group(owner, person))
    assert found == expected(f"organisation/{row}")
