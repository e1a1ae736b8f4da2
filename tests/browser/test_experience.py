"""What a person sees of jobs, comparisons, errors and the panel in a real page, in both themes and in Notebook 7."""

from __future__ import annotations

import re

from .lab import LabPage, OpenNotebook

LOAD = "%load_ext ipy_codeinterp"
READABLE = 4.5  # what WCAG 2 AA asks of text of that size
THEMES = ["JupyterLab Light", "JupyterLab Dark"]

UNTIL_TOLD = """
import pathlib, time
while not pathlib.Path({place!r}, "told").exists(): time.sleep(0.05)
print("own")"""


def tell(page: LabPage) -> None:
    """What waits until it is told goes on."""
    (page.file.parent / "told").touch()


def test_a_comparison_is_a_table(open_notebook: OpenNotebook) -> None:
    """A cell at three offers is a table with a row for each and what agrees, then the output of each under its name."""
    page = open_notebook([LOAD, "%%interp --model claude,gpt,local\nprint(6 * 7)\nimport sys\nlen(sys.version) > 0"])
    page.run_all()
    page.wait_idle()
    heads, *rows = page.table(1)
    compared = [dict(zip(heads, row, strict=True)) for row in rows]
    assert [row["offer"] for row in compared] == ["claude@local", "gpt@local", "local@local"]
    assert [(row["outcome"], row["stdout"], row["value"]) for row in compared] == [
        ("ok", "yes", "yes"),
        ("ok", "same", "same"),
        ("ok", "same", "same"),
    ]
    assert all(float(row["time"].split()[0]) > 0 for row in compared)
    assert len(re.findall(r"^42$", page.text(1), re.MULTILINE)) == 3
    assert page.errors() == []


