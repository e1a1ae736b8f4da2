"""What a person sees of `%%interp` cells, through a real kernel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]


def test_stdout_appears_while_the_code_runs(kernel: Any) -> None:
    """The first line is out while a later one is still to come."""
    arrived: list[tuple[str, float]] = []

    def note(message: dict[str, Any]) -> None:
        arrived.append((message["content"].get("text", ""), time.monotonic()))

    kernel.run("%%interp\nimport time\nprint('first')\ntime.sleep(1.5)\nprint('second')", on_message=note)

    times = dict(arrived)
    assert times["second\n"] - times["first\n"] > 1


def test_a_cell_shows_text_table_and_figure(kernel: Any) -> None:
    """Prints, the last expression in its rich form, and the figure without plt.show()."""
    outputs = kernel.run(
        "%%interp --model claude\n"
        "import pandas as pd, matplotlib.pyplot as plt\n"
        "print('hello')\nplt.plot([1, 3, 2])\npd.DataFrame({'a': [41]})"
    )

    table, figure = outputs.displays
    assert outputs.stream() == "hello\n"
    assert "<td>41</td>" in table["data"]["text/html"]
    assert figure["data"]["image/png"].startswith("iVBOR")


def test_outputs_keep_their_order(kernel: Any) -> None:
    """A print between two displays stays between them."""
    outputs = kernel.run("%%interp\nfrom IPython.display import display\ndisplay(1)\nprint('mid')\ndisplay(2)")

    assert outputs.kinds == ["display_data", "stream", "display_data"]


def test_clear_output_and_updates_work(kernel: Any) -> None:
    """`clear_output(wait=True)` and display updates reach the front end as such."""
    outputs = kernel.run(
        "%%interp\nfrom IPython.display import display, clear_output\n"
        "handle = display('one', display_id=True)\nhandle.update('two')\nclear_output(wait=True)\nprint('end')"
    )

    assert outputs.kinds == ["display_data", "update_display_data", "clear_output", "stream"]
    assert outputs.updates[0]["data"]["text/plain"] == "'two'"
    assert outputs.updates[0]["transient"] == outputs.displays[0]["transient"]


def test_an_error_fails_the_cell_with_the_remote_traceback(kernel: Any) -> None:
    """The code raising is CodeError, and what is shown is the code's own traceback."""
    outputs = kernel.run("%%interp\ndef f():\n    return 1 / 0\nf()")

    assert outputs.status == "error"
    assert outputs.error["ename"] == "CodeError"
    assert outputs.error["evalue"] == "ZeroDivisionError: division by zero"
    assert "ipy_codeinterp" not in outputs.traceback
    assert "line 2" in outputs.traceback


def test_an_error_can_be_shown_without_failing_the_cell(kernel: Any) -> None:
    """`--no-raise-error` shows the traceback, and the Result is there."""
    outputs = kernel.run("%%interp --no_raise_error --out failed\n1/0")
    after = kernel.run("print(failed.ok, failed.error.ename)")

    assert outputs.status == "ok" or outputs.error["ename"] == "CodeError"
    assert after.stream() == "False ZeroDivisionError\n"


def test_the_result_is_there_also_after_an_error(kernel: Any) -> None:
    """`--out` is set before the cell fails."""
    kernel.run("%%interp -o broken\nprint('so far')\nraise KeyError('x')")

    assert kernel.run("print(broken.stdout, broken.outcome)").stream() == "so far\n error\n"


def test_a_container_keeps_variables(kernel: Any) -> None:
    """The second cell with `--container` sees the first one's variable; another cell does not."""
    kernel.run("%%interp --container keep\nkept = 42")

    assert kernel.run("%%interp --container keep\nprint(kept)").stream() == "42\n"
    assert kernel.run("%%interp\nprint(kept)").error["evalue"].startswith("NameError")


