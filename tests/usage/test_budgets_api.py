"""Budgets as administrators set them, and as they show to those whom they bind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from folkmoot.feed.service import after, now
from folkmoot.kit.access import Permission, Principal, Scope
from folkmoot.usage.ledger import BudgetExhausted, Ledger
from tests.usage.conftest import spent


@pytest.fixture
async def mine(books, owner):
    """The books of the owner's organisation."""
    books.tenant_id = owner.tenant_id
    return books


async def call(books, cost: int, **who) -> None:
    await books.call(cost, by=books.account(**who))


async def code(response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_a_budget_is_set_read_changed_and_deleted(owner, mine):
    made = await owner.post("/budgets", json={"kind": "tenant", "period": "month", "limit_micros": 1_000})
    assert made.status_code == 201
    budget = made.json()
    assert (budget["limit_micros"], budget["spent_micros"], budget["reserved_micros"]) == (1_000, 0, 0)
    assert (budget["subject_id"], budget["name"], budget["currency"]) == (None, None, "USD")
    begin, end = (datetime.fromisoformat(budget[name]) for name in ("starts_at", "ends_at"))
    assert begin.day == end.day == 1
    assert begin <= datetime.now(UTC) < end <= begin + timedelta(days=31)
    path = f"/budgets/{budget['id']}"
    await call(mine, 30)
    under_way = await mine.ledger.reserve(mine.account(), 5)
    read = await owner.get(path)
    assert (read.json()["spent_micros"], read.json()["reserved_micros"]) == (30, 5)
    changed = await owner.patch(path, json={"limit_micros": 34}, headers={"If-Match": read.headers["etag"]})
    assert changed.json()["limit_micros"] == 34
    assert await code(await owner.patch(path, json={}, headers={"If-Match": read.headers["etag"]})) == (
        412,
        "changed-meanwhile",
    )
    with pytest.raises(BudgetExhausted):
        await mine.ledger.reserve(mine.account(), 1)
    await mine.ledger.settle(under_way)
    assert [item["id"] for item in (await owner.get("/budgets")).json()["items"]] == [budget["id"]]
    assert (await owner.delete(path)).status_code == 204
    assert (await owner.get(path)).status_code == 404
    told = [event.data for name in ("created", "updated", "deleted") for event in await mine.events(f"budget.{name}")]
    assert [data["limit_micros"] for data in told] == [1_000, 34, 34]
    assert told[1]["before_micros"] == 1_000


async def test_a_budget_holds_at_once_in_the_process_that_set_it(owner, mine, app):
    ledger = app.part(Ledger)
    await ledger.settle(await ledger.reserve(mine.account(), 10))
    await owner.made("/budgets", kind="tenant", period="day", limit_micros=5)
    with pytest.raises(BudgetExhausted):
        await ledger.reserve(mine.account(), 10)


async def test_there_is_one_budget_for_each_subject_and_period(owner, mine):
    space = await owner.space()
    for subject in ({"kind": "tenant"}, {"kind": "space"}, {"kind": "space", "subject_id": space}):
        body = {**subject, "period": "day", "limit_micros": 2_500_000}
        first = await owner.made("/budgets", **body)
        again = await owner.post("/budgets", json=body | {"limit_micros": 7})
        assert await code(again) == (409, "already-exists")
        assert "2.50 USD" in again.json()["detail"]
        assert first["id"] in again.json()["detail"]
        assert (await owner.post("/budgets", json=body | {"period": "month"})).status_code == 201


async def test_a_budget_names_its_subject(owner, mine):
    space = await owner.space("Building permits")
    assistant = await owner.assistant(space)
    first = await owner.made("/api-keys", name="Nightly import")
    second = await owner.made(f"/api-keys/{first['id']}/rotate")
    for kind, subject, name in (
        ("space", space, "Building permits"),
        ("user", str(owner.user.id), "Ada"),
        ("assistant", assistant, "Helper"),
        ("key", second["id"], "Nightly import"),
    ):
        made = await owner.made("/budgets", kind=kind, subject_id=subject, period="day", limit_micros=1)
        assert made["name"] == name
        assert made["subject_id"] == (first["id"] if kind == "key" else subject)
    again = await owner.post(
        "/budgets", json={"kind": "key", "subject_id": first["id"], "period": "day", "limit_micros": 1}
    )
    assert again.status_code == 409, "the family has one"


@pytest.mark.parametrize("kind", ["space", "user", "key", "assistant"])
async def test_a_subject_must_be_there(owner, kind):
    body = {"kind": kind, "subject_id": str(uuid4()), "period": "day", "limit_micros": 1}
    assert await code(await owner.post("/budgets", json=body)) == (404, "not-found")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "tenant", "subject_id": str(uuid4())}, "subject_id"),
        ({"limit_micros": -1}, ""),
        ({"limit_micros": 10**16}, ""),
        ({"period": "year"}, ""),
        ({"kind": "galaxy"}, ""),
        ({"limit": 3}, "limit"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(owner, wrong, field):
    body = {"kind": "tenant", "period": "day", "limit_micros": 1} | wrong
    refused = await owner.post("/budgets", json=body)
    assert await code(refused) == (400, "validation-failed")
    assert field in str(refused.json()["errors"])


async def test_a_budget_of_each_has_no_one_figure(owner, mine):
    made = await owner.made("/budgets", kind="user", period="month", limit_micros=10)
    await call(mine, 3, user_id=owner.user.id)
    read = (await owner.get(f"/budgets/{made['id']}")).json()
    assert (read["spent_micros"], read["reserved_micros"], read["subject_id"]) == (None, None, None)


async def test_what_was_spent_before_the_budget_shows_at_once(owner, mine):
    await call(mine, 30, user_id=owner.user.id)
    made = await owner.made("/budgets", kind="user", subject_id=str(owner.user.id), period="month", limit_micros=100)
    assert made["spent_micros"] == 30


async def test_budgets_are_for_administrators(owner, tenancy, mine):
    made = await owner.made("/budgets", kind="tenant", period="month", limit_micros=10)
    colleague = await tenancy.colleague(owner)
    stranger = await tenancy.owner()
    for path in ("/budgets", f"/budgets/{made['id']}"):
        assert await code(await colleague.get(path)) == (403, "forbidden")
    for answer in (
        await stranger.get(f"/budgets/{made['id']}"),
        await stranger.patch(f"/budgets/{made['id']}", json={"limit_micros": 0}),
        await stranger.delete(f"/budgets/{made['id']}"),
    ):
        assert await code(answer) == (404, "not-found")
    space = await owner.space()
    body = {"kind": "space", "subject_id": space, "period": "day", "limit_micros": 1}
    assert await code(await stranger.post("/budgets", json=body)) == (404, "not-found")


async def test_the_list_is_paged_newest_first(owner):
    made = [
        (await owner.made("/budgets", kind=kind, period=period, limit_micros=1))["id"]
        for kind in ("tenant", "user", "space")
        for period in ("day", "month")
    ]
    found, cursor = [], None
    while True:
        page = (await owner.get("/budgets", params={"limit": 4} | ({"cursor": cursor} if cursor else {}))).json()
        found += [item["id"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == made[::-1]


async def test_everybody_sees_what_binds_them_and_what_is_left(owner, tenancy, mine):
    colleague = await tenancy.colleague(owner)
    shared = await owner.space("Shared")
    await owner.space("Hidden")
    await owner.put(f"/spaces/{shared}/members/{colleague.user.id}", json={"role": "viewer"})
    key = await colleague.made("/api-keys", name="A program")
    for fields in (
        {"kind": "tenant", "limit_micros": 1_000},
        {"kind": "user", "limit_micros": 50},
        {"kind": "user", "subject_id": str(owner.user.id), "limit_micros": 60},
        {"kind": "space", "limit_micros": 70},
        {"kind": "key", "subject_id": key["id"], "limit_micros": 80},
    ):
        await owner.made("/budgets", period="month", **fields)
    await call(mine, 30, user_id=colleague.user.id, space_id=UUID(shared), key_id=UUID(key["id"]))
    found = {item["kind"]: item for item in (await colleague.get("/me/budgets")).json()["items"]}
    left = {kind: (item["limit_micros"], item["spent_micros"], item["left_micros"]) for kind, item in found.items()}
    assert left == {"tenant": (1_000, 30, 970), "user": (50, 30, 20), "space": (70, 30, 40), "key": (80, 30, 50)}
    assert (found["space"]["name"], found["key"]["name"]) == ("Shared", "A program")
    own = {item["kind"]: item["limit_micros"] for item in (await owner.get("/me/budgets")).json()["items"]}
    assert own["user"] == 60


async def test_the_feed_tells_administrators_and_the_person(owner, tenancy, mine, app):
    colleague, other = await tenancy.colleague(owner), await tenancy.colleague(owner)

    def principal(client, **fields) -> Principal:
        admin = frozenset({Permission.ADMIN}) if client is owner else frozenset()
        return Principal(tenant_id=owner.tenant_id, user_id=client.user.id, kind="user", permissions=admin, **fields)

    narrow = principal(owner, key_id=uuid4(), scopes=frozenset({Scope.READ}))
    listeners = {"admin": principal(owner), "person": principal(colleague), "other": principal(other), "key": narrow}
    begin = {name: await now(app, who) for name, who in listeners.items()}
    await mine.budget(10, kind="user")
    await mine.budget(1_000)
    await call(mine, 9, user_id=colleague.user.id)
    await call(mine, 890)
    heard = {}
    for name, who in listeners.items():
        events, _ = await after(app, who, begin[name])
        heard[name] = [event["data"]["kind"] for event in events if event["event"] == "budget.warned"]
    assert heard == {"admin": ["user", "tenant"], "person": ["user"], "other": [], "key": []}


# Currency


async def test_the_currency_and_the_rate_are_the_organisations(owner, mine):
    changed = await owner.patch("/organisation", json={"settings": {"currency": "EUR", "usd_rate": 0.92}})
    assert changed.status_code == 200
    assert (changed.json()["settings"]["currency"], changed.json()["settings"]["usd_rate"]) == ("EUR", 0.92)
    made = await owner.made("/budgets", kind="tenant", period="month", limit_micros=5_000_000)
    assert made["currency"] == "EUR"
    mine.forget()
    with pytest.raises(BudgetExhausted, match=r"5\.00 EUR"):
        await mine.ledger.reserve(mine.account(), 5_000_001)


@pytest.mark.parametrize("wrong", [{"currency": "euro"}, {"currency": "eur"}, {"usd_rate": 0}, {"usd_rate": -1}])
async def test_a_currency_has_three_letters_and_a_rate_is_above_zero(owner, wrong):
    assert (await owner.patch("/organisation", json={"settings": wrong})).status_code == 400


async def test_a_currency_in_which_something_was_spent_stays(owner, mine):
    eur, usd = {"settings": {"currency": "EUR"}}, {"settings": {"currency": "USD"}}
    await mine.call(0)
    assert (await owner.patch("/organisation", json=eur)).status_code == 200, "nothing is nothing in any currency"
    budget = await owner.made("/budgets", kind="tenant", period="day", limit_micros=1)
    refused = await owner.patch("/organisation", json=usd)
    assert await code(refused) == (409, "currency-in-use")
    assert "delete" in refused.json()["detail"]
    await owner.delete(f"/budgets/{budget['id']}")
    assert (await owner.patch("/organisation", json=usd)).status_code == 200
    mine.forget()
    await mine.ledger.settle(await mine.ledger.reserve(mine.account(), 1), spent(1))
    refused = await owner.patch("/organisation", json=eur)
    assert await code(refused) == (409, "currency-in-use")
    assert "USD" in refused.json()["detail"]
    assert (await owner.patch("/organisation", json=usd | {"settings": {"usd_rate": 2.0}})).status_code == 200
