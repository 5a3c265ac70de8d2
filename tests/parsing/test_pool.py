"""Reading documents in processes that may be killed, with parsers made here that deserve it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from folkmoot_sdk import (
    Block,
    CorruptFile,
    DocumentInfo,
    EncryptedFile,
    Member,
    ParserError,
    ParserUnavailable,
    Progress,
    TooLarge,
)

from folkmoot.parsing.pool import Limits, ParserPool
from folkmoot.plugins.manager import PluginManager

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the walls are Linux's")

HOSTILE = (Path(__file__).parent / "hostile.py").read_text()
SWEDISH = (
    "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med förnuft och samvete och "
    "bör handla gentemot varandra i en anda av broderskap. Envar är berättigad till alla de fri- och rättigheter."
)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """The hostile plugin, installed where this process and its children find it."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "hostile_plugin.py").write_text(HOSTILE)
    (folder / "broken_later.py").write_text(
        HOSTILE.replace('kind="hostile"', 'kind="fragile"')
        + "\nif 'FOLKMOOT_TEST_HOST' not in os.environ:\n    raise ImportError('libfoo is missing')\n"
    )
    info = folder / "hostile-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[folkmoot]\nhostile = hostile_plugin\nfragile = broken_later\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("FOLKMOOT_TEST_HOST", "yes")
        patch.setenv("FOLKMOOT_SECRET", "correct horse")
        yield PluginManager.load(("hostile", "fragile", "builtin"), ("hostile", "fragile"))
    sys.modules.pop("hostile_plugin", None)
    sys.modules.pop("broken_later", None)


@pytest.fixture
async def make(plugins):
    """Pools that are closed after the test, and leave no process."""
    before = set(children())
    pools: list[ParserPool] = []

    def new(**settings):
        pools.append(ParserPool(plugins, **{"memory": 400 << 20, "seconds": 20} | settings))
        return pools[-1]

    yield new
    for pool in pools:
        await pool.close()
    assert set(children()) <= before, "a process is left after close"


