"""A cell that is billed is not bought again and again by who only wants to time it."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.notebook.arguments import BadUsage


@pytest.mark.parametrize("line", ["--model claude@anthropic", "--model local,gpt@openai"])
@pytest.mark.parametrize("timing", ["-n1 -r1", "-n3 -r2"])
def test_timeit_is_refused_where_it_costs(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, line: str, timing: str
) -> None:
    """`%%timeit` over a cell at a vendor is refused before anything is sent, with what times it instead."""
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(variable, "nobodys-key-0123456789")
    with pytest.raises(
        BadUsage, match=r"%%timeit would run this cell at [\w.-]+@\w+ again.*--repeat N.*%%time runs it once"
    ):
        shell.run_cell_magic("timeit", timing, f"%%interp {line}\nprint(1)")


def test_time_alone_is_not_refused(shell: InteractiveShell) -> None:
    """`%%time` runs a cell once: it fails here for want of a key, and not for being timed."""
    said = shell.run_cell("%%time\n%%interp --model claude@anthropic\nprint(1)").error_in_exec
    assert said is not None and not isinstance(said, BadUsage)


@pytest.mark.kernel
@pytest.mark.sandbox
def test_on_this_machine_it_may(kernel: Any) -> None:
    """A local cell is run as often as it is timed, and the time is said."""
    timed = kernel.run("%%timeit -n2 -r2\n%%interp\nprint('x')")
    assert timed.error is None
    assert timed.stream().count("x\n") >= 4 and "per loop" in timed.stream()
