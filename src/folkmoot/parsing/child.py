"""The host's end of a process that reads documents: starting it, talking to it, making sure it is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from uuid import UUID

import msgspec
from folkmoot_sdk import ParserUnavailable

from folkmoot.parsing.process import LONGEST_FRAME, Answer, Ready

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
_DECODER = msgspec.msgpack.Decoder(Answer)


class Child:
    """One child, its request socket and the tail of what it complains of."""

    def __init__(self, tenant_id: UUID | None, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.tenant_id = tenant_id
        """The organisation whose documents it reads, and no other's."""
        self.documents = 0
        self.grown = False
        self.timer: asyncio.TimerHandle | None = None
        self._process = process
        self._channel = channel
        self._said = bytearray()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def start(cls, tenant_id: UUID | None, memory: int) -> Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-X",
                    "faulthandler",
                    "-m",
                    "folkmoot.parsing.process",
                    str(memory),
                    str(os.getpid()),
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                    limit=1 << 20,
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(tenant_id, process, ours)

    async def ready(self) -> None:
        """Wait until the walls stand. Raises `ParserUnavailable` if it does not get so far."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer = await self.receive()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError) as error:
            self.kill()
            code, said = await self.ended()
            log.error("a parser process did not start (exit code %s): %s", code, said.decode(errors="replace"))
            raise ParserUnavailable("the process that reads files did not start: see the log of the worker") from error
        if isinstance(answer, Ready) and answer.missing:
            log.debug("a parser process runs without: %s", ", ".join(answer.missing))

    def send(self, payload: bytes, descriptor: int) -> None:
        """Raises `OSError` if the process is gone."""
        socket.send_fds(self._channel, [payload], [descriptor])

    async def receive(self) -> Answer:
        out = self._process.stdout
        assert out is not None
        (length,) = struct.unpack("!I", await out.readexactly(4))
        if length > LONGEST_FRAME:
            raise msgspec.DecodeError(f"a message of {length} bytes")
        return _DECODER.decode(await out.readexactly(length))

    async def ended(self) -> tuple[int, bytes]:
        """The exit code, and the last of what it said. It has closed its end: it is dead, or made so."""
        try:
            async with asyncio.timeout(1):
                code = await self._process.wait()
        except TimeoutError:
            self.kill()
            self._hang_up()
            code = await self._process.wait()
        await asyncio.wait([self._listening], timeout=1)
        return code, bytes(self._said)

    def kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def bury(self) -> None:
        self._channel.close()
        self._hang_up()
        await self._process.wait()
        self._listening.cancel()
        await asyncio.wait([self._listening])

    def _hang_up(self) -> None:
        """Close the pipes. asyncio's `wait` waits for their end, which nobody sees while reading is paused."""
        self._process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001

    async def _listen(self) -> None:
        complaints = self._process.stderr
        assert complaints is not None
        while some := await complaints.read(1 << 16):
            self._said += some
            del self._said[:-8192]


def _environment() -> dict[str, str]:
    """What Python needs to start, and none of the host's secrets."""
    passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith("PYTHON")}
    # One thread a library: their stacks and arenas would count as memory.
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    return {**passed, **single, "PYTHONDONTWRITEBYTECODE": "1"}