def test_an_interrupt_stops_the_code_and_keeps_the_rest(kernel: Any) -> None:
    """What was printed stays, KeyboardInterrupt is raised, the container's variables are kept."""
    kernel.run("%%interp --container stop\nbefore = 1")
    printed: list[str] = []
    request = kernel.begin("%%interp --container stop\nduring = 2\nprint('started')\nimport time\ntime.sleep(60)")

    def interrupt(message: dict[str, Any]) -> None:
        printed.append(message["msg_type"])
        if message["msg_type"] == "stream":
            kernel.interrupt()

    outputs = kernel.end(request, on_message=interrupt)

    assert outputs.stream() == "started\n"
    assert outputs.error["ename"] == "KeyboardInterrupt"
    assert len(outputs.error["traceback"]) == 1
    assert kernel.run("%%interp --container stop\nprint(before + during)").stream() == "3\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--modle claude", "unknown flag --modle: did you mean --model?"),
        ("--mod claude", "unknown flag --mod: did you mean --model?"),
        ("--model claud", "unknown model 'claud': did you mean claude?"),
        ("--language pyton", "unknown language 'pyton': did you mean python?"),
        ("--timeout never", "--timeout never: not a number of seconds up to 86400 (a day)"),
    ],
)
def test_a_wrong_line_is_one_line_with_the_right_spelling(kernel: Any, line: str, message: str) -> None:
    """A flag or name nobody knows is a real exception of one line."""
    outputs = kernel.run(f"%%interp {line}\nprint(1)")

    assert outputs.status == "error"
    assert outputs.error["evalue"] == message
    assert len(outputs.error["traceback"]) == 1


@pytest.mark.parametrize("body", ["   ", "# only a comment", "\n\n  # and space\n"])
def test_a_blank_cell_is_nothing_to_run(kernel: Any, body: str) -> None:
    """Space and comments are refused before anything is sent."""
    outputs = kernel.run(f"%%interp\n{body}\n")

    assert outputs.error["ename"] == "NothingToRun"
    assert outputs.error["evalue"] == "nothing to run: there is no code"


def test_help_is_real(kernel: Any) -> None:
    """`%%interp?` shows every flag."""
    reply = kernel.client.inspect("%%interp", 8, reply=True, timeout=30)

    text = reply["content"]["data"]["text/plain"]
    assert "--container" in text
    assert "--attach" in text


def test_attached_files_lie_in_the_working_directory(kernel: Any, folder: Path) -> None:
    """`--attach` brings a file by its name, also from a folder and with a space in its name."""
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "my data.csv").write_text("a\n7\n")

    outputs = kernel.run('%%interp --attach "deep/my data.csv"\nprint(open("my data.csv").read())')

    assert outputs.stream() == "a\n7\n\n"


@pytest.mark.parametrize(
    "flags", ["--attach twin.txt --attach other/twin.txt", "--attach nowhere.txt", "--attach other"]
)
def test_what_cannot_be_attached_is_refused(kernel: Any, folder: Path, flags: str) -> None:
    """The same name twice, a missing file and a folder are errors of their own."""
    (folder / "other").mkdir(exist_ok=True)
    for path in (folder / "twin.txt", folder / "other" / "twin.txt"):
        path.write_text("x")

    assert kernel.run(f"%%interp {flags}\nprint(1)").error["ename"] == "BadAttachment"


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("open('here.csv')", "--attach here.csv"),
        ("import helper_module", "--attach helper_module.py"),
        ("lives_here + 1", "lives in the notebook"),
        ("import no_such_package", "--with no_such_package"),
        ("open('a_folder')", "--mount a_folder"),
        ("import urllib.request; urllib.request.urlopen('http://example.org')", "see --network"),
        ("!pip install nothing", "install in the notebook"),
        ("input('name? ')", "nobody to ask"),
    ],
)
def test_errors_at_the_wall_know_the_notebook(kernel: Any, folder: Path, body: str, hint: str) -> None:
    """What is here and not in the sandbox is named in the traceback's last line."""
    (folder / "here.csv").write_text("a\n1\n")
    (folder / "a_folder").mkdir(exist_ok=True)
    (folder / "helper_module.py").write_text("x = 1\n")
    kernel.run("lives_here = 1")

    outputs = kernel.run(f"%%interp\n{body}")

    assert outputs.status == "error"
    assert hint in outputs.error["traceback"][-1]
    assert hint not in outputs.error["evalue"]


