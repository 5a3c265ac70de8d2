"""A plugin whose parser does, on request, whatever a parser should not; see test_parse.py."""

# Plain calls to the system, one after the other: they are what is to be refused.
# ruff: noqa: PLR0912, PTH101, PTH107, PTH123, SIM105, SIM115

import ctypes
import os
import socket
import sys
import threading
import time
from datetime import UTC, datetime

from folkmoot_sdk import Block, DocumentInfo, EncryptedFile, Member, ParserSpec, Progress, hookimpl

FOLKMOOT_SDK_API = 1


class Derived(EncryptedFile):
    pass


def attempt(what):
    try:
        return f"got {what()!r}"
    except OSError as error:
        return f"refused {type(error).__name__}"


KEPT = []


def parse(source):
    do = source.file.read().decode()
    yield Progress(0, 1)
    if do == "say":
        print("noise on standard output")
        sys.stderr.write("more noise")
        yield Block(text=f"pid {os.getpid()}")
    elif do == "grow":
        KEPT.append(b"x" * (160 << 20))
        yield Block(text=str(len(KEPT)))
    elif do == "hoard":
        yield Block(text=str(len(bytearray(10 << 30))))
    elif do == "hoard slowly":
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    elif do == "abort without memory":
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'")
        os.abort()
    elif do == "sleep":
        time.sleep(60)
    elif do == "burn":
        while True:
            pass
    elif do == "exit":
        os._exit(7)
    elif do == "sys.exit":
        sys.exit(7)
    elif do == "segfault":
        ctypes.string_at(0)
    elif do == "abort":
        os.abort()
    elif do == "raise":
        raise KeyError("boom")
    elif do == "recurse":

        def f():
            f()

        f()
    elif do == "encrypted":
        raise Derived("it needs a password")
    elif do == "nonsense":
        yield {"text": "no block"}
    elif do == "wrong types":
        yield Block(text="fine", page="seven")
    elif do == "no string":
        yield Block(text=7)
    elif do == "flood":
        while True:
            yield Block(text="x" * 1000)
    elif do == "many":
        while True:
            yield Block(text="x")
    elif do == "huge":
        yield Block(text="y" * 3_000_000)
    elif do == "members":
        yield Member(
            "a/b.txt", b"one ", last=False, media_type="text/plain", modified_at=datetime(2024, 1, 2, tzinfo=UTC)
        )
        yield Progress(1, 2)
        yield Member("a/b.txt", b"two", last=True)
        yield Member("C:\\..\\\x00..\\c.txt", b"\x00" * 2_500_000, last=True)
        yield Member("d.txt", b"half", last=False)
        yield Member("d.txt", b"", last=True, problem="d.txt is damaged")
        yield Member("..", b"", last=True)
        yield Block(text="all of it")
    elif do == "member after member":
        for number in range(10_000):
            yield Member(f"{number}.txt", b"", last=True)
    elif do == "endless member":
        while True:
            yield Member("a.txt", b"\x00" * (1 << 20), last=False)
    elif do == "two members at once":
        yield Member("a.txt", b"", last=False)
        yield Member("b.txt", b"", last=True)
    elif do == "words in a member":
        yield Member("a.txt", b"", last=False)
        yield Block(text="b")
    elif do == "half a member":
        yield Member("a.txt", b"", last=False)
    elif do.startswith("forged "):
        sys.modules["__main__"]._pieces = lambda member: iter([member])
        name, data, problem = {
            "name": ("../a.txt", b"", ""),
            "size": ("a.txt", bytes((1 << 20) + 1), ""),
            "problem": ("a.txt", b"", "half \x00"),
        }[do.split()[1]]
        yield Member(name, data, last=True, problem=problem)
    elif do == "dirty":
        yield Block(text="\n a\x00b\ud800c\r\nd\x07 \n", sheet="S\x00")
        yield Block(text="  \x00 ")
        yield DocumentInfo(title="T\x00", warnings=("w\x00",))
    elif do == "protocol":
        for number in range(3, 20):
            try:
                os.write(number, b"\xff" * 64)
            except OSError:
                pass
        time.sleep(60)
    elif do == "slow then fine":
        for _ in range(3):
            yield Block(text="z" * 300_000)
    elif do == "look around":
        yield Block(text="socket " + attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)))
        yield Block(text="udp " + attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        yield Block(text="write " + attempt(lambda: open(source.options["path"], "w")))
        yield Block(text="remove " + attempt(lambda: os.remove(source.options["path"])))
        yield Block(text="chmod " + attempt(lambda: os.chmod(source.options["path"], 0o777)))
        yield Block(text="read " + attempt(lambda: open(source.options["path"]).read()))
        yield Block(text="temporary " + attempt(lambda: __import__("tempfile").TemporaryFile()))
        yield Block(text="fork " + attempt(os.fork))
        yield Block(text="run " + attempt(lambda: os.execv("/bin/sh", ["sh"])))
        yield Block(text="kill " + attempt(lambda: os.kill(os.getppid(), 9)))
        yield Block(text="host " + attempt(lambda: open(f"/proc/{os.getppid()}/environ", "rb").read()))
        yield Block(text="environment " + repr(dict(os.environ)))
        done = []
        thread = threading.Thread(target=lambda: done.append(1))
        thread.start()
        thread.join()
        yield Block(text=f"thread {done}")
    elif do.startswith("text "):
        yield DocumentInfo(language=source.options.get("language"), title="Titel")
        yield Block(text=do[5:])


@hookimpl
def register_parsers():
    return [
        ParserSpec(
            kind="hostile",
            title="H",
            media_types=("x/hostile",),
            suffixes=(".hostile",),
            parse=parse,
            sniff=lambda head: None,
        )
    ]
