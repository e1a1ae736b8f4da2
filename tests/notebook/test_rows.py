"""What docs/features.md lists and no other test shows: one test for a row, in a kernel with a provider that bills."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from ipy_codeinterp.notebook.arguments import FLAGS

from .kernel import Kernel, started

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

SCRIPTED = """
import os, pathlib
from ipy_codeinterp.testing import ScriptedProvider
provider = ScriptedProvider().__enter__()
catalog = pathlib.Path(os.environ["XDG_CONFIG_HOME"], "ipy-codeinterp", "catalog")
catalog.mkdir(parents=True, exist_ok=True)
catalog.joinpath("scripted.toml").write_text(provider.catalog_file())
%load_ext ipy_codeinterp
"""
PAID = "--model claude@scripted"


@pytest.fixture(scope="module")
def kernel(clean_environment: dict[str, str], folder: Path) -> Iterator[Kernel]:
    """A kernel with the extension loaded, and a provider of its own on loopback."""
    own = {"XDG_CONFIG_HOME": str(folder / "config"), "IPY_CODEINTERP_DATA_DIR": str(folder / "data")}
    with started({**clean_environment, **own}, folder) as running:
        assert running.run(SCRIPTED).status == "ok"
        yield running


def requests(kernel: Kernel) -> int:
    """How many the provider has had."""
    return int(kernel.run("print(len(provider.requests))").stream())


def test_guard_against_multipliers(kernel: Kernel) -> None:
    """A cell that is billed is bought once, in a loop and run again, and never by `%%timeit`; `--no-cache` buys it."""
    before = requests(kernel)
    timed = kernel.run(f"%%timeit -n 2 -r 3\n%%interp {PAID}\nprint('once')")
    assert timed.status == "error" and "--repeat N" in timed.traceback and requests(kernel) == before
    for cell in (
        f"for _ in range(3): get_ipython().run_cell_magic('interp', {PAID!r}, \"print('once')\\n\")",
        f"%%interp {PAID}\nprint('once')",
    ):
        assert kernel.run(cell).status == "ok"
    assert requests(kernel) == before + 1

    again = kernel.run(f"%%interp {PAID} --no-cache\nprint('once')")
    assert "$0.00 " not in f"{again.footers[0]} " and requests(kernel) == before + 2


def test_refers_to_what_the_notebook_has(kernel: Kernel) -> None:
    """`_` and `_N`, what earlier cells have shown last, are sent like any variable."""
    count = kernel.run("[3, 4]").displays[0]["data"]["text/plain"], kernel.run("print(len(Out) and max(Out))").stream()
    sent = kernel.run(f"%%interp --in _{count[1].strip()}\nprint(sum(_{count[1].strip()}))")

    assert (count[0], sent.stream()) == ("[3, 4]", "7\n")


def test_provenance(kernel: Kernel) -> None:
    """What is saved says who ran it, under which id, at what cost: in metadata, not in what is compared."""
    outputs = kernel.run("%%interp --model claude --out r\n6 * 7")
    (shown,) = outputs.displays
    (footer,) = [message["content"]["metadata"]["ipy_codeinterp"]["footer"] for message in outputs.messages[-1:]]
    id = kernel.run("print(r.id)").stream().strip()

    assert shown["metadata"]["ipy_codeinterp"]["offer"] == footer["offer"] == "claude@local"
    assert (footer["id"], footer["billed"], footer["outcome"]) == (id, "0", "ok")
    assert set(shown["data"]) == {"text/plain"}


def test_containers(kernel: Kernel) -> None:
    """Containers are listed with their language, begin anew, and are let go of."""
    kernel.run("%%interp --container lab\nx = 1")
    listed = kernel.run("%interp container").stream()
    kernel.run("%interp container restart lab")
    anew = kernel.run("%%interp --container lab\nprint('x' in globals())").stream()
    kernel.run("%interp container delete lab")

    assert "lab" in listed and "python" in listed
    assert anew == "False\n"
    assert "lab" not in kernel.run("%interp container list").stream()


def test_a_figure_is_there_while_the_code_runs(kernel: Kernel) -> None:
    """A figure is on the screen as soon as it is shown: the code that goes on for ever is stopped after it was seen."""
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nwhile True: pass"
    request = kernel.begin(f"%%interp --timeout 100\n{code}")
    outputs = kernel.end(
        request, on_message=lambda message: kernel.interrupt() if "image/png" in str(message["content"]) else None
    )

    assert "KeyboardInterrupt" in outputs.traceback
    assert ["image/png" in shown["data"] for shown in outputs.displays] == [True]


def test_caps_of_a_call_and_of_the_session(kernel: Kernel) -> None:
    """A call that could cost more than it may, or than the session has left, fails its cell and sends nothing."""
    before = requests(kernel)
    call = kernel.run(f"%%interp {PAID} --max-cost 0.000001\nprint('dear')")
    kernel.run("%config InterpMagics.budget = 0.000001")
    session = kernel.run(f"%%interp {PAID}\nprint('dear, too')")
    kernel.run("%config InterpMagics.budget = 1")

    assert "OverBudget" in str(session.error and session.error["ename"])
    assert call.status == session.status == "error" and requests(kernel) == before
    assert "budget" in session.traceback and "cost" in call.traceback


def test_usage_is_exported(kernel: Kernel, folder: Path) -> None:
    """Every call with its tokens and its cost is a row of a CSV file, and of a DataFrame."""
    kernel.run(f"%%interp {PAID} --label study=x\nprint('a row')")
    kernel.run("%interp stats --export usage.csv")
    head, *rows = (folder / "usage.csv").read_text("utf-8").splitlines()

    assert {"provider", "model", "billed"} <= set(head.split(",")) and any("scripted" in row for row in rows)
    frame = "print(len(get_ipython().magics_manager.registry['InterpMagics']._desk.session.calls()))"
    assert int(kernel.run(frame).stream()) == len(rows)


def test_a_run_is_exported(kernel: Kernel, folder: Path) -> None:
    """What was run becomes a notebook that asks for the same, with its outputs, and a script."""
    kernel.run("%%interp --out r\nprint('kept')")
    kernel.run("id = r.id\nget_ipython().run_line_magic('interp', f'export {id} kept.ipynb')")
    kernel.run("get_ipython().run_line_magic('interp', f'export {id} kept.py')")
    cells = nbformat.read(folder / "kept.ipynb", as_version=4).cells

    assert any("print('kept')" in cell.source and cell.outputs[0].text == "kept\n" for cell in cells if cell.outputs)
    assert "print('kept')" in (folder / "kept.py").read_text("utf-8")


def test_config_has_help(kernel: Kernel) -> None:
    """`%config InterpMagics` says what each setting means; a wrong value is refused with what is right."""
    said = kernel.run("%config InterpMagics").stream()
    wrong = kernel.run("%config InterpMagics.render = 'fast'")

    assert "InterpMagics.budget" in said and "USD" in said
    assert "deterministic" in wrong.traceback + wrong.stream("stderr")  # IPython prints it


def test_figure_format(kernel: Kernel) -> None:
    """The format of figures is a setting: as SVG they are shown as an image that runs nothing."""
    kernel.run("%config InterpMagics.figure_format = 'svg'")
    (shown,) = kernel.run("%%interp\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);").displays
    kernel.run("%config InterpMagics.figure_format = 'png'")

    assert "image/png" not in shown["data"] and "data:image/svg+xml" in shown["data"]["text/html"]


def test_no_flag_takes_a_key(kernel: Kernel) -> None:
    """There is no flag for a key, and a key on the line is refused before anything is sent, and not repeated."""
    key = "sk-ant-" + "api03-" + "x7" * 40
    refused = kernel.run(f"%%interp --label key={key}\nprint(1)")

    assert not any("key" in name for names, _ in FLAGS for name in names)
    assert refused.status == "error" and refused.error and refused.error["ename"] == "HoldsSecret"
    assert key not in json.dumps([refused.traceback, refused.stream("stderr")])


def test_the_target_set_once(kernel: Kernel) -> None:
    """A model that is set counts for each cell that names none."""
    kernel.run("%config InterpMagics.model = 'gpt'")
    first = kernel.run("%%interp --out r\n1")
    named = kernel.run("%%interp --model claude\n1")
    kernel.run("%config InterpMagics.model = 'local'")

    assert [each.footers[0].split(" · ")[0] for each in (first, named)] == ["interp: gpt@local", "interp: claude@local"]
