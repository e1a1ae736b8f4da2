"""What our own gateway says beside a format is heard as it was said, and what it cannot have said is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects import extension, heard
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.execution import Clear, Display, Error, File, Limit, Stream, Update

OUTPUTS = (
    Stream("stdout", "1\n\ud800"),
    Display({"image/png": "aGk="}, {"image/png": {"width": 3}}, display_id="d"),
    Error("ValueError", "no", ("Traceback", "ValueError: no")),
)
RAN = {
    "ends well": Ran(OUTPUTS, "ok", 0, files=(File("a.csv", "ab", 2, id="file_1"),), seconds=0.5),
    "hits a wall": Ran((), "limit", 1, limit=Limit("memory", 1 << 40, "bytes", 2.5, 3), note="ended"),
}
words = st.sampled_from(["outputs", "outcome", "ok", "files", "file_id", "name", "limit", "allowed", "unit", "timings"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=6),
    max_leaves=12,
)


@pytest.mark.parametrize("name", RAN)
def test_ran(name: str) -> None:
    """What came of a run is heard as it was said."""
    said = json.loads(json.dumps(extension.encode_ran(RAN[name])))

    found = heard.decode_ran(said, RAN[name].exit_status)

    assert found == RAN[name]
    assert [file.id for file in found.files] == [file.id for file in RAN[name].files]


@pytest.mark.parametrize("output", [*OUTPUTS, Update("d", {"text/plain": "x"}), Clear(wait=True)], ids=repr)
def test_output(output: Any) -> None:
    """An output is heard as it was said."""
    assert heard.decode_output(json.loads(json.dumps(extension.encode_output(output)))) == output


def test_start() -> None:
    """What has not the right type at the start was not said."""
    event = {"container": "c", "new": 1, "isolation": ["bubblewrap"], "warm": True}

    assert heard.decode_start(event) == heard.Start(container="c", warm=True)


@given(anything, anything)
def test_made_up(said: Any, other: Any) -> None:
    """Anything else raises `ValueError` and nothing else."""
    for each in (said, {"outputs": [], "outcome": "ok", "files": [], "limit": said, "timings": other}):
        with contextlib.suppress(ValueError):
            heard.decode_ran(each)
    with contextlib.suppress(ValueError):
        heard.decode_output({"output": said})
