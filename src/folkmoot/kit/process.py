"""Processes that end with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import signal
import sys

PR_SET_PDEATHSIG = 1


def settle() -> None:
    """Once everything is loaded, on the loop's thread: take it out of the garbage collector's sight.

    It would go through some hundred thousand objects of libraries again and again, while answers wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    # httpcore asks before each of its locks which library runs; untold, it looks for the running task every time.
    with contextlib.suppress(ImportError):
        import sniffio

        sniffio.thread_local.name = "asyncio"


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send us `number` when our parent ends, even by kill -9 (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
