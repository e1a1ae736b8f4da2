"""What was run once is there again, for nothing: `%interp history`, `show` and `export`, also in another kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from .kernel import started

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

CELL = """%%interp -o made
import matplotlib.pyplot as plt
print('<b>one</b>')
plt.plot([1, 2]); plt.show()
1 / 0"""


def test_after_a_restart(clean_environment: dict[str, str], folder: Path) -> None:
    """A kernel that knows nothing shows all outputs of an earlier one's cell; an error is shown, and fails nothing."""
    with started(clean_environment, folder) as first:
        first.run("%load_ext ipy_codeinterp")
        assert first.run(CELL).status == "error"
        id = first.run("print(made.id)").stream().strip()
    with started(clean_environment, folder) as second:
        second.run("%load_ext ipy_codeinterp")

        listed = second.run("%interp history --limit 1").stream()
        shown = second.run(f"%interp show {id[4:]} --out again")
        exported = second.run(f"%interp export {id} seen.ipynb")

        assert id in listed and "import matplotlib.pyplot as plt" in listed and "error" in listed
        assert (shown.status, shown.stream()) == ("ok", "<b>one</b>\n")
        assert "image/png" in shown.displays[0]["data"]
        assert shown.stream("stderr").endswith(": division by zero\n")
        assert second.run("print(again.id, again.outcome)").stream() == f"{id} error\n"
        assert exported.stream() == "1 result in seen.ipynb\n"
        outputs = nbformat.read(folder / "seen.ipynb", as_version=4).cells[1].outputs
        assert [each.output_type for each in outputs] == ["stream", "display_data", "error"]
        wrong = second.run(f"%interp show {id[:-2]}zz")
        assert f"did you mean {id}?" in wrong.traceback
        assert "not a variable's name" in second.run("%interp show --out 1x").traceback
