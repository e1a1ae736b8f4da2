"""Where the store's file lies: in the data folder, unless that is on a network, where files cannot be shared safely.

SQLite's log needs memory that all processes share and locks that work. A network's file system promises neither, so
the file is then on a disk of this machine, in a folder that is its owner's alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ipy_codeinterp.errors import StoreError

NAME = "store.sqlite"
LOCAL = Path("/var/tmp")  # kept over a restart, unlike /tmp
MOUNTS = Path("/proc/self/mountinfo")
NETWORKED = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "davfs")
)
FUSE_NETWORKED = frozenset(
    ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs", "fuse.gvfsd-fuse", "fuse.juicefs")
)


@dataclass(frozen=True, slots=True)
class Place:
    """The file, and what the user should know of it."""

    path: Path
    notice: str = ""


def of(folder: Path, mounts: Path = MOUNTS, local: Path = LOCAL) -> Place:
    """The file for the data folder `folder`. Raises `StoreError` where its place here is somebody else's."""
    kind = file_system(folder, mounts)
    if kind not in NETWORKED | FUSE_NETWORKED:
        return Place(folder / NAME)
    private = local / f"ipy-codeinterp-{os.getuid()}"
    _make_private(private)
    path = private / hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16] / NAME
    notice = f"{folder} is on a network ({kind}): results of this machine are kept in {path.parent}"
    return Place(path, notice)


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """What kind of file system `folder` is on, or will be; empty where nobody says."""
    place = Path(os.path.realpath(folder))
    best, kind = -1, ""
    for line in _lines(mounts):
        fields, _, rest = line.partition(" - ")
        point = Path(_unescaped(fields.split(" ")[4]))
        # of two that lie at the same place the later one is on top
        if (point == place or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split(" ")[0]
    return kind


def _lines(mounts: Path) -> list[str]:
    try:
        return [line for line in mounts.read_text(errors="surrogateescape").splitlines() if " - " in line]
    except OSError:
        return []


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _make_private(folder: Path) -> None:
    """Anybody may write beside it: what lies there must be ours before we trust it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreError(f"{folder} is not yours alone", hint="remove it, or set IPY_CODEINTERP_DATA_DIR")
