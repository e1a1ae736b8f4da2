"""Values with some facts changed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from ipy_codeinterp.changed import changed
from ipy_codeinterp.execution import Cost, Result, Step, Timings


@pytest.mark.parametrize("value", [Result("r", (Step("x"),), "ok"), Result("s"), Result("t", why="it is the cheapest")])
def test_as_replace(value: Result) -> None:
    """It gives what `dataclasses.replace` gives, and leaves the value itself as it was."""
    facts = {"cost": Cost(Decimal(1)), "timings": Timings(queue=1.0)}
    before = replace(value)
    assert changed(value, **facts) == replace(value, **facts)
    assert value == before


def test_no_such_fact() -> None:
    """What is no field is refused, as by `replace`."""
    with pytest.raises(TypeError):
        changed(Timings(), colour="red")
