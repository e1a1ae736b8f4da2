"""The last wall, put up by the process that lives behind it: which system calls the kernel still answers."""

from __future__ import annotations

import ctypes
import os

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
INSTRUCTION = 8  # bytes of a struct sock_filter


class Program(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(program: bytes) -> None:
    """Filter the calls of this thread, and of all that it starts from now on, for good. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    filtered = Program(len(program) // INSTRUCTION, program)
    steps = (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filtered), 0, 0),
    )
    for step in steps:
        if libc.prctl(*step):
            number = ctypes.get_errno()
            raise OSError(number, f"the system call filter is refused: {os.strerror(number)}")
