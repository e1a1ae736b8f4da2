"""`%%interp --batch` and `%interp batch`, through a real kernel."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]


def test_put_aside_and_collected(kernel: Any) -> None:
    """The cell ends at once with an id, which `--out` holds; `wait` runs it, `collect` shows its outputs again."""
    outputs = kernel.run("%%interp --batch -o id\nprint('hello')\n41 + 1")
    id = kernel.run("print(id)").stream().strip()

    assert id.startswith("batch_")
    assert outputs.stream() == f"{id} is put aside; %interp batch collect {id} shows what comes of it\n"
    waited = kernel.run(f"%interp batch wait {id}")
    assert [*waited.displays, *waited.updates][-1]["data"]["text/plain"] == "1 of 1 done"
    assert "claude" not in kernel.run("%interp batch").stream()
    for _ in range(2):
        shown = kernel.run(f"%interp batch collect {id}")
        assert (shown.status, shown.stream()) == ("ok", "hello\n")
        assert shown.displays[0]["data"]["text/plain"] == "42"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%interp batch colect x", "did you mean collect?"),
        ("%interp batch collect", "batch list names them"),
        ("%interp batch collect batch_none", "unknown batch 'batch_none'"),
        ("%%interp --batch --container a\nprint(1)", "a run with a container cannot be put aside"),
    ],
)
def test_a_mistake(kernel: Any, cell: str, words: str) -> None:
    """What is wrong is said in a line, without our frames."""
    outputs = kernel.run(cell)

    assert outputs.status == "error"
    assert words in outputs.traceback
    assert "ipy_codeinterp/" not in outputs.traceback
