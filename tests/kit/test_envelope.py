"""A process has its keys once, hears of new ones, and never waits for the database in between."""

import asyncio
import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from folkmoot.assemble import assemble
from folkmoot.kit import envelope
from folkmoot.kit.access import Principal
from folkmoot.kit.crypto import (
    PLATFORM,
    MasterKeys,
    NoPlaceForKeys,
    Tampered,
    UnknownKeyVersion,
    UnknownMasterKey,
    wrapped_under,
)
from folkmoot.kit.data_keys import DERIVE, OLD, SEAL, KeyRow, Stored
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.glance import glances
from folkmoot.settings import SettingsError
from tests.support import old_form
from tests.support.keyrings import MASTER, Changing

OTHER = b"o" * 32
PLACE = {"purpose": "p", "aad": b"row"}


class Counted(Changing):
    """Counts how often it is asked."""

    asked = 0

    async def rows(self, tenant_id):
        self.asked += 1
        await asyncio.sleep(0)
        return await super().rows(tenant_id)


async def test_keys_are_read_once_and_then_remembered():
    store, tenant = Counted(), uuid4()
    keyring = await store.keyring()
    sealed = await keyring.seal(b"s", tenant_id=tenant, **PLACE)
    asked = store.asked
    for _ in range(100):
        assert await keyring.open(sealed, tenant_id=tenant, **PLACE) == b"s"
        await keyring.seal(b"s", tenant_id=tenant, **PLACE)
        keyring.derivations("link", tenant)
    assert store.asked == asked


async def test_of_many_who_need_a_key_at_once_one_reads_it():
    store, tenant = Counted(), uuid4()
    keyring = await store.keyring()
    asked = store.asked
    found = await asyncio.gather(*(keyring.of(tenant) for _ in range(50)))
    assert store.asked <= asked + 2
    assert {keys.current for keys in found} == {1}


async def test_who_gives_up_waiting_does_not_take_the_key_from_the_others():
    store, tenant = Counted(), uuid4()
    keyring = await store.keyring()
    first, second = asyncio.create_task(keyring.of(tenant)), asyncio.create_task(keyring.of(tenant))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).tenant_id == tenant
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_one_tenant_sealed_opens_for_no_other_and_not_for_the_platform():
    keyring = Keyring(MASTER)
    sealed = await keyring.seal(b"s", tenant_id=uuid4(), **PLACE)
    for other in (uuid4(), None):
        with pytest.raises(Tampered):
            await keyring.open(sealed, tenant_id=other, **PLACE)
    ours = await keyring.seal(b"s", tenant_id=None, **PLACE)
    assert await keyring.open(ours, tenant_id=PLATFORM, **PLACE) == b"s"


async def test_opening_makes_no_key():
    store = Changing()
    keyring = await store.keyring()
    with pytest.raises(UnknownKeyVersion):
        await keyring.open(b"\x02" + bytes(60), tenant_id=uuid4(), **PLACE)
    assert {tenant for tenant, _, _ in store.found} == {PLATFORM}


async def test_a_new_version_opens_at_once_and_seals_from_its_time_on():
    store, tenant = Changing(), uuid4()
    here, there = await store.keyring(), await store.keyring()
    old = await here.seal(b"old", tenant_id=tenant, **PLACE)
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    store.give(SEAL, 2, b"2" * 32, tenant_id=tenant, use_from=soon)
    store.give(DERIVE, 2, b"3" * 32, use_from=soon)
    before = here.derive("link")
    for keyring in (here, there):
        await keyring.look()
    assert (await here.of(tenant)).current == 1
    assert here.derive("link") == before
    async with asyncio.timeout(5):
        while (await there.of(tenant)).current == 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while there.derive("link") == before:
            await there.look()
    new = await there.seal(b"new", tenant_id=tenant, **PLACE)
    assert await here.open(new, tenant_id=tenant, **PLACE) == b"new"
    assert await there.open(old, tenant_id=tenant, **PLACE) == b"old"
    assert there.derivations("link")[1] == before


async def test_what_another_process_sealed_with_a_newer_version_opens_without_having_heard_of_it():
    store, tenant = Changing(), uuid4()
    here = await store.keyring()
    await here.seal(b"s", tenant_id=tenant, **PLACE)
    for owner in (tenant, PLATFORM):
        store.give(SEAL, 2, b"2" * 32, tenant_id=owner)
    there = await store.keyring()
    for owner in (tenant, None):
        sealed = await there.seal(b"new", tenant_id=owner, **PLACE)
        assert await here.open(sealed, tenant_id=owner, **PLACE) == b"new"