def test_a_name_of_an_earlier_cell_says_container(kernel: Any) -> None:
    """A NameError for what an earlier fresh cell defined names the flag that keeps it."""
    kernel.run("%%interp\nearlier_total = 5")

    outputs = kernel.run("%%interp\nprint(earlier_total)")

    assert "--container" in outputs.error["traceback"][-1]


def test_capture_and_time_behave_as_usual(kernel: Any) -> None:
    """`%%capture` takes what a cell shows, `%%time` times it."""
    kernel.run("%%capture caught\n%%interp\nprint('inside')\n5")
    captured = kernel.run("print(repr(caught.stdout), len(caught.outputs))")
    timed = kernel.run("%%time\n%%interp\nprint('timed')")

    assert captured.stream() == "'inside\\n' 1\n"
    assert "timed" in timed.stream()
    assert "Wall time" in timed.stream()


def test_braces_and_dollars_are_the_users_own(kernel: Any) -> None:
    """Nothing in a body or on the line is expanded."""
    outputs = kernel.run("%%interp --container a{b}$HOME\nx = {'a': 1}\nprint(f'{x} {{}} $HOME %s')")

    assert outputs.stream() == "{'a': 1} {} $HOME %s\n"


def test_a_time_limit_says_what_next(kernel: Any) -> None:
    """Hitting the wall is LimitReached with the flag that moves it."""
    outputs = kernel.run("%%interp -t 0.5\nwhile True: pass")

    assert outputs.error["ename"] == "LimitReached"
    assert outputs.error["evalue"] == "the code was stopped at its time limit of 0.5 seconds"
    assert outputs.error["traceback"][-1] == "to give it longer: --timeout S"


def test_a_segfault_is_named_and_the_next_cell_works(kernel: Any) -> None:
    """The interpreter dying under the code is Crashed, with the signal; never 'kernel died'."""
    outputs = kernel.run("%%interp\nimport ctypes\nctypes.string_at(0)")

    assert outputs.error["ename"] == "Crashed"
    assert "SIGSEGV" in outputs.error["evalue"]
    assert kernel.run("%%interp\nprint('on')").stream() == "on\n"


def test_terminal_escapes_do_not_get_through(kernel: Any) -> None:
    """Titles, clipboards and cursor movements are dropped from streams and tracebacks; colours stay."""
    outputs = kernel.run(r"""%%interp
print("a\x1b]52;c;aGk=\x07b\x1b[2Jc\x1b[31mred\x1b[0m")
raise ValueError("x\x1b]0;title\x07y")""")

    assert outputs.stream() == "abc\x1b[31mred\x1b[0m\n"
    assert "\x1b]" not in outputs.error["evalue"] + outputs.traceback


def test_an_invalid_png_is_not_shown(kernel: Any) -> None:
    """Bytes that only call themselves a PNG are dropped with a line that says so."""
    outputs = kernel.run(
        "%%interp\nfrom IPython.display import display\ndisplay({'image/png': b'no picture'}, raw=True)"
    )

    assert all("image/png" not in shown["data"] for shown in outputs.displays)
    assert outputs.status == "ok"


def test_a_flood_of_text_is_cut_in_the_middle(kernel: Any) -> None:
    """200 MB of prints end well: the head and the tail are shown, and how much is missing."""
    outputs = kernel.run("%%interp\nfor i in range(200):\n    print(str(i) * 500_000)\nprint('the end')")

    text = outputs.stream()
    assert text.startswith("000")
    assert text.endswith("the end\n")
    assert "characters not shown" in text
    assert len(text) < 2_000_000
    assert outputs.status == "ok"


def test_twenty_megabytes_of_cell_run(kernel: Any) -> None:
    """A cell of 20 MB is run like any other."""
    outputs = kernel.run("text = 'x' * 20_000_000\nget_ipython().run_cell_magic('interp', '', f'print(len({text!r}))')")

    assert outputs.stream() == "20000000\n"


def test_nul_bytes_are_a_syntax_error(kernel: Any) -> None:
    """A NUL in the code is the interpreter's own error."""
    outputs = kernel.run("%%interp\nprint('a')\n\0")

    assert outputs.status == "error"
    assert outputs.error["ename"] == "CodeError"
