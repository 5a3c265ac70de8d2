"""Text goes only where it may, and what is not known counts against a model."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from folkmoot_sdk import ModelInfo
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.ai.policy import Level, Standing, why_not
from folkmoot.ai.route import Choice, Snapshot
from folkmoot.kit.errors import AppError, Conflict, NotAvailable, NotFound, ValidationFailed
from folkmoot.usage.money import CEILING

OPEN = Level(uuid4(), "Open", 0)
INTERNAL = Level(uuid4(), "Internal", 1)
SECRET = Level(uuid4(), "Secret", 2, frozenset({"SE", "FI"}))
LEVELS = (OPEN, INTERNAL, SECRET)


def choice(name="model", *, kind="chat", clearance=None, country=None, in_process=False, connection=None, **fields):
    model = SimpleNamespace(
        id=fields.pop("id", None) or uuid4(),
        name=name,
        kind=kind,
        enabled=fields.pop("enabled", True),
        offered=fields.pop("offered", True),
        fallback_ids=fields.pop("fallback_ids", None),
        deprecated_at=None,
    )
    account = SimpleNamespace(id=connection or uuid4(), kind="made-up", name="Made up", enabled=True)
    assert not fields
    return Choice(model, account, ModelInfo(name, kind), None, CEILING, Standing(in_process, clearance, country))


def snapshot(*choices: Choice, default: Level | None = None) -> Snapshot:
    return Snapshot(choices, {level.id: level for level in LEVELS}, default)


def test_without_a_class_any_model_may_see_the_text():
    assert why_not(Standing(in_process=False, clearance=None, country=None), []) is None


@pytest.mark.parametrize(
    ("standing", "text", "word"),
    [
        (Standing(False, None, None), [OPEN], "not cleared"),
        (Standing(False, INTERNAL, "SE"), [SECRET], "cleared for 'Internal'"),
        (Standing(False, SECRET, None), [SECRET], "no country"),
        (Standing(False, SECRET, "US"), [SECRET], "stands in US"),
        (Standing(False, INTERNAL, "SE"), [OPEN, SECRET], "Secret"),
    ],
)
def test_a_model_that_may_not_see_it_is_told_why(standing, text, word):
    assert word in why_not(standing, text)


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (Standing(False, SECRET, "SE"), [SECRET]),
        (Standing(False, SECRET, "SE"), [OPEN, INTERNAL]),
        (Standing(False, INTERNAL, None), [OPEN]),
        (Standing(True, None, None), [SECRET]),
    ],
)
def test_a_cleared_model_may_see_it_and_what_runs_in_this_process_may_see_all(standing, text):
    assert why_not(standing, text) is None


def test_a_model_that_is_asked_for_and_not_cleared_is_refused_with_those_that_are():
    foreign, ours = choice("foreign"), choice("ours", clearance=SECRET, country="SE")
    with pytest.raises(Conflict, match=r"foreign.*These may see it: ours") as refused:
        snapshot(foreign, ours).route("chat", [SECRET], foreign.model.id)
    assert refused.value.code == "model-not-cleared"


def test_the_default_of_a_class_is_the_first_that_is_cleared_for_it():
    foreign, ours = choice("foreign"), choice("ours", clearance=SECRET, country="SE")
    assert snapshot(foreign, ours).route("chat", []).first is foreign
    assert snapshot(foreign, ours).route("chat", [SECRET]).first is ours


def test_if_nobody_is_cleared_nothing_is_sent():
    with pytest.raises(NotAvailable, match="'Secret'") as refused:
        snapshot(choice(), choice(clearance=INTERNAL)).route("chat", [SECRET])
    assert refused.value.code == "no-model-cleared"


def test_fallbacks_are_the_next_of_another_connection_unless_the_model_names_its_own():
    account = uuid4()
    first, sibling = choice("first", connection=account), choice("sibling", connection=account)
    others = [choice(f"other {n}") for n in range(3)]
    route = snapshot(first, sibling, *others).route("chat", [])
    assert [item.model.name for item in route.choices] == ["first", "other 0", "other 1"]
    own = choice("own", fallback_ids=[others[2].model.id, sibling.model.id, uuid4()])
    route = snapshot(own, sibling, *others).route("chat", [])
    assert [item.model.name for item in route.choices] == ["own", "other 2", "sibling"]
    alone = choice("alone", fallback_ids=[])
    assert snapshot(alone, *others).route("chat", []).choices == (alone,)


def test_what_answers_without_a_model_stands_in_for_one_only_if_it_is_named():
    without = choice("extractive", in_process=True)
    assert snapshot(first := choice("first"), without).route("chat", []).choices == (first,)
    named = choice("named", fallback_ids=[without.model.id])
    assert snapshot(named, without).route("chat", []).choices == (named, without)


def test_vectors_have_no_fallback():
    first, second = choice(kind="embedding"), choice(kind="embedding")
    assert snapshot(first, second).route("embedding", []).choices == (first,)


@pytest.mark.parametrize("state", [{"enabled": False}, {"offered": False}])
def test_a_model_that_is_switched_off_or_gone_is_not_there(state):
    off = choice("off", **state)
    with pytest.raises(NotFound):
        snapshot(off).route("chat", [], off.model.id)
    with pytest.raises(NotAvailable):
        snapshot(off).route("chat", [])


def test_a_model_of_another_kind_is_not_taken():
    embedder = choice("embedder", kind="embedding")
    with pytest.raises(ValidationFailed, match="embedding"):
        snapshot(embedder).route("chat", [], embedder.model.id)


def test_a_class_that_is_not_known_is_guarded_as_if_nobody_might_see_it():
    with pytest.raises(NotAvailable):
        snapshot(choice(clearance=SECRET)).text_of([uuid4()])


def test_a_space_without_a_class_has_the_default_one():
    assert snapshot(default=INTERNAL).text_of([None, SECRET.id]) == (INTERNAL, SECRET)
    assert snapshot().text_of([None]) == ()


levels = st.sampled_from(LEVELS)
choices = st.builds(
    choice,
    name=st.sampled_from("abc"),
    clearance=st.none() | levels,
    country=st.sampled_from([None, "SE", "US"]),
    in_process=st.booleans(),
    enabled=st.booleans(),
    offered=st.booleans(),
    kind=st.sampled_from(["chat", "embedding", "rerank"]),
)


@given(st.lists(choices, max_size=6), st.lists(levels, max_size=3), st.data())
def test_no_route_and_no_fallback_ever_leads_where_the_text_may_not_go(made: list[Choice], text: list[Level], data):
    ids: list[UUID] = [item.model.id for item in made]
    for item in made:
        item.model.fallback_ids = data.draw(st.none() | st.lists(st.sampled_from(ids or [uuid4()]), max_size=4))
    kind = data.draw(st.sampled_from(["chat", "embedding", "rerank"]))
    wanted = data.draw(st.none() | st.sampled_from([*ids, uuid4()]))
    try:
        route = snapshot(*made).route(kind, text, wanted)
    except AppError:
        return
    assert len({item.model.id for item in route.choices}) == len(route.choices), "nobody is asked twice"
    for item in route.choices:
        assert item.usable
        assert item.model.kind == kind
        assert why_not(item.standing, text) is None
