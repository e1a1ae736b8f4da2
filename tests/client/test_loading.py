"""Values of variables at a provider whose interpreter is not ours: as files, with lines of ours around the cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ipy_codeinterp import Session, catalog, exchange
from ipy_codeinterp.client import loading
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.errors import LostValue, ReplayMiss
from ipy_codeinterp.execution import Event, Execution, File, Notice
from tests.conformance.served import served


def test_lines_around(tmp_path: Path) -> None:
    """The cell stands between the lines as it is; without values it is what it was."""
    execution = Execution("print(df)\n# end", inputs=(File("df.value.json"),), get=("out",))
    first, *cell, last = loading.with_lines(execution).body.splitlines()

    assert "\n".join(cell) == execution.body
    assert first.endswith("interp_values.load(globals(), 'df')") and last == "interp_values.save(globals(), 'out')"
    assert loading.with_lines(Execution("1")) == Execution("1")


def test_the_archive_is_the_same_each_time(tmp_path: Path) -> None:
    """What is uploaded with the values has the same content everywhere, so that it is uploaded once."""
    assert exchange.loader(tmp_path / "a") == exchange.loader(tmp_path / "b")
    assert (exchange.loader(tmp_path).size or 0) < 60_000


class Elsewhere:
    """A gateway that is taken for a vendor's: it is told nothing of ours."""

    name = "elsewhere"

    def __init__(self, base_url: str, token: str, format: str = "messages") -> None:
        self.offers = {"claude": replace(catalog.find("claude"), provider=self.name)}
        self._endpoint = Endpoint(base_url, token, ours=False, format=format, provider=self.name)

    def endpoint(self) -> Endpoint:
        return self._endpoint


@pytest.fixture(scope="module")
def elsewhere(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Elsewhere]:
    with served(cache_dir, clean_environment) as gateway:
        yield Elsewhere(gateway.base_url, gateway.token)


@pytest.fixture(scope="module")
def writes(elsewhere: Elsewhere) -> Elsewhere:
    """The same as a server whose model only calls a function: the code runs in the session's own sandbox."""
    return Elsewhere(elsewhere.endpoint().base_url, elsewhere.endpoint().token, "completions")


@pytest.mark.sandbox
@pytest.mark.conformance
def test_there_and_back(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Values are there and come back, the lines are said and shown, and a name that is not left says so."""
    said: list[Event] = []
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    how: dict[str, Any] = {"inputs": {"df": frame, "k": 3}, "get": ("out", "nope")}
    with Session(data_dir=tmp_path, providers=[elsewhere], unpriced=("*@elsewhere",), warm="never") as session:
        result = session.run(
            "out = df.assign(c=df.a * k)\nprint(len(out))", model="claude@elsewhere", show=said.append, **how
        )
        came = session.values(result)
        dry = session.dry_run("print(k)", model="claude@elsewhere", inputs={"k": 3})

    assert (result.outcome, result.stdout, result.verbatim) == ("ok", "2\n", True)
    assert result.steps[0].code.splitlines()[1] == "out = df.assign(c=df.a * k)"
    pd.testing.assert_frame_equal(came["out"], frame.assign(c=[3, 6]))
    assert isinstance(came["nope"], LostValue) and "the code left no variable nope" in str(came["nope"])
    assert "elsewhere gets lines around the cell: one before it loads df, k, one after it keeps out, nope" in [
        str(each) for each in said if isinstance(each, Notice)
    ]
    assert "interp_values.load(globals(), 'k')\\nprint(k)" in json.dumps(dry.body)


@pytest.mark.sandbox
@pytest.mark.conformance
def test_where_a_model_only_passes_it_on(writes: Elsewhere, tmp_path: Path) -> None:
    """Code that runs here has its values bound, with no lines around it; a recording has what came back, for equals."""
    how: dict[str, Any] = {"model": "claude@elsewhere", "get": ("out",)}
    terms: dict[str, Any] = {"providers": [writes], "unpriced": ("*@elsewhere",), "warm": "never"}
    with Session(data_dir=tmp_path / "a", record=tmp_path / "kept", **terms) as session:
        result = session.run("out = [k]", inputs={"k": 3}, **how)

        assert (result.outcome, result.steps[0].code) == ("ok", "out = [k]")
        assert session.values(result) == {"out": [3]}
    with Session(data_dir=tmp_path / "b", replay=tmp_path / "kept", warm="never") as session:
        assert session.values(session.run("out = [k]", inputs={"k": 3}, **how)) == {"out": [3]}
        with pytest.raises(ReplayMiss):
            session.run("out = [k]", inputs={"k": 4}, **how)
