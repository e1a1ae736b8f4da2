"""Data both ways through a real kernel: `--in`, `--get`, `--save`, `--from`, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

MAKE = "import numpy as np, pandas as pd\ndf = pd.DataFrame({'a': [1, 2], 'b': ['x', 'ü']})\nk, f = 3, print"


@pytest.fixture(scope="module", autouse=True)
def made(kernel: Any) -> None:
    kernel.run(MAKE)


def receipt(outputs: Any) -> tuple[str, Any]:
    """The line, and what the metadata has of it."""
    (shown,) = [each for each in outputs.displays if "receipt" in each["metadata"].get("ipy_codeinterp", {})]
    return shown["data"]["text/plain"], shown["metadata"]["ipy_codeinterp"]["receipt"]


def test_there_and_back(kernel: Any) -> None:
    """Variables go along and come back as what they are; one line says names, shapes and bytes, each time the same."""
    cell = "%%interp --in df,k --get out,arr\nout = df.assign(c=df.a * k)\narr = out.c.to_numpy()\nout"
    first, again = kernel.run(cell), kernel.run(cell)
    line, facts = receipt(first)

    assert line.startswith("in: df DataFrame 2 × 2 (") and " · out: out DataFrame 2 × 3 (" in line
    assert line.endswith("arr ndarray 2 (144 bytes)") and "<td>6</td>" in first.displays[0]["data"]["text/html"]
    assert facts["in"][1] == {"name": "k", "what": "int", "bytes": 1}
    assert receipt(again) == (line, facts)
    checked = kernel.run("print(type(out).__name__, list(out.c), list(out.b), arr.dtype, len(df.columns))")
    assert checked.stream() == "DataFrame [3, 6] ['x', 'ü'] int64 2\n"


def test_what_is_not_there(kernel: Any) -> None:
    """A name that nobody has, and a value that cannot travel, are one line before anything is run."""
    assert (
        kernel.run("%%interp --in dff\n1").traceback == "UsageError: --in: there is no variable dff: did you mean df?"
    )
    unfit = kernel.run("%%interp --in f\nprint('begun')")
    assert unfit.traceback.startswith("BadValue (the value): f cannot be sent: a value of type builtin_function")
    assert unfit.stream() == ""
    bash = kernel.run("%%interp --in k --language bash\necho")
    assert bash.traceback.startswith("BadValue (the value): bash takes no values of variables")


def test_what_did_not_come(kernel: Any) -> None:
    """A name the code does not leave fails the cell and keeps the run and the others; a failed run brings nothing."""
    lost = kernel.run("%%interp --get here,nope --out r\nhere = 5\nprint('ran')")
    assert lost.traceback.startswith("LostValue (the value): nope did not come back: the code left no variable nope")
    assert lost.stream() == "ran\n" and kernel.run("print(here, r.ok)").stream() == "5 True\n"

    failed = kernel.run("%%interp --in k --get here\nhere = 6\n1/0")
    assert failed.error["ename"] == "CodeError" and receipt(failed)[0] == "in: k int (1 byte)"
    assert kernel.run("print(here)").stream() == "5\n"


def test_hint_at_the_wall(kernel: Any) -> None:
    """A name that is only in the notebook is told with the flag that sends it, and with it the cell runs."""
    assert kernel.run("%%interp\nprint(k)").traceback.splitlines()[-1].endswith("not in the sandbox: --in k")
    assert kernel.run("%%interp --in k\nprint(k)").stream() == "3\n"


def test_r_and_node(kernel: Any) -> None:
    """A frame passes R and Node; hints speak of their errors, too."""
    kernel.run("%%interp -l r --in df --get out\nout <- transform(df, c = a * 2L)")
    assert kernel.run("print(out.c.tolist(), out.b.tolist())").stream() == "[2, 4] ['x', 'ü']\n"
    kernel.run("%%interp -l node --in df --get out\nconst out = df.map((row) => row.b)")
    assert kernel.run("print(out)").stream() == "['x', 'ü']\n"
    kernel.run("table_here = df")
    assert "--in table_here" in kernel.run("%%interp -l r\nnrow(table_here)").traceback


def test_save_and_from(kernel: Any, folder: Path) -> None:
    """Code comes from a file in its own language; what it leaves is written under its names, and over nothing."""
    (folder / "plot.py").write_text(
        "import os, matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('Growth');\n"
        "for name in ('a.csv', '.profile'):\n    _ = open(os.path.join(os.environ['OUTPUT_DIR'], name), 'w').write('1')"
    )
    (folder / "two.R").write_text("cat(1 + 1)")

    saved = kernel.run("%interp --from plot.py --save kept")
    assert saved.stream() == "saved in kept: figure-1.png, a.csv; left out: .profile (a name that begins with a dot)\n"
    assert sorted(path.name for path in (folder / "kept").iterdir()) == ["a.csv", "figure-1.png"]
    assert b"Description\0\0\0\0\0Growth. 1 line" in (folder / "kept" / "figure-1.png").read_bytes()
    again = kernel.run("%interp --from plot.py --save kept")
    assert again.traceback.startswith("NotSaved (the folder): not saved in kept: figure-1.png (it is there already")
    assert kernel.run("%interp --from plot.py --save kept --force").error is None
    assert kernel.run("%interp --from two.R").stream() == "2"


def test_lines_that_run_nothing(kernel: Any) -> None:
    """Flags on a line need `--from`; a file that is not there, and a second body, are one line."""
    for line, words in (
        ("%interp --model local", "takes flags with --from PATH only"),
        ("%interp --from plt.py", "there is no file plt.py: did you mean plot.py?"),
        ("%%interp --from plot.py\nprint(1)", "the cell has code of its own"),
    ):
        assert words in kernel.run(line).traceback


def test_dry_run(kernel: Any) -> None:
    """The request, its files and its price are shown; no key is needed, and nothing is run."""
    shown = kernel.run("%%interp --dry-run --in df --model claude-sonnet-5@anthropic\nprint(1)").stream()
    assert "POST https://api.anthropic.com/v1/messages" in shown and "interp_values.load(globals(), 'df')" in shown
    local = kernel.run("%%interp --dry-run --in df --save nowhere\nprint('begun')").stream()
    assert "nothing is billed on this machine" in local and "file df.value.json: " in local
    assert "begun\\n" not in local.partition("{")[0]