async def test_a_master_key_exchanged_under_way_changes_nothing_that_is_sealed_or_signed():
    store, tenant = Changing(MASTER), uuid4()
    before = await store.keyring([MASTER, OTHER])
    sealed = await before.seal(b"s", tenant_id=tenant, **PLACE)
    signs = before.derive("link")
    store.rewrap(OTHER)
    await before.look()
    after = await store.keyring(OTHER)
    for keyring in (before, after):
        assert await keyring.open(sealed, tenant_id=tenant, **PLACE) == b"s"
        assert keyring.derivations("link") == [signs]
    with pytest.raises(UnknownMasterKey, match="FOLKMOOT_SECRET_KEY"):
        await store.keyring(MASTER)


async def test_a_key_is_made_under_the_master_key_of_the_platform_not_under_ones_own_first():
    store = Changing(MASTER)
    await store.keyring()
    for order in ([OTHER, MASTER], [MASTER, OTHER]):
        keyring, tenant = await store.keyring(order), uuid4()
        await keyring.of(tenant)
        assert wrapped_under(store.found[tenant, SEAL, 1].wrapped) == MasterKeys(MASTER).ids[0]
        late = await store.keyring(order)
        store.rewrap(OTHER)
        tenant = uuid4()
        await late.of(tenant)
        assert wrapped_under(store.found[tenant, SEAL, 1].wrapped) == MasterKeys(OTHER).ids[0], "it hears of it then"
        store.rewrap(MASTER)


async def test_a_master_key_that_was_put_into_its_file_is_read_when_it_is_needed(tmp_path):
    store, tenant, keys = Changing(MASTER), uuid4(), [MASTER]
    keyring = await store.keyring(MASTER, again=lambda: keys)
    other = await store.keyring()
    sealed = await other.seal(b"s", tenant_id=tenant, **PLACE)
    store.rewrap(OTHER)
    with pytest.raises(UnknownMasterKey):
        await keyring.open(sealed, tenant_id=tenant, **PLACE)
    keys[:] = [OTHER, MASTER]
    assert await keyring.open(sealed, tenant_id=tenant, **PLACE) == b"s"
    await keyring.look()
    await keyring.of(uuid4())
    old = old_form.seal(OTHER, b"old", purpose="p", tenant_id=tenant, aad=b"row")
    assert await keyring.open(old, tenant_id=tenant, **PLACE) == b"old"


async def test_a_file_of_master_keys_that_cannot_be_read_leaves_those_in_memory():
    store, tenant = Changing(MASTER), uuid4()

    def broken():
        raise SettingsError("FOLKMOOT_SECRET_KEY_FILE names a file, which cannot be read")

    keyring = await store.keyring(MASTER, again=broken)
    sealed = await keyring.seal(b"s", tenant_id=tenant, **PLACE)
    store.rewrap(OTHER)
    with pytest.raises(UnknownMasterKey):
        await keyring.look()
    assert await keyring.open(sealed, tenant_id=tenant, **PLACE) == b"s", "what it has goes on working"


async def test_what_is_derived_straight_from_a_master_key_counts_only_where_there_was_a_time_before():
    store = Changing(MASTER)
    keyring = await store.keyring()
    was = old_form.derive(MASTER, "link", tenant := uuid4())
    assert was not in keyring.derivations("link", tenant)
    store.give(OLD, 0, b"")
    await keyring.look()
    assert keyring.derivations("link", tenant) == [keyring.derive("link", tenant), was]
    store.take(OLD, 0)
    store.give(f"link:{tenant}", 1, was, until=datetime.now(UTC) + timedelta(days=1))
    await keyring.look()
    assert keyring.derivations("link", tenant) == [keyring.derive("link", tenant), was]
    store.give(f"link:{tenant}", 1, was, until=datetime.now(UTC) - timedelta(days=1))
    await keyring.look()
    assert was not in keyring.derivations("link", tenant)


async def test_a_key_of_one_tenant_put_in_the_place_of_anothers_is_found():
    store, one, other = Changing(), uuid4(), uuid4()
    keyring = await store.keyring()
    for tenant in (one, other):
        await keyring.of(tenant)
    swapped = store.found[other, SEAL, 1].wrapped
    store.found[one, SEAL, 1] = replace(store.found[one, SEAL, 1], wrapped=swapped)
    with pytest.raises(Tampered, match=str(one)):
        await (await store.keyring()).of(one)


