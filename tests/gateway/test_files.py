"""What the gateway keeps of files."""

from __future__ import annotations

import os

import pytest

from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.gateway import files
from ipy_codeinterp.gateway.files import Files


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_files_share_descriptors() -> None:
    """A thousand files cost no descriptor each, and each keeps its content."""
    kept, before = Files(), open_descriptors()

    added = [kept.add(f"f{i}", str(i).encode(), downloadable=True) for i in range(1000)]

    assert open_descriptors() <= before + 2
    assert [file.read() for file in added[::100]] == [str(i).encode() for i in range(0, 1000, 100)]
    kept.close()
    assert open_descriptors() == before


def test_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the room there is the oldest files are forgotten, and their place is given back."""
    monkeypatch.setattr(files, "MOST_KEPT", 10)
    monkeypatch.setattr(files, "SPOOL_SIZE", 4)
    kept, before = Files(), open_descriptors()

    added = [kept.add(f"f{i}", b"12345", downloadable=True) for i in range(20)]

    assert [file.name for file in kept.all()] == ["f18", "f19"]
    assert open_descriptors() <= before + 2
    with pytest.raises(Rejected):
        kept.find(added[0].id)
    kept.close()
