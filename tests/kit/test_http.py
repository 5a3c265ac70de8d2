"""The habits of every route, as a client meets them."""

import re
from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.conversations.service import ConversationService
from folkmoot.kit.errors import BadRequest, Stale
from folkmoot.kit.paging import check_match, decode_cursor, encode_cursor

KEYS = {"type", "title", "status", "detail", "code", "request_id"}


def assert_problem(response, status, code):
    """The answer is a problem as RFC 9457 has it, with the same request id in body and header."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert KEYS <= set(body) <= KEYS | {"errors"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"].endswith(f"/{code}")
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


async def test_malformed_json_is_told_apart_from_wrong_fields(owner):
    headers = {"content-type": "application/json"}
    for content in (b"{", b"", b"\xff\xfe", b"nul", b'{"name": "a",}', b"[" * 100_000):
        assert (await owner.post("/spaces", content=content, headers=headers)).status_code == 400
    body = assert_problem(await owner.post("/spaces", content=b"{", headers=headers), 400, "bad-request")
    assert body["detail"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x", "nmae": "y"}, "nmae"),
        ({"name": "x", "description": None}, "description"),
    ],
)
async def test_a_wrong_field_is_named(owner, fields, path):
    body = assert_problem(await owner.post("/spaces", json=fields), 400, "validation-failed")
    assert [item["path"] for item in body["errors"]] == [path]
    assert body["errors"][0]["message"]


async def test_a_body_that_is_not_there_is_said(owner):
    body = assert_problem(await owner.post("/spaces"), 400, "validation-failed")
    assert body["detail"].startswith("a body is missing")


@pytest.mark.parametrize("content", [b"[]", b'"x"', b"1", b"null"])
async def test_a_body_of_another_shape_is_refused(owner, content):
    response = await owner.post("/spaces", content=content, headers={"content-type": "application/json"})
    assert_problem(response, 400, "validation-failed")


@pytest.mark.parametrize("raw", [rb'{"name": "a\u0000b"}', rb'{"name": "a\ud800b"}', rb'{"name": "\u0000"}'])
async def test_characters_that_text_may_not_have_are_refused_at_the_door(owner, raw):
    response = await owner.post("/spaces", content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400


@pytest.mark.parametrize("raw", [b'{"name": "\xff"}', b'{"\xfe": 1}', b'{"name": "a\xc3"}', b"\xff\xfe{"])
async def test_a_body_that_is_not_utf_8_is_refused_at_the_door(owner, stranger, raw):
    for client, path in ((owner, "/spaces"), (stranger, "/api/v1/auth/login"), (owner, "/me/password")):
        response = await client.post(path, content=raw, headers={"content-type": "application/json"})
        assert_problem(response, 400, "bad-request")


async def test_each_refusal_is_a_problem(owner, stranger, tenancy):
    assert_problem(await stranger.get("/api/v1/spaces"), 401, "not-signed-in")
    assert_problem(await owner.get(f"/spaces/{uuid4()}"), 404, "not-found")
    assert_problem(await owner.get("/spaces/not-a-uuid"), 404, "not-found")
    assert_problem(await owner.get("/nothing"), 404, "not-found")
    assert_problem(await stranger.get("/elsewhere"), 404, "not-found")
    refused = await owner.put("/spaces", json={})
    assert_problem(refused, 405, "method-not-allowed")
    assert "GET" in refused.headers["allow"]
    assert_problem(await (await tenancy.colleague(owner)).get("/plugins"), 403, "forbidden")
    space = await owner.space()
    stale = await owner.patch(f"/spaces/{space}", json={"name": "B"}, headers={"If-Match": '"99"'})
    assert_problem(stale, 412, "changed-meanwhile")
    collection = await owner.collection(space)
    wrong = await owner.post(f"/collections/{collection}/documents", json={})
    assert_problem(wrong, 415, "unsupported-content-type")


async def test_a_body_over_the_limit_is_refused(owner, app):
    large = b'{"name": "' + b"x" * app.settings.max_body_bytes + b'"}'
    headers = {"content-type": "application/json"}
    assert_problem(await owner.post("/spaces", content=large, headers=headers), 413, "content-too-large")

    async def in_parts():
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    assert_problem(await owner.post("/spaces", content=in_parts(), headers=headers), 413, "content-too-large")


async def test_a_crash_tells_nothing_but_its_id(owner, monkeypatch):
    async def broken(*_args):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(ConversationService, "page", broken)
    body = assert_problem(await owner.get("/conversations"), 500, "internal-error")
    assert "hunter2" not in str(body)


async def test_a_request_id_goes_in_and_out(owner, superuser):
    given = f"trace-{uuid4().hex}"
    response = await owner.post("/spaces", json={"name": "A"}, headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given
    async with superuser.connect() as connection:
        found = await connection.scalars(text("SELECT action FROM events WHERE request_id = :r"), {"r": given})
        assert found.all() == ["space.created"]


@pytest.mark.parametrize("given", ["a b", "x" * 65, "a\tb", "é", "<script>", ""])
async def test_a_request_id_that_is_none_is_replaced(owner, given):
    response = await owner.get("/me", headers=[(b"X-Request-ID", given.encode("latin-1"))])
    assert re.fullmatch(r"[0-9a-f]{16}", response.headers["x-request-id"])


async def test_each_answer_says_how_a_browser_must_treat_it(stranger):
    response = await stranger.get("/health/live")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


# paging


async def walk(client, path, limit):
    names, cursor = [], None
    while True:
        page = await client.get(path, params={"limit": limit} | ({"cursor": cursor} if cursor else {}))
        assert page.status_code == 200
        assert len(page.json()["items"]) <= limit
        names += [item["name"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return names


async def test_paging_is_stable_while_rows_are_added(owner):
    for number in range(5):
        await owner.space(f"old {number}")
    first = (await owner.get("/spaces", params={"limit": 2})).json()
    await owner.space("new")
    second = (await owner.get("/spaces", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    await owner.space("newer")
    third = (await owner.get("/spaces", params={"limit": 2, "cursor": second["next_cursor"]})).json()
    names = [item["name"] for page in (first, second, third) for item in page["items"]]
    assert names == ["old 4", "old 3", "old 2", "old 1", "old 0"]
    assert third["next_cursor"] is None
    assert await walk(owner, "/spaces", 1) == ["newer", "new", *names]
    assert await walk(owner, "/spaces", 7) == ["newer", "new", *names]


async def test_paging_goes_on_after_a_row_that_is_gone(owner):
    ids = [await owner.space(f"s{number}") for number in range(4)]
    first = (await owner.get("/spaces", params={"limit": 2})).json()
    await owner.delete(f"/spaces/{ids[2]}")
    rest = (await owner.get("/spaces", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["name"] for item in rest["items"]] == ["s1", "s0"]


@pytest.mark.parametrize("cursor", ["x", "not one of ours", "AAAA", "A" * 22 + "AA", "å", "\x00"])
async def test_a_cursor_that_is_not_ours_is_refused(owner, cursor):
    assert_problem(await owner.get("/spaces", params={"cursor": cursor}), 400, "invalid-cursor")


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1.5", "99999999999999999999"])
async def test_a_limit_out_of_bounds_is_refused(owner, limit):
    body = assert_problem(await owner.get("/spaces", params={"limit": limit}), 400, "validation-failed")
    assert body["errors"][0]["path"] == "limit"


def test_a_cursor_reads_back():
    key = uuid4()
    assert decode_cursor(encode_cursor(key)) == key
    with pytest.raises(BadRequest):
        decode_cursor(encode_cursor(key)[:-3])


# entity tags


async def test_an_edit_guarded_by_what_was_read(owner):
    space = await owner.space("A")
    tag = (await owner.get(f"/spaces/{space}")).headers["etag"]
    changed = await owner.patch(f"/spaces/{space}", json={"name": "B"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    again = await owner.patch(f"/spaces/{space}", json={"name": "C"}, headers={"If-Match": tag})
    assert_problem(again, 412, "changed-meanwhile")
    assert (await owner.get(f"/spaces/{space}")).json()["name"] == "B"
    assert (await owner.patch(f"/spaces/{space}", json={"name": "D"}, headers={"If-Match": "*"})).status_code == 200


def test_a_list_of_tags_matches_any_of_them():
    check_match(None, 3)
    check_match("*", 3)
    check_match('"1", W/"3"', 3)
    for other in ('"1", "2"', "3", "", '"33"'):
        with pytest.raises(Stale):
            check_match(other, 3)


async def test_an_absent_field_stays(owner):
    made = await owner.made("/spaces", name="A", description="about A")
    changed = (await owner.patch(f"/spaces/{made['id']}", json={"name": "B"})).json()
    assert (changed["name"], changed["description"]) == ("B", "about A")
    same = await owner.patch(f"/spaces/{made['id']}", json={})
    assert same.status_code == 200
    assert same.json()["updated_at"] == changed["updated_at"]
