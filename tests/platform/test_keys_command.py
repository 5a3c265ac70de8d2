"""`folkmoot keys`: what it says, and a `folkmoot up` whose master key is exchanged while people work."""

from __future__ import annotations

import asyncio
import re
import threading

import pytest
from click.testing import CliRunner

from folkmoot.cli import main
from folkmoot.embedded import put_secret_keys, secret_keys
from folkmoot.kit import envelope
from folkmoot.kit.crypto import MasterKeys
from folkmoot.platform import rotate
from tests.platform.keyground import NEW, OLD, OTHER, as_before, check_sealed, furnished, ground
from tests.support.server import Server, command

pytestmark = pytest.mark.timeout(180)
IDS = {key: MasterKeys(key).ids[0].hex() for key in (OLD, NEW, OTHER)}


@pytest.fixture
async def here(settings, database, tmp_path, monkeypatch):
    monkeypatch.setattr(envelope, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(rotate, "PUBLISHED_SECONDS", 0.2)
    async with ground(settings, database, tmp_path) as made:
        yield made


@pytest.fixture
def run(here):
    """Run a command with these master keys in the settings."""

    async def invoke(keys: list[bytes], *arguments: str):
        settings = here.with_keys(keys)
        names = ("database_url", "redis_url", "storage_url")
        env = {f"FOLKMOOT_{name.upper()}": getattr(settings, name) for name in names}
        env["FOLKMOOT_SECRET_KEY"] = ",".join(settings.secret_key)
        return await asyncio.to_thread(CliRunner().invoke, main, ["keys", *arguments], env=env)

    return invoke


async def test_a_master_key_is_exchanged_step_by_step(here, run):
    async with here.app(OLD) as app:
        things = await furnished(app)
    done = await run([NEW, OLD], "status")
    assert done.exit_code == 0
    assert re.search(rf"{IDS[NEW]}  the first: 0 keys$", done.output, re.MULTILINE)
    assert re.search(rf"{IDS[OLD]}  given: \d+ keys$", done.output, re.MULTILINE)
    done = await run([NEW, OLD], "rotate")
    assert done.exit_code == 0, done.output
    assert re.match(r"\d+ keys are encrypted with the first master key now, 0 were made", done.output)
    done = await run([NEW, OLD], "status")
    assert f"{IDS[OLD]}  given: 0 keys (it can go)" in done.output
    assert "are in use, 0 older ones" in done.output
    done = await run([NEW], "status")
    assert done.exit_code == 0
    assert IDS[OLD] not in done.output
    async with here.app(NEW) as app:
        await check_sealed(app, things)
    for command_line in (["status"], ["rotate"]):
        done = await run([OLD], *command_line)
        assert done.exit_code == 1
        assert f"master key {IDS[NEW]}, which is not here" in done.output
        assert "FOLKMOOT_SECRET_KEY" in done.output


async def test_new_data_keys_are_told_and_when_the_older_ones_go(here, run):
    async with here.app(OLD) as app:
        await furnished(app)
    done = await run([OLD], "rotate", "--data-keys")
    assert done.exit_code == 0, done.output
    assert "waiting" in done.output
    assert "1 of 1 files looked at, 1 sealed anew" in done.output
    done = await run([OLD], "status")
    assert re.search(r"`folkmoot keys rotate` after \d{4}-\d\d-\d\d \d\d:\d\d UTC removes those", done.output)
    done = await run([OLD], "rotate", "--stolen")
    assert done.exit_code == 1
    assert "put a new one before it first" in done.output


async def test_what_earlier_releases_left_is_counted_and_what_does_not_open_is_named(here, run):
    async with here.app(OLD) as app:
        things = await furnished(app)
        await as_before(here, app, things, OLD)
    done = await run([NEW, OLD], "status")
    counts = (r"\d+ connections.config", "1 documents.password", "1 files", r"\d+ login_methods.config")
    counts += (r"\d+ sessions.logout_hint", r"\d+ tool_servers.config", r"\d+ users.totp_secret", r"\d+ websites.auth")
    left = ", ".join(f"{count} in the old form" for count in counts)
    assert re.search(rf"{IDS[OLD]}  given: 0 keys, {left}", done.output)
    assert "may have something of earlier releases" in done.output
    assert "can go" not in done.output
    (path,) = here.files(things.tenant_id)
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    done = await run([NEW, OLD], "rotate")
    assert done.exit_code == 1
    assert re.search(rf"cannot be opened: {things.owner.tenant_name}, file [0-9a-f-]+: ", done.output)
    assert "keep all master keys until it is" in done.output
    path.write_bytes(whole)
    assert (await run([NEW, OLD], "rotate")).exit_code == 0
    assert f"{IDS[OLD]}  given: 0 keys (it can go)" in (await run([NEW, OLD], "status")).output


async def test_a_key_whose_master_key_is_missing_is_told_by_status(here, run):
    async with here.app(OLD) as app:
        things = await furnished(app)
    stray = MasterKeys(OTHER).wrap(b"d" * 32, tenant_id=things.tenant_id, purpose="seal", version=1)
    await here.fetch("UPDATE tenant_keys SET wrapped = $2 WHERE tenant_id = $1", things.tenant_id, stray)
    done = await run([OLD], "status")
    assert done.exit_code == 1
    assert f"{IDS[OTHER]}  NOT in FOLKMOOT_SECRET_KEY: 1 keys" in done.output
    assert f"does not open: tenant {things.tenant_id}" in done.output


def test_the_folder_of_up_must_be_in_use(tmp_path):
    done = CliRunner().invoke(main, ["keys", "rotate", "--data", str(tmp_path / "data")])
    assert done.exit_code == 1
    assert "start them with `folkmoot up" in done.output
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_up_goes_on_while_its_master_key_is_exchanged_and_starts_with_the_new_one(tmp_path):
    data = tmp_path / "data"
    server = Server(data).start()
    before = secret_keys(data)
    try:
        with server.client() as client:
            space = client.post("/spaces", json={"name": "Permits"}).json()["id"]
            collection = client.post(f"/spaces/{space}/collections", json={"name": "Rules"}).json()["id"]
            text = b"A fence may be 1.2 metres high. " * 5000
            (document,) = client.post(
                f"/collections/{collection}/documents", files={"file": ("rules.txt", text)}
            ).json()["items"]
            going, answers = threading.Event(), []

            def work() -> None:
                while not going.is_set():
                    answers.append(client.get(f"/documents/{document['id']}/content").content == text)

            worker = threading.Thread(target=work)
            worker.start()
            done = command("keys", "rotate", "--data", data)
            going.set()
            worker.join()
            assert done.returncode == 0, done.stderr
            assert "has a new master key" in done.stdout
            assert answers
            assert all(answers)
            (key,) = after = secret_keys(data)
            assert key not in before
            assert (data / "master-key").read_text() == key
            assert (data / "master-key").stat().st_mode & 0o777 == 0o600
            assert (data / "secrets.json").stat().st_mode & 0o777 == 0o600
            # A new organisation gets its key under the new master key, by processes that were started with the old one.
            made = command("tenant", "create", "Brookside", "--admin", "eve@brookside.example", "--data", data)
            assert made.returncode == 0, made.stderr
            (document,) = client.post(
                f"/collections/{collection}/documents", files={"file": ("more.txt", text[:100])}
            ).json()["items"]
        with server.client("eve@brookside.example") as eve:
            assert eve.post("/spaces", json={"name": "Ours"}).status_code == 201
        server.stop()
        # Cut off in the middle, it would have left both keys; then the next one goes on with them.
        put_secret_keys(data, [*before, *after])
        server.start()
        done = command("keys", "rotate", "--data", data)
        assert done.returncode == 0, done.stderr
        assert secret_keys(data) == before
        with server.client() as client:
            assert client.get(f"/documents/{document['id']}/content").content == text[:100]
    finally:
        server.stop()
