"""Events beside a request: bounded by who causes them, and nobody's lost for another's."""

from uuid import uuid4

import pytest
from sqlalchemy.exc import TimeoutError as PoolEmpty

from folkmoot.kit import recorder as recorder_module
from folkmoot.kit.caller import Caller, called_by
from folkmoot.kit.recorder import Recorder


@pytest.fixture
def recorder(app):
    return Recorder(app.sessions)


async def test_what_cannot_be_written_for_one_tenant_is_written_for_the_others(recorder, tenancy, count, monkeypatch):
    (shut, _), (open_, _) = await tenancy.tenant(), await tenancy.tenant()
    begin, action = recorder_module.begin, f"test.{uuid4().hex}"

    def failing(sessions, principal):
        if principal.tenant_id == shut:
            raise PoolEmpty("no connection came free")
        return begin(sessions, principal)

    monkeypatch.setattr(recorder_module, "begin", failing)
    for tenant_id in (shut, open_, shut, open_):
        recorder.note(tenant_id, action, "test")
    await recorder.close()
    assert await count("events", f"action = '{action}' AND tenant_id = '{open_}'") == 2


async def test_a_flood_from_one_network_is_bounded_however_many_addresses_it_has(recorder, tenancy, count, monkeypatch):
    monkeypatch.setattr(recorder_module, "PER_ADDRESS", 3)
    (tenant_id, _), action = await tenancy.tenant(), f"test.{uuid4().hex}"
    for end in range(50):
        with called_by(Caller("", f"2001:db8:77:1::{end:x}")):
            recorder.note(tenant_id, action, "test")
    with called_by(Caller("", "2001:db8:77:2::1")):
        recorder.note(tenant_id, action, "test")
    await recorder.close()
    assert await count("events", f"action = '{action}'") == 4
    assert len(recorder._seen) == 2
