"""Whether a zygote can work here: its own namespaces, and one child behind all the walls."""

from __future__ import annotations

import os
import sys

from . import walls
from .plan import Plan


def main(_control: str, plan: str, uid: str = "") -> None:
    """Print one word when everything that a child needs is allowed."""
    if uid:
        walls.leave_root(int(uid))
    walls.own_namespaces()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    said = Plan.read(plan)
    pid = walls.fork_into_pid_namespace(own)
    if pid == 0:
        _be_child(said)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)


def _be_child(plan: Plan) -> None:
    status = 1
    try:
        walls.enter(plan, os.open("/proc", os.O_PATH | os.O_DIRECTORY))
        sys.stdout.write("isolated\n")
        sys.stdout.flush()
        status = 0
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)
