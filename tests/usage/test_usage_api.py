"""Reading what was used, by every axis, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from folkmoot.usage import export
from tests.usage.conftest import spent

FIGURES = (
    "calls",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_tokens",
    "cost_micros",
    "estimated_calls",
    "ceiling_calls",
    "failed_calls",
)


@pytest.fixture
async def mine(books, owner):
    books.tenant_id = owner.tenant_id
    books.clock.on(2026, 11, 20, 12)
    return books


async def call(books, cost: int, purpose: str = "answer", model: dict | None = None, **who) -> None:
    reservation = await books.ledger.reserve(books.account(purpose, **who), cost)
    await books.ledger.settle(reservation, spent(cost, **(model or {})))


async def usage(client, path: str = "/usage", **query) -> dict:
    query = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"} | {
        {"since": "from", "until": "to"}.get(name, name): value for name, value in query.items()
    }
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def costs(page: dict) -> dict:
    return {item["key"]: item["cost_micros"] for item in page["items"]}


async def test_every_figure_is_the_sum_of_its_entries(owner, mine):
    told = {"input_tokens": 10, "output_tokens": 5, "cached_input_tokens": 4, "reasoning_tokens": 2}
    await call(mine, 100, model=told)
    await call(mine, 50, model={"estimated": True, "input_tokens": 1})
    await call(mine, 7, model={"priced": "ceiling", "output_tokens": 1})
    await call(mine, 0, model={"error": "provider-unavailable"})
    page = await usage(owner)
    (item,) = page["items"]
    assert (item["key"], item["name"], item["currency"]) == (str(UUID(int=1)), "stub-chat", "USD")
    assert {name: item[name] for name in FIGURES} == {
        "calls": 4,
        "input_tokens": 11,
        "output_tokens": 6,
        "cached_input_tokens": 4,
        "reasoning_tokens": 2,
        "cost_micros": 157,
        "estimated_calls": 1,
        "ceiling_calls": 1,
        "failed_calls": 1,
    }
    assert {name: page["totals"][name] for name in FIGURES} == {name: item[name] for name in FIGURES}


async def test_nothing_was_used_says_so(owner, mine):
    page = await usage(owner)
    assert page["items"] == []
    assert {page["totals"][name] for name in FIGURES} == {0}


@pytest.mark.parametrize("by", ["space", "user", "key", "assistant"])
async def test_it_adds_up_by_each_axis_and_names_what_is_there(owner, tenancy, mine, by):
    space = await owner.space("Building permits")
    things = {
        "space": (space, "Building permits"),
        "user": (str(owner.user.id), "Ada"),
        "key": ((await owner.made("/api-keys", name="Nightly"))["id"], "Nightly"),
        "assistant": (await owner.assistant(space), "Helper"),
    }
    thing, name = things[by]
    gone = str(uuid4())
    await call(mine, 1)
    await call(mine, 20, **{f"{by}_id": UUID(gone)})
    await call(mine, 300, **{f"{by}_id": UUID(thing)})
    await call(mine, 300, **{f"{by}_id": UUID(thing)})
    page = await usage(owner, by=by)
    found = [(item["key"], item["name"], item["calls"], item["cost_micros"]) for item in page["items"]]
    assert found == [(thing, name, 2, 600), (gone, None, 1, 20), (None, None, 1, 1)], "the most expensive first"
    narrowed = await usage(owner, by=by, **{f"{by}_id": thing})
    assert costs(narrowed) == {thing: 600}
    assert narrowed["totals"]["cost_micros"] == 600


async def test_it_adds_up_by_words_and_by_time(owner, mine):
    other = {"model_id": uuid4(), "model": "large", "provider": "openai"}
    await call(mine, 1, "answer")
    mine.clock.on(2026, 11, 21, 23, 59, 59)
    await call(mine, 20, "embedding")
    mine.clock.on(2026, 11, 22)
    await call(mine, 300, "answer", model=other)
    mine.clock.on(2026, 12, 1)
    await call(mine, 4_000, "api")
    wide = {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
    assert costs(await usage(owner, by="purpose", **wide)) == {"api": 4_000, "answer": 301, "embedding": 20}
    assert costs(await usage(owner, by="provider", **wide)) == {"stub": 4_021, "openai": 300}
    assert costs(await usage(owner, by="model", **wide)) == {str(UUID(int=1)): 4_021, str(other["model_id"]): 300}
    days = await usage(owner, by="day", **wide)
    assert list(costs(days).items()) == [
        ("2026-11-20", 1),
        ("2026-11-21", 20),
        ("2026-11-22", 300),
        ("2026-12-01", 4_000),
    ]
    assert list(costs(await usage(owner, by="month", **wide)).items()) == [("2026-11", 321), ("2026-12", 4_000)]
    assert costs(await usage(owner, by="day", until="2026-11-22T00:00:00Z")) == {"2026-11-20": 1, "2026-11-21": 20}
    for narrowed, cost in (
        ({"purpose": "embedding"}, 20),
        ({"provider": "openai"}, 300),
        ({"model_id": str(other["model_id"])}, 300),
        ({"since": "2026-11-22T00:00:00"}, 300),
    ):
        assert (await usage(owner, **narrowed))["totals"]["cost_micros"] == cost


@pytest.mark.parametrize("by", ["user", "day"])
async def test_pages_show_each_once_and_the_totals_of_all(owner, mine, by):
    for number in range(7):
        mine.clock.on(2026, 11, number + 1)
        await call(mine, number % 3, user_id=UUID(int=number + 1))
    found, cursor, pages = [], None, 0
    while True:
        page = await usage(owner, by=by, limit=3, **({"cursor": cursor} if cursor else {}))
        pages += 1
        assert page["totals"]["calls"] == 7
        found += [(item["key"], item["cost_micros"]) for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert pages == 3
    assert len({key for key, _ in found}) == len(found) == 7
    if by == "user":
        assert [cost for _, cost in found] == [2, 2, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "cursor", ["x", "bm8", "WzEsMV0", "WzFlOTksIngiXQ", "W10", "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMCwgIngiXQ"]
)
async def test_a_cursor_that_is_not_ours_is_refused(owner, cursor):
    refused = await owner.get("/usage", params={"cursor": cursor})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.parametrize(
    "query",
    [
        {"by": "weather"},
        {"from": "2026-12-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"},
        {"to": "0001-01-01T00:00:00+23:00"},
        {"from": "9999-12-31T23:59:59-23:00"},
        {"purpose": "mischief"},
        {"user_id": "ada"},
    ],
)
async def test_questions_that_make_no_sense_are_refused(owner, query):
    for path in ("/usage", "/usage.csv"):
        refused = await owner.get(path, params=query)
        assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed"), path


async def test_without_dates_it_is_the_current_month(owner, mine):
    mine.clock.at = datetime.now(UTC)
    await call(mine, 1)
    mine.clock.at = datetime.now(UTC).replace(day=1) - timedelta(days=2)
    await call(mine, 20)
    assert (await owner.get("/usage")).json()["totals"]["cost_micros"] == 1


async def test_reading_who_used_what_is_in_the_log(owner, mine):
    await usage(owner, by="model")
    await usage(owner, by="space", space_id=str(uuid4()))
    assert await mine.events("usage.read") == []
    await usage(owner, by="user")
    await usage(owner, by="model", user_id=str(owner.user.id))
    first, second = await mine.events("usage.read")
    assert (first.actor_id, first.data["by"]) == (owner.user.id, "user")
    assert second.data["filter"]["user_id"] == str(owner.user.id)


async def test_people_are_named_until_their_data_are_erased(owner, tenancy, mine):
    gone = await tenancy.colleague(owner)
    await call(mine, 5, user_id=gone.user.id)
    assert (await usage(owner, by="user"))["items"][0]["name"] == "Ada"
    assert (await owner.delete(f"/users/{gone.user.id}")).status_code == 204
    assert (await owner.post(f"/users/{gone.user.id}/erase")).status_code < 300
    (item,) = (await usage(owner, by="user"))["items"]
    assert (item["key"], item["name"], item["cost_micros"]) == (str(gone.user.id), None, 5)


async def test_what_lies_in_a_personal_space_is_named_to_its_owner_alone(owner, tenancy, mine):
    colleague = await tenancy.colleague(owner)
    personal = (await colleague.get("/spaces/personal")).json()["id"]
    secret = await colleague.assistant(personal, name="Looking for another job")
    await call(mine, 5, user_id=colleague.user.id, space_id=UUID(personal), assistant_id=UUID(secret))
    assert (await usage(owner, by="assistant"))["items"][0]["name"] is None
    own = await usage(colleague, "/me/usage", by="assistant")
    assert own["items"][0]["name"] == "Looking for another job"
    assert "another job" not in (await owner.get("/usage.csv", params={"by": "entry"})).text


# Who may read what


async def test_everybody_reads_their_own_and_nobody_elses(owner, tenancy, mine):
    colleague = await tenancy.colleague(owner)
    key = await colleague.made("/api-keys", name="A program")
    await call(mine, 3, user_id=colleague.user.id, key_id=UUID(key["id"]))
    await call(mine, 4, user_id=colleague.user.id)
    await call(mine, 500, user_id=owner.user.id)
    assert costs(await usage(colleague, "/me/usage", by="key")) == {key["id"]: 3, None: 4}
    assert (await usage(colleague, "/me/usage", by="day"))["totals"]["cost_micros"] == 7
    for path in ("/usage", "/usage.csv"):
        refused = await colleague.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await colleague.get("/me/usage", params={"by": "user"})).status_code == 400


async def test_a_spaces_admins_read_what_it_used_and_not_who(owner, tenancy, mine):
    colleague, viewer, outsider = [await tenancy.colleague(owner) for _ in range(3)]
    space = await colleague.space()
    await colleague.put(f"/spaces/{space}/members/{viewer.user.id}", json={"role": "viewer"})
    await call(mine, 3, space_id=UUID(space))
    await call(mine, 500, space_id=uuid4())
    path = f"/spaces/{space}/usage"
    assert (await usage(colleague, path, by="purpose"))["totals"]["cost_micros"] == 3
    assert (await colleague.get(path, params={"by": "user"})).status_code == 400
    assert (await viewer.get(path)).status_code == 403
    assert (await outsider.get(path)).status_code == 404
    assert (await owner.get(path)).status_code == 404, "whose space it is not has `GET /usage?space_id=`"


async def test_another_organisation_sees_nothing(owner, tenancy, mine):
    stranger = await tenancy.owner()
    await call(mine, 3, user_id=owner.user.id)
    assert (await usage(stranger, by="user", user_id=str(owner.user.id)))["items"] == []
    assert len((await stranger.get("/usage.csv", params={"by": "entry"})).text.splitlines()) == 1


# As a file


def rows(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_the_file_has_what_the_pages_have(owner, mine, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 2)
    for number in range(5):
        await call(mine, number * 1_000, user_id=UUID(int=number + 1), model={"input_tokens": number})
    query = {"by": "user", "from": "2026-11-01T00:00:00Z"}
    found = rows(await owner.get("/usage.csv", params=query))
    page = await usage(owner, by="user")
    assert [(row["key"], int(row["cost_micros"]), int(row["input_tokens"])) for row in found] == [
        (item["key"], item["cost_micros"], item["input_tokens"]) for item in page["items"]
    ]
    assert (found[0]["cost"], found[0]["currency"]) == ("0.004", "USD")


async def test_the_file_of_entries_has_every_call_once_whatever_the_batches(owner, mine, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 3)
    for number in range(10):
        await call(mine, number, purpose="title" if number % 2 else "answer", user_id=owner.user.id)
    reservation = await mine.ledger.reserve(mine.account(), 1)
    await mine.ledger.settle(reservation, *(spent(n, error="provider-unavailable") for n in range(4)))
    found = rows(await owner.get("/usage.csv", params={"by": "entry", "from": "2026-11-01T00:00:00Z"}))
    assert [row["id"] for row in found] == [str(entry.id) for entry in await mine.entries()]
    assert sum(int(row["cost_micros"]) for row in found) == 45 + 6
    assert (found[0]["user_name"], found[0]["purpose"], found[0]["estimated"]) == ("Ada", "answer", "false")
    assert found[0]["begun_at"] == "2026-11-20T12:00:00+00:00"
    narrowed = rows(
        await owner.get("/usage.csv", params={"by": "entry", "from": "2026-11-01T00:00:00Z", "purpose": "title"})
    )
    assert len(narrowed) == 5


@pytest.mark.parametrize("name", ["=HYPERLINK(0)", "+1", "-1", "@SUM(A1)", "\t=1"])
async def test_a_name_is_no_formula(owner, mine, name):
    space = await owner.space(name)
    await call(mine, 1, space_id=UUID(space), model={"model": "=cmd", "error": "-x"})
    since = {"from": "2026-11-01T00:00:00Z"}
    (row,) = rows(await owner.get("/usage.csv", params={"by": "space"} | since))
    assert row["name"] == f"'{name}"
    (row,) = rows(await owner.get("/usage.csv", params={"by": "entry"} | since))
    assert (row["space_name"], row["model"], row["error"]) == (f"'{name}", "'=cmd", "'-x")


async def test_a_download_is_in_the_log(owner, mine):
    await owner.get("/usage.csv", params={"by": "day", "purpose": "api"})
    (event,) = await mine.events("usage.exported")
    assert event.actor_id == owner.user.id
    assert event.data == {"by": "day", "filter": {"purpose": "api"}}


async def test_a_download_ends_with_the_right_to_it(owner, tenancy, mine, app, monkeypatch):
    from folkmoot.kit.access import ROLES, Principal
    from folkmoot.kit.errors import Forbidden
    from folkmoot.usage.report import Wanted

    monkeypatch.setattr(export, "BATCH", 1)
    admin = await tenancy.colleague(owner, role="owner")
    mine.clock.at = datetime.now(UTC)
    for _ in range(3):
        await call(mine, 1)
    who = Principal(tenant_id=owner.tenant_id, user_id=admin.user.id, kind="user", permissions=ROLES["owner"])
    parts = export.export(app, who, Wanted(), "entry")
    for _ in range(2):
        await anext(parts)
    assert (await owner.patch(f"/users/{admin.user.id}", json={"role": "user"})).status_code == 200
    with pytest.raises(Forbidden):
        await anext(parts)
