"""How far it is, in a line: a bar and the time left while it is under way, the bare words else."""

from __future__ import annotations

import pytest

from ipy_codeinterp import pace
from ipy_codeinterp.many import Progress


@pytest.mark.parametrize(
    ("done", "total", "left", "shown"),
    [
        (0, 10, 5.0, "x"),
        (10, 10, 5.0, "x"),
        (3, None, 5.0, "x"),
        (0, 0, None, "x"),
        (1, 4, None, "[#####...............] x"),
        (399, 400, 0.2, "[###################.] x, about 1 s left"),
        (1, 2, 89.4, "[##########..........] x, about 89 s left"),
        (1, 2, 600.0, "[##########..........] x, about 10 min left"),
        (1, 2, 9000.0, "[##########..........] x, about 2.5 h left"),
    ],
)
def test_line(done: int, total: int | None, left: float | None, shown: str) -> None:
    """There is a bar once something is done and until all is, and a time where one is known."""
    assert pace.line("x", done, total, left) == shown


@pytest.mark.parametrize(
    ("done", "seconds", "left"), [(0, 5.0, None), (5, None, None), (5, 0.5, None), (5, 2.0, 6.0), (20, 9.0, 0.0)]
)
def test_remaining(done: int, seconds: float | None, left: float | None) -> None:
    """The rest goes at the pace so far; where that is not known yet, nothing is said."""
    assert pace.remaining(done, 20, seconds) == left


def test_of_a_map() -> None:
    """A map says how many of how many, with how many failures, and how long it may still take."""
    assert str(Progress(5, 1, 3, 20, 2.0)) == "[#####...............] 5 of 20 done, 1 failed, 3 running, about 6 s left"
    assert str(Progress(5, 0, 3)) == "5 done, 3 running"
    assert str(Progress(20, 0, 0, 20, 2.0)) == "20 of 20 done, 0 running"
