"""Files come back as they went in, or not at all; the same in a folder and in a bucket."""

import asyncio
import hashlib
import io
import os
import sys
import textwrap
import tracemalloc
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from folkmoot.kit.crypto import HEADER_BYTES, SEGMENT_BYTES, Tampered, sealed_offset
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.storage import Storage, Stored
from folkmoot.kit.storage_errors import BadStorageUrl, InvalidKey, Missing, StorageFailed, TooBig
from tests.support.keyrings import Changing

KEYS = Keyring(b"k" * 32)
MIB = 1024 * 1024


@pytest.fixture(scope="session")
def bucket():
    """A server of another make that speaks the S3 protocol: (address, address of the bucket)."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    httpx.put(f"{address}/files").raise_for_status()
    yield address, f"{address}/files"
    server.stop()


def at_bucket(address, prefix="", bucket="files", keyring=KEYS):
    options = {"access_key_id": "id", "secret_access_key": "secret", "region": "us-east-1"}
    return Storage.from_url(f"s3://{bucket}/{prefix}", keyring, endpoint=address, **options)


@pytest.fixture(params=["folder", "bucket"])
def storage(request, tmp_path):
    if request.param == "folder":
        return Storage.from_url((tmp_path / "files").as_uri(), KEYS)
    return at_bucket(request.getfixturevalue("bucket")[0], "some/prefix")


@pytest.fixture
def folder(tmp_path):
    return Storage.from_url((tmp_path / "files").as_uri(), KEYS)


@pytest.fixture
def tenant():
    return uuid4()


async def pieces(data, size=100_000):
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def endless():
    while True:
        yield bytes(100_000)
        await asyncio.sleep(0)


async def unfinished(bucket):
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{bucket[1]}?uploads")).text


async def drain(chunks, into):
    async for chunk in chunks:
        into += chunk


def on_disk(tmp_path, tenant, key="a"):
    return tmp_path / "files" / str(tenant) / key


async def test_what_was_written_is_read_and_counted_and_hashed(storage, tenant):
    data = os.urandom(7 * MIB + 3)
    stored = await storage.write(tenant, "documents/a.pdf", pieces(data))
    assert stored == Stored("documents/a.pdf", len(data), hashlib.sha256(data).hexdigest())
    chunks = [chunk async for chunk in storage.read(tenant, "documents/a.pdf")]
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= SEGMENT_BYTES
    file = io.BytesIO()
    assert await storage.copy_to(tenant, "documents/a.pdf", file) == len(data)
    assert file.getvalue() == data


async def test_ranges_of_a_long_file_are_its_slices(storage, tenant):
    data = os.urandom(5 * MIB + 3)
    await storage.write(tenant, "a", pieces(data))
    places = [0, 1, SEGMENT_BYTES, MIB - 1, MIB, 3 * MIB + 7, 4 * MIB, 5 * MIB, len(data) - 1, len(data), 9 * MIB, None]
    for start in places[:-1]:
        for end in places:
            if end is None or start <= end:
                assert await storage.read_bytes(tenant, "a", start, end) == data[start:end], (start, end)
    with pytest.raises(ValueError, match="no range"):
        await storage.read_bytes(tenant, "a", 5, 4)
    with pytest.raises(ValueError, match="no range"):
        await storage.read_bytes(tenant, "a", -1)


edge = st.sampled_from([n * SEGMENT_BYTES + d for n in (0, 1, 2, 16) for d in (-1, 0, 1) if n or d >= 0])
number = edge | st.integers(0, 1_200_000)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=number, chunk=st.integers(1, 300_000), start=number, length=st.none() | number)
async def test_any_size_chunking_and_range_comes_back(folder, *, size, chunk, start, length):
    tenant = uuid4()
    data = os.urandom(size)
    assert (await folder.write(tenant, "a", pieces(data, max(chunk, size // 50)))).size == size
    end = None if length is None else start + length
    assert await folder.read_bytes(tenant, "a", start, end) == data[start:end]


async def test_a_file_over_the_limit_is_refused_as_it_comes_and_nothing_remains(storage, tenant, tmp_path, bucket):
    taken = 0

    async def counted():
        nonlocal taken
        async for chunk in endless():
            taken += len(chunk)
            yield chunk

    for limit in (0, 50_000, 11 * MIB):
        taken = 0
        with pytest.raises(TooBig, match=f"'a' is larger than {limit} bytes") as caught:
            await storage.write(tenant, "a", counted(), limit=limit)
        assert caught.value.limit == limit
        assert taken <= limit + 100_000
        assert not await storage.exists(tenant, "a")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "<Upload>" not in await unfinished(bucket)
    assert (await storage.write(tenant, "a", pieces(b"exact"), limit=5)).size == 5


async def test_an_upload_that_fails_or_is_cancelled_leaves_what_was_there(storage, tenant, tmp_path, bucket):
    await storage.write(tenant, "a", pieces(b"before"))
    arrived = asyncio.Event()

    async def broken():
        yield bytes(8 * MIB)
        raise OSError("the client went away")

    async def stalled():
        yield bytes(8 * MIB)
        arrived.set()
        await asyncio.sleep(60)

    with pytest.raises(OSError, match="the client went away"):
        await storage.write(tenant, "a", broken())
    writing = asyncio.create_task(storage.write(tenant, "a", stalled()))
    await arrived.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await storage.read_bytes(tenant, "a") == b"before"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) <= 1
    assert "<Upload>" not in await unfinished(bucket)


async def test_a_process_killed_while_it_writes_leaves_nothing_to_read_and_a_sweep_clears_it(tmp_path, folder):
    script = f"""
        import asyncio
        from uuid import UUID
        from folkmoot.kit.envelope import Keyring
        from folkmoot.kit.storage import Storage
        async def endless():
            while True:
                yield bytes(100_000)
                await asyncio.sleep(0.001)
        storage = Storage.from_url({(tmp_path / "files").as_uri()!r}, Keyring(b"k" * 32))
        asyncio.run(storage.write(UUID(int=1), "a", endless()))
    """
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(script))
    try:
        async with asyncio.timeout(30):
            while not any(path.stat().st_size > MIB for path in tmp_path.rglob("a#*")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        process.kill()
        await process.wait()
    assert not await folder.exists(UUID(int=1), "a")
    assert [key async for key in folder.keys(UUID(int=1))] == []
    with pytest.raises(Missing):
        await folder.read_bytes(UUID(int=1), "a")
    assert await folder.sweep() == 0, "it may still be written to"
    assert await folder.sweep(older_than=0) == 1
    assert not list(tmp_path.rglob("a#*"))


async def test_a_large_file_takes_little_memory(folder, tenant):
    async def large():
        for _ in range(320):
            yield bytes(100_000)

    tracemalloc.start()
    try:
        await folder.write(tenant, "a", large())
        async for _ in folder.read(tenant, "a"):
            pass
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()


async def test_a_missing_file_is_missing_and_may_be_deleted(storage, tenant):
    for attempt in (storage.read_bytes(tenant, "none/a"), storage.copy_to(tenant, "none/a", io.BytesIO())):
        with pytest.raises(Missing, match="none/a"):
            await attempt
    assert not await storage.exists(tenant, "none/a")
    await storage.delete(tenant, "none/a")
    await storage.write(tenant, "none/a", pieces(b"x"))
    assert await storage.exists(tenant, "none/a")
    await storage.delete(tenant, "none/a")
    assert not await storage.exists(tenant, "none/a")


async def test_a_tenant_sees_and_deletes_only_its_own_files(storage, tenant):
    other = uuid4()
    names = {f"documents/{number}/a" for number in range(12)} | {"b"}
    for name in names:
        await storage.write(tenant, name, pieces(b"mine"))
    await storage.write(other, "b", pieces(b"theirs"))
    assert {key async for key in storage.keys(tenant)} == names
    assert await storage.delete_tenant(tenant) == len(names)
    assert [key async for key in storage.keys(tenant)] == []
    assert await storage.delete_tenant(tenant) == 0
    assert await storage.read_bytes(other, "b") == b"theirs"


@pytest.mark.parametrize(
    "key",
    [
        *("", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "./a", "a/.", "A", "ä", "a b", "a\\b", "a\0"),
        *("a\n", "%2e%2e/a", "a#1", "a?b", "~a", "x" * 513),
    ],
)
async def test_a_key_that_could_lead_elsewhere_is_refused_everywhere(folder, tenant, key):
    for attempt in (
        folder.write(tenant, key, pieces(b"x")),
        folder.read_bytes(tenant, key),
        folder.delete(tenant, key),
        folder.exists(tenant, key),
    ):
        with pytest.raises(InvalidKey):
            await attempt


async def test_files_swapped_on_the_disk_do_not_open(folder, tenant, tmp_path):
    other = uuid4()
    for owner, key in ((tenant, "a"), (tenant, "b"), (other, "a")):
        await folder.write(owner, key, pieces(f"{owner} {key}".encode()))
    mine = on_disk(tmp_path, tenant, "a").read_bytes()
    for owner, key in ((tenant, "b"), (other, "a")):
        on_disk(tmp_path, owner, key).write_bytes(mine)
        with pytest.raises(Tampered, match=f"'{key}'"):
            await folder.read_bytes(owner, key)
    assert await folder.read_bytes(tenant, "a") == f"{tenant} a".encode()


@pytest.mark.parametrize(
    "length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 15, *map(sealed_offset, (1, 2))]
)
async def test_a_file_cut_on_the_disk_does_not_open(folder, tenant, tmp_path, length):
    data = bytes(3 * SEGMENT_BYTES)
    await folder.write(tenant, "a", pieces(data))
    path = on_disk(tmp_path, tenant)
    path.write_bytes(path.read_bytes()[:length])
    for start in (0, SEGMENT_BYTES, 10 * SEGMENT_BYTES):
        with pytest.raises(Tampered, match="'a'"):
            await folder.read_bytes(tenant, "a", start)


async def test_a_bit_flipped_on_the_disk_is_found_before_its_segment_is_given(folder, tenant, tmp_path):
    data = os.urandom(40 * SEGMENT_BYTES)
    await folder.write(tenant, "a", pieces(data))
    path = on_disk(tmp_path, tenant)
    sealed = bytearray(path.read_bytes())
    sealed[sealed_offset(30) + 5] ^= 1
    path.write_bytes(sealed)
    given_out = bytearray()
    with pytest.raises(Tampered):
        await drain(folder.read(tenant, "a"), given_out)
    assert given_out == data[: 30 * SEGMENT_BYTES]
    assert await folder.read_bytes(tenant, "a", 31 * SEGMENT_BYTES) == data[31 * SEGMENT_BYTES :]


async def test_a_file_replaced_while_it_is_read_is_not_mixed_up(storage, tenant):
    first = bytes(12 * MIB)
    await storage.write(tenant, "a", pieces(first))
    reading = storage.read(tenant, "a")
    begin = bytearray(await anext(reading))
    await storage.write(tenant, "a", pieces(b"\1" * 12 * MIB))
    with pytest.raises(Missing, match="replaced"):
        await drain(reading, begin)
    assert first.startswith(begin)


async def test_nothing_of_the_text_stands_on_the_disk_and_only_we_may_look(folder, tenant, tmp_path):
    await folder.write(tenant, "a", pieces(b"a secret sentence" * 1000))
    assert b"secret" not in on_disk(tmp_path, tenant).read_bytes()
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700


async def test_a_store_that_fails_says_so_without_naming_the_machine(folder, tenant, tmp_path, bucket):
    await folder.write(tenant, "a", pieces(b"x"))
    for data in (b"y", bytes(4 * MIB)):
        with pytest.raises(StorageFailed, match="'a/b'") as caught:
            await folder.write(tenant, "a/b", pieces(data))
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(StorageFailed):
        await at_bucket(bucket[0], bucket="none-such").write(tenant, "a", pieces(b"x"))
    away = at_bucket("http://127.0.0.1:9")
    away._store = type(away._store)(
        "files", endpoint="http://127.0.0.1:9", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    with pytest.raises(StorageFailed):
        await away.exists(tenant, "a")


async def test_many_files_are_written_and_read_at_once(storage, tenant):
    files = {f"f/{number}": os.urandom(number * 60_000) for number in range(24)}
    await asyncio.gather(*(storage.write(tenant, key, pieces(data)) for key, data in files.items()))
    found = await asyncio.gather(*(storage.read_bytes(tenant, key) for key in files))
    assert dict(zip(files, found, strict=True)) == files


async def test_a_bucket_is_reached_with_what_the_environment_says(bucket, tenant, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": bucket[0],
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    await Storage.from_url("s3://files/p", KEYS).write(tenant, "a", pieces(b"x"))
    assert await at_bucket(bucket[0], "p").read_bytes(tenant, "a") == b"x"


@pytest.mark.parametrize(
    "url", ["", "files", "/files", "file://host/files", "file:///", "s3://", "gs://b", "s3://i:p@b"]
)
def test_a_url_of_no_store_is_refused(url):
    with pytest.raises(BadStorageUrl):
        Storage.from_url(url, KEYS)


@pytest.fixture(params=["folder", "bucket"])
async def changing(request, tmp_path):
    """A store whose tenants' keys the test changes: (storage, keys)."""
    keys = Changing()
    keyring = await keys.keyring()
    if request.param == "folder":
        return Storage.from_url((tmp_path / "files").as_uri(), keyring), keys
    return at_bucket(request.getfixturevalue("bucket")[0], f"changing/{uuid4()}", keyring=keyring), keys


