"""matplotlib's own gallery: what runs in plain Python runs in the sandbox, and shows as many figures.

`scripts/gallery` brings the examples. CODEINTERP_GALLERY=all runs all of them, not only a few.
"""

from __future__ import annotations

import base64
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from ipy_codeinterp.execution import Display
from ipy_codeinterp.sandbox.job import Input

from .wing import Ran, Wing

TIMEOUT = 120.0  # of one example; three of them wait for ever
FEW, SEED = 40, 2

pytestmark = [pytest.mark.sandbox, pytest.mark.slow, pytest.mark.timeout(3 * TIMEOUT)]

GALLERY = Path(__file__).parents[2] / ".gallery" / f"matplotlib-{metadata.version('matplotlib')}"
PNG = b"\x89PNG\r\n\x1a\n"

# They choose the backend Agg themselves, and a notebook shows the figures of its own backend only.
SHOW_NOTHING = ("animation/frame_grabbing_sgskip.py", "misc/print_stdout_sgskip.py")

# Runs an example and says, as its last line, how many figures a notebook shows, or the name of what ended it. In a
# notebook show() draws, and closes what it has shown; figures that are left are shown at the end; and IPython takes a
# figure without axes for an empty one, whatever text or picture is on it (IPython.core.pylabtools.print_figure).
PLAIN = """
import io, runpy, sys, traceback
import matplotlib.pyplot as plt
shown = 0
def show(*args, **kwargs):
    global shown
    for figure in map(plt.figure, plt.get_fignums()):
        if figure.axes or figure.lines:
            figure.savefig(io.BytesIO(), bbox_inches="tight")
            shown += 1
    plt.close("all")
plt.show = show
sys.argv = sys.argv[1:]
sys.path.insert(0, "")
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
    show()
    came = f"{shown} figures"
except BaseException as error:
    traceback.print_exc()
    came = type(error).__name__
print(f"\\n{came}", flush=True)
"""


def examples() -> list[str]:
    """All of them, or a few that are always the same."""
    found = sorted(str(path.relative_to(GALLERY)) for path in GALLERY.rglob("*.py"))
    if os.environ.get("CODEINTERP_GALLERY") == "all":
        return found
    return sorted(random.Random(SEED).sample(found, min(FEW, len(found))))


@pytest.fixture(scope="module")
def tally(record_testsuite_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """What came of the examples where it was the same, counted."""
    tally: Counter[str] = Counter()
    yield tally
    figures = {came: int(came.split()[0]) for came in tally if came.endswith(" figures")}
    ran, shown = sum(tally[came] for came in figures), sum(tally[came] * number for came, number in figures.items())
    failed = ", ".join(f"{number} {came}" for came, number in tally.most_common() if came not in figures)
    proof = f"{ran} run and show {shown} figures, the others fail alike ({failed or 'none'})"
    record_testsuite_property("proof", f"{tally.total()} gallery examples as in plain Python: {proof}")


def test_the_gallery_is_here() -> None:
    """The examples of the matplotlib that is installed are there to be run."""
    if not examples():
        pytest.skip(f"no {GALLERY}: run scripts/gallery (an index may have no source distributions)")


@pytest.mark.parametrize("example", examples())
def test_an_example_is_as_in_plain_python(
    wing: Wing, clean_environment: dict[str, str], tmp_path: Path, tally: Counter[str], example: str
) -> None:
    """An example and what lies beside it run, or fail, as in plain Python, and show as many figures."""
    folder = shutil.copytree((GALLERY / example).parent, tmp_path / "beside")
    process = start_plain_python(folder, Path(example).name, {**clean_environment, "MPLBACKEND": "agg"})
    deadline = time.monotonic() + TIMEOUT
    inside = came_of(run_fresh(wing, GALLERY / example))
    plain = came_of_plain_python(process, deadline)
    assert inside == ("0 figures" if example in SHOW_NOTHING and plain.endswith(" figures") else plain)
    tally[inside] += 1


def run_fresh(wing: Wing, example: Path) -> Ran:
    beside = [path for path in example.parent.iterdir() if path.is_file() and path != example]
    inputs = tuple(Input(path.name, path.read_bytes()) for path in beside)
    container = wing.fresh()
    try:
        return wing.run(example.read_text(), container=container, timeout=TIMEOUT, inputs=inputs)
    finally:
        wing.end(container)


def came_of(ran: Ran) -> str:
    """How many figures it has shown, or the name of what ended it."""
    if ran.outcome != "ok":
        return ran.limit or (ran.error.ename if ran.error else ran.outcome)
    return f"{sum(is_figure(event) for event in ran.events)} figures"


def is_figure(event: object) -> bool:
    return isinstance(event, Display) and base64.b64decode(event.data.get("image/png", "")).startswith(PNG)


def start_plain_python(folder: Path, example: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PLAIN, example],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )


def came_of_plain_python(process: subprocess.Popen[str], deadline: float) -> str:
    try:
        out, _ = process.communicate(timeout=max(deadline - time.monotonic(), 1))
        return out.splitlines()[-1] if out else f"crashed: {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "time"