def test_a_job_lands_in_its_cell(open_notebook: OpenNotebook) -> None:
    """A cell in the background gives the prompt back; what it prints and draws comes under it after another has run."""
    allowed = "import os\nos.environ['IPY_CODEINTERP_MOUNTS'] = os.getcwd()"
    page = open_notebook([f"{allowed}\n{LOAD}", "", "print('another')"])
    waits = UNTIL_TOLD.format(place=str(page.file.parent))
    page.set_source(1, f"%%interp --bg --mount .{waits}\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    for cell in range(3):
        page.run(cell)
        page.wait_idle()
    assert (page.prompt(1), page.prompt(2)) == ("[2]:", "[3]:")
    assert "own" not in page.text(1) and page.text(2) == "another"

    tell(page)
    page.wait_text(1, r"job run_\w+: ok after [\d.]+ s")
    assert page.text(1).splitlines()[1] == "own"
    ((width, height),) = page.images(1)
    assert width > 100 < height
    assert page.text(2) == "another"
    assert page.errors() == []


def test_the_cancel_button_works_while_a_cell_blocks(open_notebook: OpenNotebook) -> None:
    """A click on it ends the job at once, although the kernel is busy with another cell, which goes on."""
    job = "%%interp --bg\nprint('on', flush=True)\nimport time\ntime.sleep(600)"
    page = open_notebook([f"{LOAD}\n%interp panel", job, UNTIL_TOLD.format(place=".")])
    page.run(0)
    page.run(1)
    page.wait_text(1, r"\bon\b")
    page.wait_idle()
    page.run(2)
    page.tab.wait_for_function("drive.prompt(2) === '[*]:'")

    page.cell(0).get_by_role("button", name="Cancel").click()
    page.wait_text(1, "cancelled after")
    assert page.prompt(2) == "[*]:" and page.text(2) == ""
    page.wait_text(0, "jobs: 0 of 1 running")
    tell(page)
    page.wait_text(2, "own")
    page.wait_idle()
    assert "\non" in page.text(1)
    assert page.cell(0).get_by_role("button", name="Cancel").count() == 0
    assert page.errors() == []


def test_everything_is_readable_in_both_themes(open_notebook: OpenNotebook) -> None:
    """Each text of the live panel, of its fields, of a footer, a table and a job stands out from what is behind it;
    so does the static twin that the panel leaves.
    """
    cells = [
        f"{LOAD}\n%interp panel",
        "%%interp --model claude,gpt\nprint(1)",
        "%%interp --bg\nprint('on', flush=True)\nimport time\ntime.sleep(600)",
        "%%interp\nprint('footer')",
        "%interp cancel all\n%interp panel --close",
    ]
    page = open_notebook(cells)
    for cell in range(4):
        page.run(cell)
        page.wait_idle()
    page.wait_text(2, r"\bon\b")
    for theme in THEMES:
        texts = readable(page, theme)
        assert {"p95", "no limit", "footer", "Cancel print('on', flush=True)"} <= texts.keys()

    page.run(4)
    page.wait_idle()
    for theme in reversed(THEMES):  # the server remembers the last one
        assert "p95" in readable(page, theme)
    assert page.errors() == []


def test_the_panel_by_keyboard_and_by_ear(open_notebook: OpenNotebook) -> None:
    """Tab goes from field to field to the cancel button, each of which has a name; the table has heads and a caption,
    and a budget's bar has words.
    """
    job = "%%interp --bg\nprint('on', flush=True)\nimport time\ntime.sleep(600)"
    page = open_notebook([f"{LOAD}\n%interp panel", job, "%interp cancel all"])
    page.run(0)
    page.run(1)
    page.wait_text(0, "Cancel print")
    page.wait_idle()
    panel = page.cell(0)
    panel.get_by_label("Budget of the session, USD").focus()
    named = []
    for _ in range(3):
        named.append(page.tab.evaluate(NAME_OF_FOCUSED))
        page.tab.keyboard.press("Tab")
    assert named == ["Budget of the session, USD", "Calls at once, a model", "Cancel print('on', flush=True)"]
    assert panel.get_by_role("table", name="Interpreter calls of this session").count() == 1
    assert panel.get_by_role("columnheader").count() == 11
    assert panel.get_by_label("session budget used").count() == 1
    page.run(2)
    page.wait_idle()


NAME_OF_FOCUSED = "(e => (e.labels?.[0] ?? e).innerText.trim())(document.activeElement)"


def readable(page: LabPage, theme: str) -> dict[str, float]:
    """The texts of the first four cells' outputs, all of which are readable in that theme."""
    page.theme(theme)
    contrasts = {text: ratio for cell in range(4) for text, ratio in page.contrasts(cell).items()}
    assert {text: ratio for text, ratio in contrasts.items() if ratio < READABLE} == {}, theme
    return contrasts


def test_an_error_is_a_few_lines(open_notebook: OpenNotebook) -> None:
    """The code's own traceback with its line, a limit and a wrong flag: each says what to do next, none shows ours."""
    wrong = {
        "%%interp\nscale = 0\nprint(df / scale)": ["NameError", "--in df"],
        "%%interp --timeout 1\nwhile True: pass": ["stopped at its time limit of 1 second", "--timeout S"],
        "%%interp --modle claude\n1": ["did you mean --model?"],
        "%%interp --model gtp\n1": ["did you mean gpt?"],
    }
    page = open_notebook([f"{LOAD}\ndf = [1, 2]", *wrong])
    page.run(0)
    for cell, words in enumerate(wrong.values(), start=1):
        page.run(cell)
        page.wait_idle()
        shown = page.text(cell)
        assert all(word in shown for word in words), shown
        assert "ipy_codeinterp/" not in shown
        assert "error" in [output["output_type"] for output in page.outputs(cell)]
    assert [len(page.text(cell).splitlines()) <= 3 for cell in (2, 3, 4)] == [True] * 3
    assert "----> 2 print(df / scale)" in page.text(1)
    assert page.errors() == []


OF_NOTEBOOK_7 = re.compile(r"^page: (Command 'filebrowser:open-path' not registered|.*reading 'schema')")  # its own


def test_notebook_7(open_notebook: OpenNotebook) -> None:
    """Notebook 7 opens a notebook and runs it: text, figure and table, the panel with its figures, and a footer."""
    figure = "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nimport pandas as pd\npd.DataFrame({'n': [17]})"
    page = open_notebook([f"{LOAD}\n%interp panel", f"%%interp\nprint('seen')\n{figure}"], face="notebook")
    assert "/notebooks/" in page.tab.url and page.tab.locator("#jp-NotebookLogo, #jp-Logo, .jp-NotebookLogo").count()
    page.run_all()
    page.wait_idle()
    assert page.text(1).startswith("seen")
    assert page.table(1) == [["", "n"], ["0", "17"]]
    ((width, height),) = page.images(1)
    assert width > 100 < height
    assert page.tab.evaluate("drive.footer(1)").startswith("local@local")
    heads, *_, values = page.table(0)
    assert dict(zip(heads, values, strict=True))["calls"] == "1"
    assert [error for error in page.errors() if not OF_NOTEBOOK_7.search(error)] == []
