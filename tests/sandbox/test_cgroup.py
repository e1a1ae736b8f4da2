"""Control groups as folders: where they may be made, what is read from them, and that none is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipy_codeinterp.sandbox.cgroup import PREFIX, Cgroups

V1 = "4:memory:/own\n0::/\n"
V2 = "0::/user.slice/app.slice/own.scope\n"


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    for folder in ("memory/own", "user.slice/app.slice/own.scope"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "cgroup.procs").touch()
    app = tmp_path / "user.slice/app.slice"
    (app / "cgroup.procs").touch()
    (app / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return tmp_path


@pytest.mark.parametrize(("membership", "where"), [(V1, "memory/own"), (V2, "user.slice/app.slice")])
def test_a_group_is_made_where_memory_is_counted(mount: Path, membership: str, where: str) -> None:
    """Below our own group in version 1, in the nearest one that is delegated in version 2; with the process in it."""
    cgroups = Cgroups.find(mount, membership)
    assert cgroups
    group = cgroups.make(42)
    assert group
    (folder,) = (mount / where).glob(f"{PREFIX}-*")
    assert folder.name.startswith(f"{PREFIX}-{os.getpid()}-")
    assert (folder / "cgroup.procs").read_text() == "42"


@pytest.mark.parametrize("membership", ["", "0::/\n", "3:cpuset:/\n", "0::/user.slice/gone.scope\n"])
def test_no_group_where_none_may_be_made(mount: Path, membership: str) -> None:
    """Without a memory controller of ours there is no group, and no error."""
    assert Cgroups.find(mount, membership) is None


def test_what_is_counted(mount: Path) -> None:
    """Memory in use and the kernel's kills are read from the group; one that is gone is no use and no kills."""
    cgroups = Cgroups.find(mount, V1)
    group = cgroups and cgroups.make(1)
    assert group
    assert (group.used(), group.kills()) == (None, 0)
    (mount / "memory/own" / f"{PREFIX}-{os.getpid()}-1" / "memory.stat").write_text("cache 9\nrss 5\nshmem 2\n")
    (mount / "memory/own" / f"{PREFIX}-{os.getpid()}-1" / "memory.oom_control").write_text("under_oom 0\noom_kill 3\n")
    assert (group.used(), group.kills()) == (7, 3)
    group.limit(123)
    assert (mount / "memory/own" / f"{PREFIX}-{os.getpid()}-1" / "memory.limit_in_bytes").read_text() == "123"


def test_groups_of_the_dead_are_removed(mount: Path) -> None:
    """What a gateway left that had no time to tidy up goes with the next one; groups of the living stay."""
    dead = mount / "memory/own" / f"{PREFIX}-{2**22 + 1}-1"
    living = mount / "memory/own" / f"{PREFIX}-{os.getppid()}-1"
    dead.mkdir()
    living.mkdir()
    Cgroups.find(mount, V1)
    assert not dead.exists() and living.exists()
