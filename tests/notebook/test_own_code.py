"""What a model wrote as a cell of one's own."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Execution, File, Result, Step, Text
from ipy_codeinterp.notebook import own_code
from ipy_codeinterp.notebook.desk import Desk
from ipy_codeinterp.store.history import Kept


def kept(*parts: Text | Step, **asked: Any) -> Kept:
    execution = Execution("Do it.", **{"kind": "task", "model": "claude@anthropic", "container": "c", **asked})
    return Kept(datetime.now(UTC), execution, Result("run_1", parts))


@pytest.mark.parametrize(
    ("given", "cell"),
    [
        (kept(Step("a", outcome="ok"), Text("Done.")), "%%interp\na"),
        (kept(Step("a\n", outcome="ok"), Step("1 / 0", outcome="error"), Step("b")), "%%interp\na\n\nb"),
        (kept(Step("1 / 0", outcome="error")), "%%interp\n1 / 0"),
        (kept(Text("Here:\n```r\nx <- 1\n```\nso."), language="r", execute=False), "%%interp --language r\nx <- 1"),
        (kept(Step("a", outcome="ok"), files=(File("a b.csv"),)), "%%interp --attach 'a b.csv'\na"),
        (kept(Text("I pass it on."), kind="code"), "%%interp\nDo it."),
    ],
)
def test_cell(given: Kept, cell: str) -> None:
    """What ran well in its order, else what was shown; for this machine, with the files and language of the task."""
    assert own_code.cell_of(given) == cell


def test_nothing_written() -> None:
    """Where there is no code there is no cell."""
    with pytest.raises(InvalidInput, match="no code in run_1"):
        own_code.cell_of(kept(Text("I will not.")))


@pytest.mark.parametrize("makes_cells", [True, False])
def test_where_it_goes(makes_cells: bool) -> None:
    """It is handed to a front end that makes cells; where there is none, the text is what is said."""
    handed: list[str] = []
    desk: Any = SimpleNamespace(
        session=SimpleNamespace(flush=lambda: None),
        shell=SimpleNamespace(set_next_input=handed.append),
        last_task=kept(Step("a", outcome="ok")),
        makes_cells=makes_cells,
    )

    said = own_code.next_cell(desk, argparse.Namespace(id=None))

    assert (said, handed) == ((None, ["%%interp\na"]) if makes_cells else ("%%interp\na", []))


@pytest.mark.parametrize(
    ("environ", "namespace", "has_kernel", "is_deterministic", "makes"),
    [
        ({"JPY_SESSION_NAME": "a.ipynb"}, {}, True, False, True),
        ({}, {}, True, False, False),
        ({}, {}, False, False, True),
        ({"JPY_SESSION_NAME": "a.ipynb"}, {}, True, True, False),
        ({"JPY_SESSION_NAME": "a.ipynb"}, {"__vsc_ipynb_file__": "a.ipynb"}, True, False, False),
    ],
    ids=["jupyter", "runner", "terminal", "deterministic", "vs code"],
)
def test_who_makes_cells(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    namespace: dict[str, str],
    has_kernel: bool,
    is_deterministic: bool,
    makes: bool,
) -> None:
    """Jupyter and a terminal do; runners, VS Code and whoever compares do not."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    shell = SimpleNamespace(user_ns=namespace, **({"kernel": object()} if has_kernel else {}))
    asked: Any = Desk.makes_cells

    assert asked.fget(SimpleNamespace(shell=shell, is_deterministic=is_deterministic)) is makes
