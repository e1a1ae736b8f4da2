"""Files that go along: known by content, refused with a reason."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ipy_codeinterp import attachments
from ipy_codeinterp.errors import BadAttachment
from ipy_codeinterp.execution import File


def test_described_by_content(tmp_path: Path) -> None:
    """A file is described by name, hash, size and where it lies."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * (attachments.PIECE + 1))

    (found,) = attachments.read([path])

    assert found == File("a.csv", hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    assert found.path == path


def test_given_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may be text, relative or from the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()

    found = attachments.read(["~/a", "b"])

    assert [file.path for file in found] == [tmp_path / "a", tmp_path / "b"]


def test_described_already() -> None:
    """What is a File already is taken as it is."""
    file = File("a", "00", 1)

    assert attachments.read([file]) == (file,)


def test_one_name_twice(tmp_path: Path) -> None:
    """Two files of one name are refused, for they would lie in one place."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").touch()

    with pytest.raises(BadAttachment, match=r"two attached files are called a\.csv"):
        attachments.read([tmp_path / "one" / "a.csv", tmp_path / "two" / "a.csv"])


def test_folder(tmp_path: Path) -> None:
    """A folder is refused, with what to do instead."""
    with pytest.raises(BadAttachment, match="is not a file") as caught:
        attachments.read([tmp_path])

    assert "zip" in caught.value.hint


def test_pipe(tmp_path: Path) -> None:
    """A pipe is refused at once, and not waited for."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(BadAttachment, match="is not a file"):
        attachments.read([tmp_path / "pipe"])


def test_too_large(tmp_path: Path) -> None:
    """A file above the limit is refused without being read."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(attachments.MOST_BYTES + 1)

    with pytest.raises(BadAttachment, match="104,857,601 bytes"):
        attachments.read([path])


@pytest.mark.parametrize(
    "name",
    ["nowhere.csv", "x" * 5000, "a\0b", "~nobody-of-that-name/a.csv", "", "nowhere.csv/x"],
    ids=["missing", "too long", "nul", "no such home", "empty", "below nothing"],
)
def test_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names no file is refused in our words."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BadAttachment):
        attachments.read([name])


@pytest.mark.parametrize("name", [b"caf\xe9.csv", b"a\nb", b"a\r\nX-Header: y", b"\x1b[31m"], ids=str)
def test_name_that_cannot_be_sent(name: bytes, tmp_path: Path) -> None:
    """A file whose name is not plain text is refused: no request could carry it."""
    path = tmp_path / os.fsdecode(name)
    path.touch()

    with pytest.raises(BadAttachment, match="the name of"):
        attachments.read([path])


@pytest.mark.parametrize("name", ["a b.csv", "\N{SNOWMAN}.csv", 'a"b;c=%41.csv', "Screen\u202f1.png"], ids=repr)
def test_unusual_name(name: str, tmp_path: Path) -> None:
    """Any other name is taken."""
    (tmp_path / name).touch()

    assert attachments.read([tmp_path / name])[0].name == name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    """A file that may not be read is refused with the system's reason."""
    path = tmp_path / "secret"
    path.touch(mode=0o000)

    with pytest.raises(BadAttachment, match="Permission denied"):
        attachments.read([path])