def children() -> list[int]:
    """The processes below this one that live, but for the engines of the tests, which come and go as they like."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() not in ("postgres", "redis-server") and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child.pid)
    return found


async def until(condition):
    for _ in range(250):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within five seconds")


async def read(pool, do, name="a.hostile", kind="hostile", **more):
    found = []
    async with aclosing(
        pool.parse(io.BytesIO(do.encode()), name=name, parser_kind=kind, media_type="x/hostile", **more)
    ) as items:
        async for item in items:
            found.append(item)
    return found


def texts(items):
    return [item.text for item in items if isinstance(item, Block)]


async def test_a_document_is_read_in_another_process_and_in_order(make):
    items = await read(make(), "say")
    assert [type(item) for item in items] == [Progress, Block, DocumentInfo]
    assert texts(items) != [f"pid {os.getpid()}"]


async def test_a_process_stays_warm_and_is_replaced_after_some_documents(make):
    pool = make(documents_per_process=2)
    pids = [texts(await read(pool, "say"))[0] for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_an_idle_process_goes_away(make):
    pool = make(idle_seconds=0.1)
    before = len(children())
    await read(pool, "say")
    assert len(children()) == before + 1
    await until(lambda: len(children()) == before)


async def test_a_warm_process_that_died_meanwhile_is_replaced(make):
    pool = make()
    pid = int(texts(await read(pool, "say"))[0].split()[1])
    os.kill(pid, 9)
    # Gone with all its threads: until then its end of the line may be open.
    await until(lambda: not psutil.pid_exists(pid))
    assert texts(await read(pool, "say")) != [f"pid {pid}"]


@pytest.mark.parametrize(
    ("do", "error", "words"),
    [
        ("hoard", TooLarge, "needs more than 400 MiB of memory"),
        ("hoard slowly", TooLarge, "needs more than 400 MiB of memory"),
        ("abort without memory", TooLarge, "needs more than 400 MiB of memory"),
        ("exit", CorruptFile, r"crashed \(exit code 7\)"),
        ("sys.exit", CorruptFile, r"its reader failed \(SystemExit\)"),
        ("segfault", CorruptFile, r"the reader crashed \(SIGSEGV\)"),
        ("abort", CorruptFile, r"the reader crashed \(SIGABRT\)"),
        ("raise", CorruptFile, r"its reader failed \(KeyError\)"),
        ("recurse", CorruptFile, r"its reader failed \(RecursionError\)"),
        ("encrypted", EncryptedFile, "it needs a password"),
        ("nonsense", ParserError, "the plugin 'hostile' is broken: it yielded a dict"),
        ("wrong types", CorruptFile, "its reader answered nonsense"),
        ("no string", CorruptFile, "its reader failed"),
        ("protocol", CorruptFile, "its reader answered nonsense"),
    ],
)
async def test_whatever_a_parser_does_the_document_says_so_and_the_next_is_read(make, do, error, words, caplog):
    caplog.set_level(logging.CRITICAL)
    pool = make()
    with pytest.raises(error, match=words) as caught:
        await read(pool, do)
    assert type(caught.value) is error
    assert len(texts(await read(pool, "say"))) == 1


@pytest.mark.parametrize("do", ["sleep", "burn"])
async def test_a_parser_that_takes_too_long_is_ended(make, do):
    pool = make(seconds=0.5)
    begun = time.monotonic()
    with pytest.raises(TooLarge, match=r"a\.hostile took longer than 0\.5 s"):
        await read(pool, do)
    assert time.monotonic() - begun < 5


async def test_the_time_that_the_caller_takes_does_not_count(make):
    pool = make()
    await read(pool, "text " + SWEDISH)  # the language model is loaded, which takes time on a busy machine
    pool._seconds = 1.5
    length = 0
    async for item in pool.parse(
        io.BytesIO(b"slow then fine"), name="a", parser_kind="hostile", media_type="x/hostile"
    ):
        if isinstance(item, Block):
            length += len(item.text)
            await asyncio.sleep(0.7)
    assert length == 900_000


async def test_a_flood_is_cut_off_by_characters_and_by_blocks(make):
    with pytest.raises(TooLarge, match="more than 200,000 characters"):
        await read(make(limits=Limits(characters=200_000)), "flood")
    with pytest.raises(TooLarge, match="5,000 blocks"):
        await read(make(limits=Limits(blocks=5_000)), "many")


async def test_a_flood_waits_for_its_reader(make):
    pool = make(limits=Limits(characters=10**12, blocks=10**12))
    me = psutil.Process()
    async with aclosing(
        pool.parse(io.BytesIO(b"flood"), name="a", parser_kind="hostile", media_type="x/hostile")
    ) as items:
        await anext(items)
        await asyncio.sleep(0.1)
        before = me.memory_info().rss
        await asyncio.sleep(0.5)
        assert me.memory_info().rss - before < 20 << 20


async def test_a_file_inside_comes_in_pieces_under_a_name_that_stays_inside(make):
    items = await read(make(), "members")
    pieces = [item for item in items if isinstance(item, Member)]
    found = defaultdict(bytes)
    for piece in pieces:
        found[piece.name] += piece.data
        assert len(piece.data) <= 1 << 20
    assert {name: len(data) for name, data in found.items()} == {
        "a/b.txt": 7,
        "c.txt": 2_500_000,
        "d.txt": 4,
        "unnamed": 0,
    }
    assert [piece.last for piece in pieces] == [False, True, False, False, True, False, True, True]
    assert pieces[0].media_type == "text/plain"
    assert pieces[0].modified_at == datetime(2024, 1, 2, tzinfo=UTC)
    assert [piece.problem for piece in pieces if piece.problem] == ["d.txt is damaged"]
    assert texts(items) == ["all of it"]


@pytest.mark.parametrize(
    ("do", "error", "words"),
    [
        ("member after member", TooLarge, "holds more than 2,000 files: unpack it"),
        ("endless member", TooLarge, "unpacks to more than 100 MB, as a zip bomb does"),
        ("two members at once", ParserError, "is broken: it yielded 'b.txt' before the end of 'a.txt'"),
        ("words in a member", ParserError, "is broken: it yielded a Block before the end of 'a.txt'"),
        ("half a member", ParserError, "is broken: it ended before the end of 'a.txt'"),
        ("forged name", CorruptFile, "whose name is none"),
        ("forged size", CorruptFile, "in a shape that is not agreed"),
        ("forged problem", CorruptFile, "bytes that are not text"),
    ],
)
async def test_files_inside_are_bounded_and_no_parser_can_forge_them(make, do, error, words):
    with pytest.raises(error, match=words):
        await read(make(), do)


@pytest.mark.parametrize(("size", "room"), [(10, 100 << 20), (1 << 20, 200 << 20), (1 << 30, 2 << 30)])
def test_what_may_be_inside_grows_with_the_file_between_two_bounds(size, room):
    assert Limits().room(size) == room


async def test_files_inside_wait_for_their_reader(make):
    pool = make()
    me = psutil.Process()
    async with aclosing(
        pool.parse(io.BytesIO(b"endless member"), name="a", parser_kind="hostile", media_type="x/hostile")
    ) as items:
        await anext(items)
        before, most, pieces = me.memory_info().rss, 0, 0
        async for item in items:
            pieces += isinstance(item, Member)
            most = max(most, me.memory_info().rss)
            if pieces == 90:
                break
    assert most - before < 24 << 20


async def test_what_is_behind_the_walls_stays_there(make, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("battery staple")
    pool = make()
    said = dict(text.split(" ", 1) for text in texts(await read(pool, "look around", options={"path": str(secret)})))
    assert said.pop("thread") == "[1]"
    environment = said.pop("environment")
    assert "correct horse" not in environment
    assert "FOLKMOOT" not in environment
    assert {what: how for what, how in said.items() if not how.startswith("refused")} == {}
    assert secret.read_text() == "battery staple"


async def test_text_is_fit_to_store(make):
    items = await read(make(), "dirty")
    assert texts(items) == ["abc\nd"]
    block = next(item for item in items if isinstance(item, Block))
    assert block.sheet == "S"
    assert items[-1] == DocumentInfo(title="T", warnings=("w",))


async def test_a_block_of_any_size_arrives_in_parts(make):
    parts = texts(await read(make(), "huge"))
    assert sum(map(len, parts)) == 3_000_000
    assert max(map(len, parts)) <= 500_000


@pytest.mark.parametrize(
    ("text", "stated", "language"),
    [
        (SWEDISH, None, "sv"),
        (SWEDISH, "en-US", "sv"),  # a template's word against two hundred letters
        (SWEDISH, "da", "da"),  # neighbours: the file may know better
        ("Protokoll", "nb-NO", "no"),
        ("Protokoll", None, None),
    ],
)
async def test_the_language_is_found_in_the_process_and_told_last(make, text, stated, language):
    items = await read(make(), "text " + text, options={"language": stated})
    assert items[-1] == DocumentInfo(title="Titel", language=language)


async def test_leaving_early_ends_the_process(make):
    pool = make()
    before = len(children())
    async with aclosing(
        pool.parse(io.BytesIO(b"flood"), name="a", parser_kind="hostile", media_type="x/hostile")
    ) as items:
        await anext(items)
        assert len(children()) == before + 1
    await until(lambda: len(children()) == before)


async def test_a_cancelled_task_ends_its_process_and_frees_its_slot(make):
    pool = make(max_processes=1)
    task = asyncio.create_task(read(pool, "sleep"))
    await asyncio.sleep(0.6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(texts(await read(pool, "say"))) == 1


async def test_cancelling_while_the_process_starts_leaves_none(make):
    pool = make(max_processes=1)
    for wait in (0.0, 0.01, 0.05, 0.1):
        task = asyncio.create_task(read(pool, "sleep"))
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(texts(await read(pool, "say"))) == 1


async def test_no_more_processes_than_allowed_whoever_asks(make):
    pool = make(max_processes=2)
    before = len(children())
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, len(children()) - before)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(read(pool, "say", tenant_id=uuid4()) for _ in range(5)))
    await read(pool, "plain words", kind="text")
    watching.cancel()
    assert 1 <= most <= 2


async def test_a_process_reads_with_any_plugin_and_never_for_two_organisations(make):
    pool = make(max_processes=1)
    one, another = uuid4(), uuid4()
    first = texts(await read(pool, "say", tenant_id=one))
    assert texts(await read(pool, "plain words", kind="text", tenant_id=one)) == ["plain words"]
    assert texts(await read(pool, "say", tenant_id=one)) == first
    second = texts(await read(pool, "say", tenant_id=another))
    assert second != first
    assert texts(await read(pool, "say", tenant_id=one)) not in (first, second)


async def test_a_process_that_has_grown_makes_room_for_a_new_one(make):
    pool = make()
    small = texts(await read(pool, "say"))
    assert len(texts(await read(pool, "grow"))) == 1
    assert texts(await read(pool, "say")) != small


@pytest.mark.parametrize("wait", [0.0, 0.01, 0.03, 0.06, 0.6])
async def test_closing_tells_who_is_still_reading_whether_begun_or_just_starting(make, wait):
    pool = make()
    before = set(children())
    task = asyncio.create_task(read(pool, "sleep"))
    await asyncio.sleep(wait)
    await pool.close()
    assert set(children()) <= before
    with pytest.raises(ParserUnavailable, match="shutting down"):
        await task
    with pytest.raises(ParserUnavailable, match="shutting down"):
        await read(pool, "say")


async def test_an_unknown_kind_and_a_plugin_that_no_longer_loads_are_unavailable(make):
    with pytest.raises(ParserUnavailable, match="no loaded plugin reads 'gone'"):
        await read(make(), "say", kind="gone")
    with pytest.raises(ParserUnavailable, match="'fragile' cannot read: libfoo is missing"):
        await read(make(), "say", kind="fragile")


async def test_a_path_and_an_open_file_are_read_from_the_beginning(make, tmp_path):
    pool = make()
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo")
    with tempfile.TemporaryFile() as nameless:
        nameless.write(b"three")
        for file, expected in ((path, ["one", "two"]), (nameless, ["three"])):
            items = [item async for item in pool.parse(file, name="a.txt", parser_kind="text", media_type="text/plain")]
            assert texts(items) == expected


async def test_a_process_dies_with_its_host(make):
    """Killed by -9, the host cannot clean up: the kernel does."""
    code = (
        "import asyncio, io, os, sys\nfrom folkmoot.parsing.pool import ParserPool\n"
        "from folkmoot.plugins.manager import PluginManager\n"
        "async def main():\n"
        "    pool = ParserPool(PluginManager.load(('hostile',), ()))\n"
        "    file = io.BytesIO(b'say')\n"
        "    async for item in pool.parse(file, name='a', parser_kind='hostile', media_type='x/hostile'):\n"
        "        if hasattr(item, 'text'): print(item.text, flush=True)\n"
        "    print('py3langid' in sys.modules, 'numpy' in sys.modules, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    child = psutil.Process(int((await host.stdout.readline()).split()[1]))
    assert child.is_running()
    assert (await host.stdout.readline()).split() == [b"False", b"False"], "the host has loaded what the child should"
    host.kill()
    await host.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
