"""Walls around the process that reads other people's files.

A parser, or who has taken it over through a crafted file, must not reach the network, the secrets of the
host, its files or its other processes. Each wall stands by itself, because containers and old kernels lack
one or the other: what the kernel refuses is left out and named in the answer of `enter`. Only the limits on
memory are certain everywhere.

    network     a namespace of its own, and no system call that makes a socket
    files       Landlock: read what Python is made of, the document by its open descriptor, write nothing
    processes   no fork, no exec, signals only to itself; no ptrace, which guards the host's environment too
    privileges  all capabilities dropped, none to be gained
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import stat
import struct
import sys
from collections.abc import Callable
from errno import ENOSYS, EPERM

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_THREAD = 0x10000000, 0x40000000, 0x10000
_OPEN_FILES = 256

_libc = ctypes.CDLL(None, use_errno=True)


def enter(memory: int, parent: int) -> list[str]:
    """Put up the walls around this process; `memory` in bytes of address space. Returns those missing.

    Call it before there is a second thread: none of this reaches threads that already run.
    """
    missing: list[str] = []
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not sys.platform.startswith("linux"):
        return ["network", "files", "processes", "privileges"]
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)  # the host died before the line above took hold
    steps: list[tuple[str, Callable[[], None]]] = [
        ("network namespace", _leave_network),
        ("dropped capabilities", _drop_capabilities),
        ("no new privileges", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        ("landlock", _shut_files),
        ("seccomp", _filter_calls),
    ]
    for name, step in steps:
        try:
            step()
        except OSError:
            missing.append(name)
    return missing


def allow_cpu(seconds: float) -> None:
    """Let this process use `seconds` of processor time from now on; SIGXCPU ends it after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def _leave_network() -> None:
    if os.geteuid() == 0:
        _checked(_libc.unshare(_CLONE_NEWNET))
    else:
        _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))


def _drop_capabilities() -> None:
    """Root's too: without them it may only read what root owns, and Landlock sees to that."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


# Landlock: https://docs.kernel.org/userspace-api/landlock.html. The numbers are the same on every machine.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_ALL_OF_FILES = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""From which version of Landlock on, which rights it can take away."""
_READABLE = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
)


def _shut_files() -> None:
    """Nothing can be written, made, removed; read only what the interpreter and the plugins consist of."""
    version = _checked(_libc.syscall(_LANDLOCK_CREATE, None, 0, 1))
    rights = sum(right for since, right in _ALL_OF_FILES if version >= since)
    # Then what came later: connecting and binding TCP (4), abstract sockets and signals beyond it (6).
    fields = [rights, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _checked(_libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for path in {*_READABLE, sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}:
            _allow_reading(ruleset, path)
        _checked(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        right = _READ_FILE | (_READ_DIR if stat.S_ISDIR(os.fstat(place).st_mode) else 0)
        _checked(_libc.syscall(_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", right, place), 0))
    finally:
        os.close(place)


# System calls by number on x86_64 and on aarch64, where there is one.
_FORBIDDEN = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "chroot": (161, 51), "pivot_root": (155, 41), "bpf": (321, 280),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "userfaultfd": (323, 282), "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "truncate": (76, 45),
    "ftruncate": (77, 46), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), 435
_ONLY_ITSELF = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131)}
_PRLIMIT = (302, 261)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column in the tables above, and how the kernel calls the architecture."""

_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_ABOVE, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def _filter_calls() -> None:
    """A seccomp filter that refuses what no parser needs; a refused call fails, it does not kill."""
    if platform.machine() not in _MACHINES:
        raise OSError(ENOSYS, "no table of system calls for this machine")
    column, architecture = _MACHINES[platform.machine()]
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_ABOVE, 0, 1, 0x40000000),  # the x32 calls of x86_64, other numbers for the same
        (_RETURN, 0, 0, _REFUSE | EPERM),
        (_JUMP_EQUAL, 0, 1, _CLONE3),  # its flags are out of a filter's sight; glibc falls back to clone
        (_RETURN, 0, 0, _REFUSE | ENOSYS),
    ]
    for numbers in _FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | EPERM)]
    code += _if_argument(_CLONE[column], (_JUMP_SET, _CLONE_THREAD))
    code += _if_argument(_PRLIMIT[column], (_JUMP_EQUAL, 0))
    for numbers in _ONLY_ITSELF.values():
        code += _if_argument(numbers[column], (_JUMP_EQUAL, os.getpid()))
    code.append((_RETURN, 0, 0, _ALLOW))
    body = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(body)))
    _checked(_libc.prctl(22, 2, program, 0, 0))


def _if_argument(number: int, test: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Allow the call if its first argument passes the test, refuse it otherwise."""
    return [
        (_JUMP_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (test[0], 0, 1, test[1]),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | EPERM),
    ]
