"""Where the store lies: never on a network, never in a folder that is somebody else's."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.store import database, place

MOUNTS = """21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:40 / /home rw - nfs4 server:/home rw
31 30 0:41 / /home/me/disk rw shared:1 - xfs /dev/sdb1 rw
32 21 0:42 / /mnt/with\\040space rw - fuse.sshfs me@there:/ rw
33 21 0:43 / /mnt/twice rw - ext4 /dev/sdc1 rw
34 21 0:44 / /mnt/twice rw - cifs //server/share rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/data", "ext4"),
        ("/home/me/.local/share", "nfs4"),
        ("/home", "nfs4"),
        ("/homestead", "ext4"),
        ("/home/me/disk/data", "xfs"),
        ("/mnt/with space/data", "fuse.sshfs"),
        ("/mnt/twice/data", "cifs"),
    ],
)
def test_file_system(mounts: Path, folder: str, kind: str) -> None:
    """The innermost, topmost mount says what a folder is on, also one that is not there yet."""
    assert place.file_system(Path(folder), mounts) == kind


def test_on_this_machine(mounts: Path, tmp_path: Path) -> None:
    """On a disk the file is in the data folder."""
    assert place.of(Path("/srv/data"), mounts, tmp_path) == place.Place(Path("/srv/data/store.sqlite"))


def test_on_a_network(mounts: Path, tmp_path: Path) -> None:
    """On a network the file is on this machine, private, the same one each time, and another for another folder."""
    found = place.of(Path("/home/me/data"), mounts, tmp_path)

    assert found.path.is_relative_to(tmp_path)
    assert "nfs4" in found.notice
    assert str(found.path.parent) in found.notice
    assert found.path.parent.parent.stat().st_mode & 0o777 == 0o700
    assert place.of(Path("/home/me/data"), mounts, tmp_path) == found
    assert place.of(Path("/home/me/other"), mounts, tmp_path).path != found.path
    with closing(database.connect(found.path, limit=1 << 20)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_no_mounts_known(tmp_path: Path) -> None:
    """Where nobody says what is mounted the data folder is taken as it is."""
    assert place.of(Path("/srv"), tmp_path / "none", tmp_path).path == Path("/srv/store.sqlite")


@pytest.mark.parametrize("how", ["open", "a link"])
def test_somebody_elses(mounts: Path, tmp_path: Path, how: str) -> None:
    """A folder that others may write to, or that leads elsewhere, is not used."""
    private = tmp_path / f"ipy-codeinterp-{os.getuid()}"
    if how == "open":
        private.mkdir()
        private.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match="not yours alone"):
        place.of(Path("/home/me"), mounts, tmp_path)


def test_here() -> None:
    """This machine says what its root is on."""
    assert place.file_system(Path("/"))
