"""`--model a,b` and `--repeat N` in a notebook: the table, then each one's outputs under its name."""

from __future__ import annotations

from typing import Any

import pytest

from .kernel import Kernel, Outputs

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]

HEAD = "claude@local, gpt@local: one interpreter under different limits"
CELL = "%%interp --model claude,gpt -o both\nprint('<b>hi</b>')\n6 * 7"


def lines(outputs: Outputs) -> list[str]:
    """Of the table: what stands in its place in the end."""
    return str([*outputs.displays[:1], *outputs.updates][-1]["data"]["text/plain"]).splitlines()


def test_side_by_side(kernel: Kernel) -> None:
    """The place that said how far it is becomes the table; `--out` has the Results."""
    outputs = kernel.run(CELL)

    head, names, first, second = lines(outputs)
    assert head == HEAD
    assert names.split() == ["offer", "outcome", "time", "tokens", "cost", "stdout", "value", "figures"]
    assert first.split()[-3:] == ["yes", "yes", "-"] and second.split()[-3:] == ["same", "same", "-"]
    assert [shown["data"]["text/plain"] for shown in outputs.displays[1:]] == ["claude@local", "42", "gpt@local", "42"]
    assert outputs.stream() == "<b>hi</b>\n" * 2
    said = kernel.run("print(both.agree, both['gpt@local'].stdout, len(both.results))").stream()
    assert said == "True <b>hi</b>\n 2\n"


def test_deterministic(kernel: Kernel) -> None:
    """For runners that compare, nothing varies in what is shown, and nothing is shown twice; figures are metadata."""
    kernel.run("%config InterpMagics.render = 'deterministic'")
    one, other = kernel.run(CELL), kernel.run(CELL)
    kernel.run("%config InterpMagics.render = 'auto'")

    data = [[(message["msg_type"], shown(message)) for message in each.messages] for each in (one, other)]
    assert data[0] == data[1] and "update_display_data" not in one.kinds
    facts = one.displays[0]["metadata"]["ipy_codeinterp"]["comparison"]
    assert [fact["offer"] for fact in facts] == ["claude@local", "gpt@local"] and facts[0]["seconds"] > 0


def shown(message: dict[str, Any]) -> Any:
    """What such a runner looks at."""
    return message["content"].get("data") or message["content"].get("text")


def test_some_fail(kernel: Kernel) -> None:
    """One that fails fails nothing but itself; the cell fails where all do, with the code's own traceback."""
    some = kernel.run("%%interp --model gpt,claude\nlarge = b'x' * (700 << 20)\nprint(len(large))")
    none = kernel.run("%%interp --model claude,gpt\n1 / 0")

    assert some.status == "ok" and [line.split()[1] for line in lines(some)[2:]] == ["limit", "ok"]
    assert "memory limit" in some.stream("stderr") and some.stream() == f"{700 << 20}\n"
    assert none.status == "error" and "ZeroDivisionError" in none.traceback
    assert [line.split()[1] for line in lines(none)[2:]] == ["error", "error"]


def test_repeated(kernel: Kernel) -> None:
    """`--repeat` says how often it went well, and leaves blank what so few runs cannot bound; below are figures of a
    benchmark, with intervals."""
    outputs = kernel.run("%%interp --model gpt --repeat 5\nprint(1)")

    names, row, *more = lines(outputs)
    assert names.split() == ["offer", "runs", "ok", "agree", "p50", "p95", "tokens", "cost"]
    assert row.split()[:8] == ["gpt@local", "5", "5", "of", "5", "5", "of", "5"] and "  -  " in row
    assert {"Success", "Latency", "Cost"} <= set(more)
    assert any("gpt@local  5  100.0% (56.6-100.0)" in line for line in more)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--model claude,gtp", "did you mean gpt?"),
        ("--model claude,claude@local", "name one offer twice"),
        ("--model claude,gpt --container a", "--container: it does not go with"),
        ("--repeat none", "not a number of runs"),
        ("--repeat 2 --batch", "--batch: it does not go with"),
    ],
)
def test_a_mistake(kernel: Kernel, line: str, words: str) -> None:
    """What cannot be compared is said in a line, and nothing is run."""
    outputs = kernel.run(f"%%interp {line}\nprint(1)")

    assert outputs.status == "error" and words in outputs.traceback and outputs.stream() == ""
