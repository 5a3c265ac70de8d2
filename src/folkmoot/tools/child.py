"""What a tool server's process is before it becomes its command: limits first, then exec.

It runs as a file of its own and imports nothing of the platform.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_CPU: 300,
    # Not the address space: what brings its own virtual machine reserves far more of that than it uses.
    resource.RLIMIT_DATA: 2 << 30,
    resource.RLIMIT_FSIZE: 64 << 20,
    resource.RLIMIT_NOFILE: 256,
}


def main(parent: int, command: list[str]) -> None:
    for what, wanted in LIMITS.items():
        _, hard = resource.getrlimit(what)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (value, value))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            return  # the service died before the line above took hold
    os.execv(command[0], command)  # noqa: S606 - a shell is what it must not be


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