async def test_what_is_remembered_has_a_bound_and_an_end(monkeypatch):
    store = Counted()
    keyring = await store.keyring()
    monkeypatch.setattr(envelope, "MOST_REMEMBERED", 5)
    tenants = [uuid4() for _ in range(9)]
    for tenant in tenants:
        await keyring.of(tenant)
    asked = store.asked
    await keyring.of(tenants[-1])
    assert store.asked == asked
    await keyring.of(tenants[0])
    assert store.asked == asked + 1
    monkeypatch.setattr(envelope, "REMEMBERED_SECONDS", -1.0)
    await keyring.of(tenants[1])
    asked = store.asked
    await keyring.of(tenants[1])
    assert store.asked == asked + 1


async def test_a_keyring_that_was_not_started_says_so():
    keyring = Keyring(MASTER, Changing())
    with pytest.raises(RuntimeError, match="start"):
        keyring.derive("link")
    with pytest.raises(RuntimeError, match="start"):
        await keyring.of(None)


async def test_it_hears_of_a_change_by_itself_and_survives_a_database_that_is_away(monkeypatch):
    monkeypatch.setattr(envelope, "LOOK_SECONDS", 0.01)

    class Away(Changing):
        away = False

        async def rows(self, tenant_id):
            if self.away:
                raise asyncpg.InterfaceError("connection is closed")
            return await super().rows(tenant_id)

    store = Away()
    keyring = Keyring(store.masters, store)
    await keyring.start()
    try:
        before, store.away = keyring.derive("link"), True
        await asyncio.sleep(0.05)
        assert keyring.derive("link") == before
        store.give(DERIVE, 2, b"2" * 32)
        store.away = False
        async with asyncio.timeout(5):
            while keyring.derive("link") == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        await keyring.close()


# in PostgreSQL


@pytest.fixture
async def pool(database):
    async with glances(database["runtime"], 4) as made:
        yield made


@pytest.fixture
async def tenant(owner):
    """A tenant without a key of its own yet."""
    return owner.tenant_id


async def wrapped_of(superuser, tenant):
    async with superuser.connect() as connection:
        found = await connection.execute(
            text("SELECT wrapped FROM tenant_keys WHERE tenant_id = :t AND purpose = 'seal'"), {"t": tenant}
        )
        return [row.wrapped for row in found]


async def forget(superuser, tenant):
    async with superuser.begin() as connection:
        await connection.execute(text("DELETE FROM tenant_keys WHERE tenant_id = :t"), {"t": tenant})


async def test_of_many_processes_that_make_a_key_at_once_one_wins(pool, app, tenant, superuser):
    await forget(superuser, tenant)
    rings = [Keyring(app.keyring.masters, Stored(pool)) for _ in range(12)]
    await asyncio.gather(*(ring.start() for ring in rings))
    try:
        sealed = await asyncio.gather(*(ring.seal(b"s", tenant_id=tenant, **PLACE) for ring in rings))
        for ring in rings:
            for one in sealed:
                assert await ring.open(one, tenant_id=tenant, **PLACE) == b"s"
    finally:
        await asyncio.gather(*(ring.close() for ring in rings))
    (wrapped,) = await wrapped_of(superuser, tenant)
    assert wrapped_under(wrapped) == app.keyring.masters.ids[0]


async def test_no_key_is_added_under_a_master_key_that_the_platform_has_left(pool, app, tenant, superuser):
    await forget(superuser, tenant)
    stray = MasterKeys(OTHER).wrap(b"d" * 32, tenant_id=tenant, purpose=SEAL, version=1)
    assert await Stored(pool).add(KeyRow(tenant, SEAL, 1, stray, datetime.now(UTC))) is False
    assert await wrapped_of(superuser, tenant) == []


async def test_nothing_is_sealed_for_a_tenant_that_is_not_there(app):
    gone = uuid4()
    with pytest.raises(NoPlaceForKeys, match=str(gone)):
        await app.keyring.seal(b"s", tenant_id=gone, **PLACE)


async def test_a_tenant_reads_no_keys_but_its_own(app, owner, tenancy, superuser):
    other = await tenancy.owner()
    for tenant in (owner.tenant_id, other.tenant_id):
        await app.keyring.of(tenant)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        seen = (await work.session.scalars(text("SELECT DISTINCT tenant_id FROM tenant_keys"))).all()
    assert seen == [owner.tenant_id]


async def test_starting_with_a_wrong_master_key_says_which_one_is_missing(settings, app):
    wrong = base64.b64encode(hashlib.sha256(b"another installation").digest()).decode()
    with pytest.raises(SettingsError, match=f"{app.keyring.masters.ids[0].hex()}.*FOLKMOOT_SECRET_KEY"):
        async with assemble(replace(settings, secret_key=(wrong,))):
            pass
