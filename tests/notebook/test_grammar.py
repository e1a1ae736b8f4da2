"""Whatever stands on a cell's first line, the body arrives as it was written, or the line is refused in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from ipy_codeinterp import Result, Session, notebook
from ipy_codeinterp.errors import InterpError, LostValue
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.notebook import own_verbs
from ipy_codeinterp.notebook.arguments import FLAGS, BadUsage, parse_verb, split

ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where Python ends a line
WORD = st.text(st.characters(exclude_characters=ENDS, exclude_categories=["Cs"]), max_size=30)
SAID = st.sampled_from([name for names, _ in FLAGS for name in names])
ODD = st.sampled_from(
    [
        *[
            "--",
            "-",
            "=",
            "''",
            '""',
            "'a",
            '"a',
            "\\",
            "--model=",
            "-m",
            "--modle",
            "{x}",
            "{",
            "$HOME",
            "!ls",
            "%time",
            "claude",
            "local",
            "1e999",
            "-1",
            "--no_cache",
            "größe",
            "日本",
        ],
        "'a b'",
        "a\u00a0b",
        "\u202eabc",
        "x" * 5000,
    ]
)
LINES = st.lists(st.one_of(SAID, ODD, WORD, st.builds("{}={}".format, SAID, WORD)), max_size=8).map(" ".join)
CODE = st.sampled_from(
    [
        *[
            "x={'a':1}",
            "f'{x!r:>{width}}'",
            "${x}",
            "%%bash",
            "?",
            "x?",
            "'''",
            "\\",
            "\\n",
            "é日本",
            "{}{}",
            "{{x}}",
            "%s",
            "--model",
            "get_ipython()",
        ],
        *(">>> 1", "In [1]: 2", "...   3", "%time 1", "!ls {x}", "# %%interp", "    indented", "  ", "", '"""'),
        *("a\r\nb", "\ttab", "\u2028", "\x0c", "\u200b", "x" * 70_000),
    ]
)
BODIES = st.lists(st.one_of(CODE, st.text(st.characters(exclude_categories=["Cs"]), max_size=60)), max_size=6)


class Heard(Session):
    """A session that notes what is asked, and runs nothing."""

    asked: list[Execution]

    def run(self, code: Any, **_: Any) -> Result:
        self.asked.append(code)
        return Result("run_0", outcome="unknown")

    def batch(self, code: Any, **_: Any) -> str:
        self.asked.append(code)
        return "batch_0"

    def words_of_batch(self, id: str) -> str:
        return id


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """Plain IPython with the extension loaded, over a session that runs nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPY_CODEINTERP_WARM", "never")
        patch.setenv("IPY_CODEINTERP_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.chdir(tmp_path_factory.mktemp("empty"))
        shell = InteractiveShell()
        notebook.load(shell)
        desk: Any = shell.magics_manager.registry[notebook.NAME]._desk
        desk.session.close()
        desk.session = Heard(warm="never")
        desk.session.asked = []
        yield shell
        notebook.unload(shell)


def heard(shell: InteractiveShell) -> list[Execution]:
    """What was asked since this was last called."""
    session: Any = shell.magics_manager.registry[notebook.NAME]._desk.session  # type: ignore[attr-defined]
    asked, session.asked = session.asked, []
    return list(asked)


@settings(max_examples=150, deadline=None)
@given(LINES, BODIES.map("\n".join).filter(bool))
def test_body(shell: InteractiveShell, line: str, body: str) -> None:
    """The magic passes the body on as it is, character for character, or says what is wrong with the line."""
    try:
        with capture_output():
            shell.run_cell_magic("interp", line, body)
    except LostValue:  # of a line with --get: nothing was run that could bring it
        assert [execution.body for execution in heard(shell)] == [body]
    except (BadUsage, InterpError):
        assert heard(shell) == []
    else:
        assert [execution.body for execution in heard(shell)] == [body] or "--dry-run" in line


@settings(max_examples=100, deadline=None)
@given(LINES, BODIES.map("\n".join))
@example("", ">>> 1\n    \n  ")
@example("-l bash", "cat <<< 'In [1]: x'\nIn [1]: x")
def test_cell(shell: InteractiveShell, line: str, body: str) -> None:
    """A whole cell that IPython takes apart arrives the same; only the line end that it adds may be there."""
    body = f"1\n{body}"
    with capture_output():
        result = shell.run_cell(f"%%interp {line}\n{body}")
    error = result.error_before_exec or result.error_in_exec

    assert error is None or isinstance(error, BadUsage | InterpError)
    asked = [execution.body for execution in heard(shell)]
    assert asked in ([], [body], [f"{body}\n"])
    assert bool(asked) is (error is None or isinstance(error, LostValue)) or "--dry-run" in line


@given(st.sampled_from(sorted(own_verbs.known)), LINES)
def test_verb(name: str, line: str) -> None:
    """The grammar of every verb takes a line or refuses it in words."""
    with contextlib.suppress(BadUsage, InterpError):
        parse_verb(own_verbs.known[name], split(line))


@pytest.mark.parametrize("line", ["-m local " * 500, "--label a=b " * 2000, "--attach " + "x" * 200_000, "'" * 10_001])
def test_very_long_line(shell: InteractiveShell, line: str) -> None:
    """A line of any length is understood, or refused."""
    with contextlib.suppress(BadUsage, InterpError), capture_output():
        shell.run_cell_magic("interp", line, "print(1)")
    assert [execution.body for execution in heard(shell)] in ([], ["print(1)"])


def test_repeated_flags(shell: InteractiveShell) -> None:
    """Of a flag that is said twice the last one counts."""
    shell.run_cell_magic("interp", "--container a --container b", "print(1)")

    assert [execution.container for execution in heard(shell)] == ["b"]
