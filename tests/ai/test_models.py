"""Which models somebody may use."""


async def test_a_new_organisation_has_a_model_that_needs_nothing(owner, tenancy):
    items = (await owner.get("/models")).json()["items"]
    assert [(item["kind"], item["provider"], item["default"]) for item in items] == [("chat", "extractive", True)]
    colleague = await tenancy.colleague(owner)
    assert (await colleague.get("/models")).json()["items"] == items


async def test_no_answer_holds_the_configuration_of_a_connection(owner):
    text = (await owner.get("/models")).text
    assert "config" not in text
    assert "api_key" not in text
