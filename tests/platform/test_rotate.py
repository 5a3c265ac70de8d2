"""Keys are exchanged under a service that goes on, and afterwards the old ones are needed by nothing."""

from __future__ import annotations

import ast
import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from folkmoot import migrate
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.tokens import RefreshClaims, Tokens
from folkmoot.kit import envelope
from folkmoot.kit.crypto import FILES, HEAD_BYTES, MasterKeys, Tampered, wrapped_under
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import Conflict, NotSignedIn
from folkmoot.kit.jobs import Task
from folkmoot.main import create_app
from folkmoot.platform import rotate, sealed
from folkmoot.platform.key_status import key_status
from folkmoot.platform.remove import remove
from folkmoot.platform.rotate import Rotation
from folkmoot.platform.service import Actor, PlatformService
from folkmoot.settings import SettingsError
from folkmoot.tenants.models import PLATFORM
from tests.platform.keyground import (
    NEW,
    OLD,
    OTHER,
    TEXT,
    as_before,
    check_entry,
    check_sealed,
    check_shut,
    check_vouched,
    client_of,
    furnished,
    ground,
)
from tests.support import old_form
from tests.support.people import Tenancy

SOURCE = Path(__file__).parents[2] / "src" / "folkmoot"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(envelope, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(rotate, "PUBLISHED_SECONDS", 0.2)


@pytest.fixture
async def here(settings, database, tmp_path):
    async with ground(settings, database, tmp_path) as made:
        yield made


async def heads(here, tenant_id) -> set[bytes]:
    """How everything begins that a tenant has sealed at rest."""
    found = set()
    for column in sealed.COLUMNS:
        rows = await here.fetch(
            f"SELECT {column.name} FROM {column.table} WHERE tenant_id = $1 AND {column.name} IS NOT NULL", tenant_id
        )
        assert rows, f"{column.table} has nothing sealed: the test is blind"
        found |= {row[0][:HEAD_BYTES] for row in rows}
    files = here.files(tenant_id)
    assert files
    return found | {path.read_bytes()[8 : 8 + HEAD_BYTES] for path in files}


async def masters_in_use(here) -> set[bytes]:
    rows = await here.fetch("SELECT wrapped FROM tenant_keys WHERE purpose <> 'old'")
    return {wrapped_under(row["wrapped"]) for row in rows}


class KilledError(Exception):
    """As if the command was killed."""


class Traffic:
    """People at work: reading a file, looking at login methods, taking a new session token, making organisations."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self._going = stack, True
        self.rounds = 0

    async def start(self, app, things) -> None:
        client = await self._stack.enter_async_context(client_of(app, things))
        task = asyncio.create_task(self._work(app, things, client))
        self._stack.push_async_callback(self._end, task)

    async def _work(self, app, things, client) -> None:
        tenancy = Tenancy(app, create_app(app.settings))
        refresh = (await SignIn(app).open(things.owner.user, method="oidc")).refresh_token
        while self._going:
            content = await client.get(f"/documents/{things.document}/content")
            assert (content.status_code, content.content) == (200, TEXT)
            listed = await client.get("/login-methods")
            assert listed.json()["items"][0]["config"]["bind_password"] != "", listed.text
            refresh = (await SignIn(app).refresh(refresh)).refresh_token
            tenant_id, _ = await tenancy.tenant()
            await app.keyring.seal(b"s", purpose="p", tenant_id=tenant_id)
            self.rounds += 1

    async def more(self, rounds: int = 2) -> None:
        until = self.rounds + rounds
        async with asyncio.timeout(30):
            while self.rounds < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _end(self, task) -> None:
        self._going = False
        await task


async def test_a_master_key_is_exchanged_under_a_live_api_and_then_only_the_new_one_is_needed(here):
    async with here.app(OLD) as before:
        things = await furnished(before)
    async with AsyncExitStack() as stack:
        # A rolling restart: some have the new key in front already, and some behind.
        live = [await stack.enter_async_context(here.app(*keys)) for keys in ([OLD, NEW], [NEW, OLD])]
        traffic = Traffic(stack)
        for app in live:
            await traffic.start(app, things)
        await traffic.more()
        assert await masters_in_use(here) == {MasterKeys(OLD).ids[0]}
        async with here.app(NEW, OLD) as operators:
            report = await Rotation(operators, operator="tester").run()
            assert report.faults == []
            assert report.wrapped >= 4
            await traffic.more(4)
            status = await key_status(operators)
            assert [(master.first, master.wraps > 0, status.can_go(master)) for master in status.masters] == [
                (True, True, False),
                (False, False, True),
            ]
        assert await masters_in_use(here) == {MasterKeys(NEW).ids[0]}
        await traffic.more()
    async with here.app(NEW) as after:
        await check_sealed(after, things)
        await check_entry(after, things)
        await check_vouched(after, things)
        (event,) = await here.fetch("SELECT data FROM events WHERE action = 'keys.rotated'")
        assert '"operator": "tester"' in event["data"]
    for wrong in (OLD, OTHER):
        with pytest.raises(SettingsError, match=f"{MasterKeys(NEW).ids[0].hex()}.*FOLKMOOT_SECRET_KEY"):
            async with here.app(wrong):
                pass


async def test_a_rotation_with_nothing_to_do_reads_no_file_and_changes_nothing(here, monkeypatch):
    async with here.app(OLD) as app:
        things = await furnished(app)
        monkeypatch.setattr(type(app.storage), "reseal", None)
        before = await here.fetch("SELECT * FROM tenant_keys ORDER BY id")
        report = await Rotation(app).run()
        assert (report.wrapped, report.made, report.removed, report.secrets, report.files) == (0, 0, 0, 0, 0)
        assert await here.fetch("SELECT * FROM tenant_keys ORDER BY id") == before
        await check_entry(app, things)


async def test_new_data_keys_are_made_and_all_is_encrypted_anew_under_a_live_api(here):
    async with here.app(OLD) as app, AsyncExitStack() as stack:
        things = await furnished(app)
        (kid,) = {key["kid"] for key in app.part(Tokens).published()[:1]}
        traffic = Traffic(stack)
        await traffic.start(app, things)
        await traffic.more()
        async with here.app(OLD) as operators:
            said = []
            report = await Rotation(operators, said.append).run(data_keys=True)
        assert report.faults == []
        assert report.secrets >= 4
        assert report.files == 1
        assert any("1 of 1 files" in line for line in said)
        await traffic.more(4)
        assert await heads(here, things.tenant_id) == {b"\x02\x00\x00\x00\x02"}
        assert next(key["kid"] for key in app.part(Tokens).published()) != kid, (
            "the live process signs with the new root"
        )
        await check_sealed(app, things)
        await check_entry(app, things)
        await check_vouched(app, things)
    roots = await here.fetch("SELECT version FROM tenant_keys WHERE purpose = 'derive'")
    assert [row["version"] for row in roots] == [2]
    async with here.app(OLD) as later:
        await check_sealed(later, things)
        await check_entry(later, things)
        await check_vouched(later, things)


async def test_an_older_data_key_goes_in_a_later_rotation_and_not_before_its_time(here):
    async with here.app(OLD) as app:
        things = await furnished(app)
        await Rotation(app).run(data_keys=True)
        versions = "SELECT version FROM tenant_keys WHERE purpose = 'seal' AND tenant_id = $1 ORDER BY 1"
        assert [row[0] for row in await here.fetch(versions, things.tenant_id)] == [1, 2]
        # An upload that had begun before ends after: its bytes are still sealed with the first version.
        (path,) = here.files(things.tenant_id)
        key = str(path.relative_to(path.parents[1]))
        old = await app.keyring.of(things.tenant_id)
        straggler = envelope.Keys(things.tenant_id, old._versions, 1, app.keyring.masters)

        class Late(Keyring):
            async def of(self, tenant_id):
                return straggler

        late = type(app.storage)(app.storage._store, Late(OLD), root=app.storage._root)

        async def pieces():
            yield TEXT

        await late.write(things.tenant_id, key, pieces())
        await Rotation(app).run()
        assert [row[0] for row in await here.fetch(versions, things.tenant_id)] == [1, 2]
        assert await heads(here, things.tenant_id) == {b"\x02\x00\x00\x00\x02"}
        status = await key_status(app)
        assert status.retired >= 2
        assert status.retired_until is not None
        await here.fetch("UPDATE tenant_keys SET until = now() - interval '1 second' WHERE until IS NOT NULL AND"
                         " purpose = 'seal'")  # fmt: skip
        report = await Rotation(app).run()
        assert report.removed >= 2
        assert [row[0] for row in await here.fetch(versions, things.tenant_id)] == [2]
        await check_sealed(app, things)
    async with here.app(OLD) as later:
        await check_sealed(later, things)
        await check_vouched(later, things)


async def test_after_a_theft_nobody_gets_in_by_the_old_keys_and_the_log_is_still_proven(here):
    async with here.app(OLD) as before:
        things = await furnished(before)
        await Rotation(before).run(data_keys=True)
        await check_entry(before, things)
        with pytest.raises(SettingsError, match="put a new one before it"):
            await Rotation(before).run(stolen=True)
    async with here.app(NEW, OLD) as app:
        await Rotation(app).run(stolen=True)
        await check_shut(app, things)
    async with here.app(NEW) as after:
        await check_shut(after, things)
        await check_sealed(after, things)
        await check_vouched(after, things)


async def test_what_an_earlier_release_sealed_and_signed_is_moved_and_its_master_key_can_go(here):
    async with here.app(OLD) as app:
        things = await furnished(app)
        await as_before(here, app, things, OLD)
    codes = list(things.codes)
    async with here.app(OLD) as upgraded:
        await check_entry(upgraded, things)
        await check_vouched(upgraded, things)
        status = await key_status(upgraded)
        (master,) = status.masters
        assert set(master.old) == {"files", *(f"{column.table}.{column.name}" for column in sealed.COLUMNS)}
        assert set(status.before) >= {PLATFORM, things.tenant_id}
    async with here.app(NEW, OLD) as app:
        status = await key_status(app)
        assert not any(status.can_go(master) for master in status.masters)
        report = await Rotation(app).run()
        assert report.faults == []
        assert report.files == 1
        status = await key_status(app)
        assert [status.can_go(master) for master in status.masters] == [False, True]
        assert status.before == []
    assert await heads(here, things.tenant_id) == {b"\x02\x00\x00\x00\x01"}
    async with here.app(NEW) as after:
        things.codes = codes
        await check_entry(after, things)
        await check_sealed(after, things)
        await check_vouched(after, things)


async def test_what_does_not_open_is_named_and_nothing_that_it_may_need_is_taken_away(here):
    async with here.app(OLD) as app:
        things = await furnished(app)
        await as_before(here, app, things, OLD)
    broken = old_form.seal(OTHER, b"{}", purpose="connection", tenant_id=things.tenant_id)
    await here.fetch(
        "UPDATE connections SET config = $2 WHERE tenant_id = $1 AND name = 'Models'", things.tenant_id, broken
    )
    (path,) = here.files(things.tenant_id)
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    async with here.app(NEW, OLD) as app:
        report = await Rotation(app).run()
        told = "\n".join(map(str, report.faults))
        assert "connections.config" in told
        assert MasterKeys(OTHER).ids[0].hex() in told
        assert "file " in told
        status = await key_status(app)
        assert things.tenant_id in status.before
        assert not any(status.can_go(master) for master in status.masters)
        path.write_bytes(whole)
        await here.fetch("DELETE FROM connections WHERE tenant_id = $1 AND name = 'Models'", things.tenant_id)
        assert (await Rotation(app).run()).faults == []
        assert (await key_status(app)).before == []


async def test_a_rotation_that_was_cut_off_goes_on_where_it_was(here, monkeypatch):
    async with here.app(OLD) as app:
        things = await furnished(app)
        for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt"):
            await things.owner.upload(await things.owner.collection(name=name), (name, os.urandom(1000)))
        reseal, done = type(app.storage).reseal, []

        async def dies(self, tenant_id, key):
            if len(done) == 3:
                raise KilledError
            done.append(key)
            return await reseal(self, tenant_id, key)

        monkeypatch.setattr(sealed, "FILES_AT_ONCE", 1)
        monkeypatch.setattr(type(app.storage), "reseal", dies)
        with pytest.raises(KilledError):
            await Rotation(app).run(data_keys=True)
        monkeypatch.setattr(type(app.storage), "reseal", reseal)
        report = await Rotation(app).run()
        assert (report.made, report.files) == (0, 3)
        assert await heads(here, things.tenant_id) == {b"\x02\x00\x00\x00\x02"}
        await check_sealed(app, things)
        await check_vouched(app, things)


async def test_two_rotations_at_once_are_one(here):
    async with here.app(OLD) as app:
        await app.redis.set(rotate.LEASE, "another", ex=60)
        with pytest.raises(Conflict, match="another rotation"):
            await Rotation(app).run()
        assert await app.redis.get(rotate.LEASE) == b"another"


async def test_a_file_removed_while_it_is_sealed_anew_stays_removed(here, monkeypatch):
    async with here.app(OLD) as app:
        things = await furnished(app)
        reseal = type(app.storage).reseal

        async def raced(self, tenant_id, key):
            done = await reseal(self, tenant_id, key)
            await here.fetch("DELETE FROM documents WHERE tenant_id = $1", tenant_id)
            await here.fetch("DELETE FROM files WHERE tenant_id = $1", tenant_id)
            return done

        monkeypatch.setattr(type(app.storage), "reseal", raced)
        assert (await Rotation(app).run(data_keys=True)).faults == []
        assert here.files(things.tenant_id) == []


async def test_an_organisation_deleted_meanwhile_is_passed_over(here, monkeypatch):
    async with here.app(OLD) as app:
        things = await furnished(app)
        run = sealed.Resealing.run

        async def gone(self):
            await here.fetch("DELETE FROM tenants WHERE id = $1", things.tenant_id)
            await app.keyring.look()
            app.keyring._held.clear()
            await run(self)

        monkeypatch.setattr(sealed.Resealing, "run", gone)
        assert (await Rotation(app).run(data_keys=True)).faults == []


async def _nothing(_app, *, tenant_id): ...


async def test_with_an_organisation_goes_the_key_of_all_that_backups_still_hold(here):
    async with here.app(OLD) as app:
        things = await furnished(app)
        (path,) = here.files(things.tenant_id)
        backup, key = path.read_bytes(), str(path.relative_to(path.parents[1]))
        follow = Task("platform.lost", "maintenance", _nothing)
        await PlatformService(app, Actor.command("tester")).delete(things.tenant_id, things.owner.tenant_name, follow)
        async with asyncio.timeout(30):
            while not await remove(app, things.tenant_id):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await here.fetch("SELECT 1 FROM tenant_keys WHERE tenant_id = $1", things.tenant_id) == []
        path.parent.mkdir(parents=True)
        path.write_bytes(backup)
    async with here.app(OLD) as later:
        with pytest.raises(Tampered):
            await later.storage.read_bytes(things.tenant_id, key)


async def test_who_has_an_organisation_from_before_data_keys_is_marked_by_the_migration(here):
    await here.fetch("DROP SCHEMA public CASCADE")
    await here.fetch("CREATE SCHEMA public AUTHORIZATION folkmoot_owner")
    await here.fetch("GRANT USAGE ON SCHEMA public TO folkmoot_runtime")
    await here.fetch("CREATE EXTENSION vector")
    owner = here.settings.owner_database_url
    await asyncio.to_thread(migrate.commands(owner).upgrade, "0003")
    await here.fetch("INSERT INTO tenants (id, name, state) VALUES (gen_random_uuid(), 'Riverside', 'active')")
    await asyncio.to_thread(migrate.commands(owner).upgrade)
    rows = await here.fetch(
        "SELECT t.name, k.purpose FROM tenant_keys k JOIN tenants t ON t.id = k.tenant_id ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [("(the platform)", "old"), ("Riverside", "old")]


async def test_a_new_installation_believes_nothing_that_is_derived_from_a_master_key(here):
    assert await here.fetch("SELECT 1 FROM tenant_keys") == []
    async with here.app(OLD) as app:
        things = await furnished(app)
        forged = Tokens(app.keyring, 600)
        forged._refresh_keys = [old_form.derive(OLD, "refresh-token")]
        with pytest.raises(NotSignedIn):
            await SignIn(app).refresh(forged.refresh(RefreshClaims(things.tenant_id, things.session, 1)))


def calls(*names: str) -> set[str]:
    """The purposes that the source gives to these methods, constants read."""
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                given = [word.value for word in node.keywords if word.arg == "purpose"]
                if path.parent.name == "kit" and path.stem in ("crypto", "envelope"):
                    continue
                if names[0] != "seal":
                    given += node.args[:1]
                for value in given:
                    if isinstance(value, ast.Constant):
                        found.add(value.value)
                    elif isinstance(value, ast.Name) and value.id in constants:
                        found.add(constants[value.id])
    return found


def test_everything_that_the_source_seals_is_known_to_the_rotation():
    at_rest = {column.purpose for column in sealed.COLUMNS}
    purposes = calls("seal", "open")
    assert purposes == at_rest | sealed.PASSING, "a new kind of secret: add it to platform/sealed.py"
    assert FILES not in purposes


def test_everything_that_the_source_derives_has_an_answer_to_a_rotation(app):
    kept = set(Rotation(app)._keeping(stolen=False)) | rotate.FLEETING
    unknown = calls("derive", "derivations") - kept
    assert unknown == set(), "a new kind of signature: add it to platform/rotate.py"
    assert timedelta(days=1) < rotate.RETIRED, "what Redis keeps of repeated requests lives for a day"
