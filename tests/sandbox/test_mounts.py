"""Folders of the user: inside only by name, only where the settings allow it, only to be read, said in the Result."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipy_codeinterp.errors import NotAllowed, Rejected
from ipy_codeinterp.execution import Notice
from ipy_codeinterp.session import Session

pytestmark = pytest.mark.sandbox


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "inner"
    folder.mkdir(parents=True)
    tmp_path.chmod(0o755)
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "out").symlink_to("/etc/hostname")
    return folder


def test_an_allowed_folder_can_be_read(data: Path, tmp_path: Path, cache_dir: Path) -> None:
    """A folder below an allowed one is there, where it lies, read-only; links out of it lead nowhere."""
    with Session(cache_dir=cache_dir, data_dir=tmp_path / "d", mounts=[tmp_path / "data"]) as session:
        code = f"""
        import os
        print(open({str(data / "a.csv")!r}).read(), os.path.exists({str(data / "out")!r}))
        try: open({str(data / "b")!r}, "w")
        except OSError as error: print(error.strerror)"""
        result = session.run(code, mounts=[data])
        assert result.stdout == "a\n1\n False\nRead-only file system\n"
        assert result.isolation == f"bubblewrap +mount {data}"
        assert session.run("print(1)").isolation == "bubblewrap"
        assert session.run(f"ls {data}", language="bash", mounts=[data]).stdout == "a.csv\nout\n"


def test_a_container_keeps_its_folders(data: Path, tmp_path: Path, cache_dir: Path) -> None:
    """What a container may read is settled when it is made; asking for more later is refused with the way out."""
    with Session(cache_dir=cache_dir, data_dir=tmp_path / "d", mounts=[tmp_path]) as session:
        session.run("x = 1", container="plain")
        with pytest.raises(Rejected, match="does not have") as refused:
            session.run("x", container="plain", mounts=[data])
        assert "restart" in refused.value.hint
        session.run("x = 1", container="with", mounts=[data])
        events: list[object] = []
        assert session.run(f"print(len(open({str(data / 'a.csv')!r}).read()))", container="with", show=events.append).ok
        assert not any(isinstance(event, Notice) for event in events)


@pytest.mark.parametrize("name", ["", "..", "link"])
def test_nothing_else_can_be_mounted(data: Path, tmp_path: Path, cache_dir: Path, name: str) -> None:
    """A folder that is not allowed is refused by type, also through `..` and a link, and nothing is run."""
    (data / "link").symlink_to(tmp_path)
    allowed = [data] if name else []
    with Session(cache_dir=cache_dir, data_dir=tmp_path / "d", mounts=allowed) as session:
        with pytest.raises(NotAllowed, match="may not be mounted") as refused:
            session.run("print(1)", mounts=[f"{data}/{name}"])
        assert "IPY_CODEINTERP_MOUNTS" in refused.value.hint
        with pytest.raises(Rejected, match="not a folder"):
            session.run("print(1)", mounts=[data / "a.csv"])
