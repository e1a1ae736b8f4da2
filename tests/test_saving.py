"""What a run left, written into a folder: under names that a file may have, and over nothing that is there."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from ipy_codeinterp import saving
from ipy_codeinterp.errors import InterpError, NotSaved
from ipy_codeinterp.execution import Display, File, Result, Step

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def result(*names: str, outputs: tuple[Display, ...] = ()) -> Result:
    return Result("run_1", (Step("1", files=tuple(File(name) for name in names), outputs=outputs),))


def content(file: File) -> bytes:
    return f"of {file.name}".encode()


def test_files_and_figures(tmp_path: Path) -> None:
    """Files are written by their names, and figures that are no files by their number; values of variables are not."""
    figure = Display({"image/png": base64.b64encode(PNG).decode()})
    saved = saving.save(result("a.csv", "x.value.json", outputs=(figure,)), content, tmp_path)

    assert str(saved) == "a.csv, figure-1.png"
    assert (tmp_path / "a.csv").read_bytes() == b"of a.csv"
    assert (tmp_path / "figure-1.png").read_bytes() == PNG
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "figure-1.png"]


@pytest.mark.parametrize(
    "name", ["..", ".", ".bashrc", "../x", "a/b", "/etc/x", "a\\b", "a\nb", "\x1b[2J", "\u202etxt.exe", "", "x" * 300]
)
def test_names_that_no_file_may_have(tmp_path: Path, name: str) -> None:
    """Such a file is left out with the reason, whatever `force` says, and the others are written."""
    inside = tmp_path / "saved"
    inside.mkdir()
    saved = saving.save(result(name, "good.txt"), content, inside, force=True)

    assert saved.written == ("good.txt",) and len(saved.refused) == 1
    assert os.listdir(inside) == ["good.txt"] and os.listdir(tmp_path) == ["saved"]
    assert "\x1b" not in str(saved)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file, a folder or a link of that name stays what it is; with `force` the name is given to the new file."""
    (tmp_path / "target").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    run = result("file", "link", "dead", "new")

    saved = saving.save(run, content, tmp_path)
    assert saved.written == ("new",) and set(saved.failed) == {"file", "link", "dead"}
    assert all("--force" in why for why in saved.failed.values())

    assert saving.save(run, content, tmp_path, force=True).written == ("file", "link", "dead", "new")
    assert (tmp_path / "target").read_text() == "mine" and not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"of file"


def test_what_cannot_be_fetched(tmp_path: Path) -> None:
    """A file that is gone, or a folder in its place, is told, and nothing of it is left half written."""
    (tmp_path / "folder").mkdir()

    def gone(file: File) -> bytes:
        if file.name == "gone":
            raise InterpError("file not found")
        return content(file)

    saved = saving.save(result("gone", "folder", "good"), gone, tmp_path, force=True)
    assert saved.written == ("good",) and saved.failed["gone"] == "file not found"
    assert sorted(os.listdir(tmp_path)) == ["folder", "good"]


def test_two_of_one_name(tmp_path: Path) -> None:
    """Of two files of one name the first is written."""
    assert saving.save(result("a", "a"), content, tmp_path).refused == {"a": "two are called so"}


def test_folder(tmp_path: Path) -> None:
    """A folder is made where there is none; a file in its place is an error before anything is run."""
    (tmp_path / "file").touch()

    assert saving.opened(tmp_path / "a" / "b").is_dir()
    with pytest.raises(NotSaved, match="is no folder"):
        saving.opened(tmp_path / "file")
