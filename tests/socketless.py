"""Run a program that the kernel kills as soon as it asks for a socket."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping

# Linux: include/uapi/linux/{prctl,seccomp,bpf_common}.h, and the numbers of socket, socketpair.
SYSTEM_CALLS: Mapping[str, tuple[int, int]] = {"x86_64": (41, 53), "aarch64": (198, 199)}
CAN_GUARD = sys.platform == "linux" and platform.machine() in SYSTEM_CALLS
KILLED = -signal.SIGSYS if CAN_GUARD else None
# No family is let through, not INET, INET6 or UNIX; the audit hook says what asked for it.
GUARD = """
import ctypes, runpy, struct, sys

def steps(*numbers):
    yield 0x20, 0, 0, 0                                  # load the number of the system call
    for left, number in zip(range(len(numbers), 0, -1), numbers):
        yield 0x15, left, 0, number                      # one of these: jump to the end
    yield 0x06, 0, 0, 0x7FFF0000                         # allow
    yield 0x06, 0, 0, 0x80000000                         # kill the process

program = b"".join(struct.pack("HBBI", *step) for step in steps({numbers}))
text = ctypes.create_string_buffer(program)

class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("text", ctypes.c_void_p)]

libc = ctypes.CDLL(None, use_errno=True)
rules = Filter(len(program) // 8, ctypes.addressof(text))
assert libc.prctl(38, 1, 0, 0, 0) == 0                   # no new privileges
assert libc.prctl(22, 2, ctypes.byref(rules), 0, 0) == 0 # seccomp, filter
sys.addaudithook(lambda event, args: event.startswith("socket.") and print(
    "asked for:", event, *args[1:], file=sys.stderr, flush=True))
"""


def run_socketless(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own that dies of SIGSYS at its first socket."""
    numbers = ", ".join(map(str, SYSTEM_CALLS[platform.machine()]))
    return subprocess.run(
        [sys.executable, "-c", GUARD.replace("{numbers}", numbers) + program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ,
    )
