"""matplotlib's own gallery: what runs in plain Python runs in the sandbox, and shows as many figures.

`scripts/gallery` brings the examples. CODEINTERP_GALLERY=all runs all of them, not only a few.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from ipy_codeinterp.execution import Display

from .wing import Ran, Wing

pytestmark = [pytest.mark.sandbox, pytest.mark.slow, pytest.mark.timeout(240)]

VERSION = metadata.version("matplotlib")
GALLERY = Path(__file__).parents[2] / ".gallery" / f"matplotlib-{VERSION}"
AT_CI, SEED = 40, 20250825
TIMEOUT = 60.0
PNG = b"\x89PNG\r\n\x1a\n"

# Runs one file and says how many figures a notebook would have shown: there, what is shown is closed.
PLAIN = """
import runpy, sys
import matplotlib.pyplot as plt
shown = 0
def show(*args, **kwargs):
    global shown
    shown += len(plt.get_fignums())
    plt.close("all")
plt.show = show
runpy.run_path(sys.argv[1], run_name="__main__")
show()
print()
print(shown)
"""

# What may differ, and why.
DIFFERENT: dict[str, str] = {}


def examples() -> list[str]:
    """All of them, or a few that are always the same."""
    found = sorted(str(path.relative_to(GALLERY)) for path in GALLERY.rglob("*.py"))
    few = os.environ.get("CODEINTERP_GALLERY") != "all"
    return sorted(random.Random(SEED).sample(found, AT_CI)) if found and few else found


@dataclass(frozen=True)
class Came:
    """What came of an example: how many figures, or why none."""

    runs: bool
    figures: int = 0
    why: str = ""


def in_the_sandbox(ran: Ran) -> Came:
    if ran.outcome != "ok":
        return Came(False, why=f"{ran.outcome}: {ran.error.ename if ran.error else ran.limit} {ran.error.evalue if ran.error else ''}")
    return Came(True, sum(is_figure(event) for event in ran.events))


def is_figure(event: object) -> bool:
    return isinstance(event, Display) and base64.b64decode(event.data.get("image/png", "")).startswith(PNG)


def start_in_plain_python(example: str, folder: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PLAIN, str(GALLERY / example)],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "agg", "TMPDIR": folder, "DISPLAY": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_plain_python(process: subprocess.Popen[str]) -> Came:
    try:
        out, complaints = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Came(False, why="limit: time")
    if process.returncode:
        return Came(False, why=(complaints.strip().splitlines() or ["died"])[-1])
    return Came(True, int(out.splitlines()[-1]))


@pytest.mark.parametrize("example", examples())
def test_an_example_gives_what_plain_python_gives(wing: Wing, example: str) -> None:
    """An example runs in a fresh container exactly if it runs in plain Python, and shows as many figures."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_in_plain_python(example, folder)
        container = wing.fresh()
        try:
            ran = wing.run((GALLERY / example).read_text(), container=container, timeout=TIMEOUT)
        finally:
            wing.end(container)
        plain = in_plain_python(process)
    with open("/tmp/gal/survey.txt", "a") as f: print(example, in_the_sandbox(ran), plain, round(ran.verdict.seconds, 1), sep="\t", file=f)
    assert in_the_sandbox(ran) == plain