async def turned(keys: Changing, tenant: UUID) -> None:
    """The tenant gets a second version of its key, and the process hears of it."""
    keys.give("seal", 2, b"2" * 32, tenant_id=tenant)
    keys.give("audit-seal", len(keys.found), b"x" * 32)


async def test_a_file_sealed_anew_is_the_same_file_without_the_old_key(changing, tenant):
    storage, keys = changing
    plain = os.urandom(7 * MIB + 5)
    await storage.write(tenant, "a", pieces(plain))
    await storage.write(tenant, "empty", pieces(b""))
    assert not await storage.reseal(tenant, "a"), "it is sealed with the newest key"
    await turned(keys, tenant)
    await storage._keyring.look()
    assert await storage.reseal(tenant, "a")
    assert await storage.reseal(tenant, "empty")
    assert not await storage.reseal(tenant, "a")
    keys.take("seal", 1, tenant)
    await turned(keys, tenant)
    await storage._keyring.look()
    assert await storage.read_bytes(tenant, "a") == plain
    assert await storage.read_bytes(tenant, "empty") == b""
    assert sorted([key async for key in storage.keys(tenant)]) == ["a", "empty"]
    with pytest.raises(Missing):
        await storage.reseal(tenant, "b")


async def test_who_reads_a_file_while_it_is_sealed_anew_reads_on(changing, tenant):
    storage, keys = changing
    plain = os.urandom(9 * MIB)
    await storage.write(tenant, "a", pieces(plain))
    reading = storage.read(tenant, "a")
    read = [await anext(reading)]
    await turned(keys, tenant)
    await storage._keyring.look()
    assert await storage.reseal(tenant, "a")
    read += [piece async for piece in reading]
    assert b"".join(read) == plain


async def test_a_file_sealed_with_a_version_that_this_process_does_not_know_yet_is_read(changing, tenant):
    storage, keys = changing
    await storage.write(tenant, "b", pieces(b"before"))
    await turned(keys, tenant)
    elsewhere = Storage(storage._store, await keys.keyring(), root=storage._root)
    await elsewhere.write(tenant, "a", pieces(b"by another process"))
    assert await storage.read_bytes(tenant, "a") == b"by another process"


async def test_a_file_that_was_tampered_with_is_not_sealed_anew(tenant, tmp_path):
    keys = Changing()
    storage = Storage.from_url((tmp_path / "files").as_uri(), await keys.keyring())
    await storage.write(tenant, "a", pieces(b"hello"))
    await turned(keys, tenant)
    await storage._keyring.look()
    whole = on_disk(tmp_path, tenant).read_bytes()
    for spoilt in (whole[:70], whole[:20] + bytes([whole[20] ^ 1]) + whole[21:]):
        on_disk(tmp_path, tenant).write_bytes(spoilt)
        with pytest.raises(Tampered, match="'a'"):
            await storage.reseal(tenant, "a")
        assert on_disk(tmp_path, tenant).read_bytes() == spoilt
