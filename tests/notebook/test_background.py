"""`%%interp --bg` in a kernel: its output lands in its own cell, whatever runs meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .kernel import TIMEOUT, Kernel, Outputs

pytestmark = [pytest.mark.kernel, pytest.mark.sandbox]


class Screen:
    """What stands at each place, as a front end would have it: by display id, from whichever cell it came."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.places: dict[str, dict[str, Any]] = {}
        self.streams = ""

    def see(self, until: Callable[[], object]) -> None:
        """Read what comes until something is there."""
        deadline = time.monotonic() + TIMEOUT
        while not until():
            message = self.kernel.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            self.take(message)

    def take(self, message: dict[str, Any]) -> None:
        if id := message["content"].get("transient", {}).get("display_id"):
            self.places[id] = message["content"]["data"]
        if message["msg_type"] == "stream":
            self.streams += message["content"]["text"]

    def text(self, shown: dict[str, Any]) -> str:
        return str(self.places.get(shown["transient"]["display_id"], {}).get("text/plain", ""))


@pytest.fixture
def screen(kernel: Kernel) -> Iterator[Screen]:
    kernel.run("%config InterpMagics.render = 'auto'\n%config InterpMagics.jobs = 4")
    yield Screen(kernel)
    kernel.run("%interp cancel all")


def place(outputs: Outputs) -> dict[str, Any]:
    """The place of a cell that began a job."""
    (shown,) = outputs.displays
    return shown


def test_lands_in_its_cell(screen: Screen, kernel: Kernel, folder: Path) -> None:
    """Output comes into the place of the launching cell while another cell runs, of which nothing is mixed up."""
    shown = place(kernel.run("%%interp --bg -o job\nprint('<b>begun</b>', flush=True)\n6 * 7"))
    request = kernel.begin(
        "import time, pathlib\nfor i in range(600):\n"
        "    if pathlib.Path('seen').exists(): break\n    time.sleep(0.1)\nprint('own')"
    )

    screen.see(lambda: "42" in screen.text(shown))
    (folder / "seen").touch()
    own = kernel.end(request)

    head, *rest = screen.text(shown).splitlines()
    assert head.startswith("job run_") and ": ok after" in head and rest == ["<b>begun</b>", "42"]
    page = screen.places[shown["transient"]["display_id"]]["text/html"]
    assert "&lt;b&gt;begun" in page and "<b>" not in page
    assert own.stream() == "own\n" and screen.streams == ""
    assert kernel.run("%interp wait").status == "ok"
    id = head.split()[1].rstrip(":")
    assert kernel.run(f"%interp show {id}").stream() == "<b>begun</b>\n"


def test_wait_raises(screen: Screen, kernel: Kernel) -> None:
    """A job that fails says so in its place, and whoever waits is raised the real error, once."""
    shown = place(kernel.run("%%interp --bg\nprint('before')\n1 / 0"))
    quiet = place(kernel.run("%%interp --bg --no-raise-error\nraise KeyError"))
    screen.see(lambda: ": error after" in screen.text(shown) and ": error after" in screen.text(quiet))
    waited = kernel.run("%interp wait")

    assert waited.status == "error" and waited.error and "ZeroDivisionError" in waited.traceback
    assert waited.error["ename"] == "CodeError" and "ipy_codeinterp/" not in waited.traceback
    assert "before" in screen.text(shown) and "ZeroDivisionError: division by zero" in screen.text(shown)
    assert "KeyError" in screen.text(quiet) and "KeyError" not in waited.traceback
    assert kernel.run("%interp wait").status == "ok"


def test_interrupt_and_cancel(screen: Screen, kernel: Kernel) -> None:
    """An interrupt ends the waiting alone; `cancel` ends the job, keeps what it printed and lets go of its process."""
    shown = place(kernel.run("%%interp --bg\nprint('on', flush=True)\nimport time; time.sleep(600)"))
    screen.see(lambda: "\non" in screen.text(shown))
    id = screen.text(shown).split()[1]

    request = kernel.begin("%interp wait")
    screen.see(lambda: any(text.get("text/plain") == "0 of 1 done, 1 running" for text in screen.places.values()))
    kernel.interrupt()
    waited = kernel.end(request)
    assert "the jobs go on" in waited.traceback
    assert f"{id}  running" in kernel.run("%interp jobs").stream()

    assert kernel.run(f"%interp cancel {id[-4:]}").stream() == "1 job cancelled\n"
    assert kernel.run(f"%interp show {id}").stream() == "on\n"
    assert f"{id}  cancelled" in kernel.run("%interp jobs").stream()
    assert "is over" in kernel.run(f"%interp cancel {id}").traceback
    assert kernel.run("%interp wait").stream() == "1 of 1 cancelled\n"


def test_deterministic(screen: Screen, kernel: Kernel) -> None:
    """For runners that compare, nothing varies in the launching cell, and `wait` shows the result in its own."""
    kernel.run("%config InterpMagics.render = 'deterministic'")
    begun = [kernel.run("%%interp --bg\nprint('a')\n6 * 7") for _ in range(2)]
    waited = kernel.run("%interp wait")
    failed = [kernel.run("%%interp --bg\nprint('b')\n1 / 0"), kernel.run("%interp wait")][-1]

    said = "runs in the background: %interp wait shows what comes of it"
    assert [place(each)["data"] for each in begun] == [{"text/plain": said}] * 2
    assert all(each.kinds == ["display_data"] for each in begun)
    assert waited.stream() == "a\na\n" and [d["data"]["text/plain"] for d in waited.displays] == ["42", "42"]
    assert failed.status == "error" and failed.stream() == "b\n" and failed.stream("stderr") == ""


def test_a_hundred(screen: Screen, kernel: Kernel) -> None:
    """A hundred jobs are begun at once, run a few at a time, and leave nothing behind but the journal."""
    grown = (
        "import threading, os\n"
        "print(threading.active_count(), len(os.listdir('/proc/self/fd')), len(desk.session._background))"
    )
    kernel.run("desk = get_ipython().magics_manager.registry['InterpMagics']._desk")
    launch = "for i in range({}): get_ipython().run_cell_magic('interp', '--bg', f'print({{i}})')"
    kernel.run(launch.format(20))
    kernel.run("%interp wait")
    before = kernel.run(grown).stream().split()
    kernel.run(launch.format(100))
    waited = kernel.run("%interp wait")
    after = kernel.run(grown).stream().split()

    assert waited.status == "ok"
    assert all(int(now) - int(then) < 10 for then, now in zip(before, after, strict=True)), (before, after)
    assert kernel.run("print(sum(job.kept is not None for job in desk.jobs._jobs.values()))").stream() == "0\n"


def test_refused_at_once(kernel: Kernel) -> None:
    """What can be known before anything is begun fails the launching cell."""
    for line, words in {
        "--bg --batch": "--bg: it does not go with",
        "--bg --repeat 3": "--bg: it does not go with",
        "--bg --model gtp": "did you mean gpt?",
    }.items():
        outputs = kernel.run(f"%%interp {line}\nprint(1)")
        assert outputs.status == "error" and words in outputs.traceback


def test_at_the_end(screen: Screen, kernel: Kernel) -> None:
    """Jobs end with the extension: each is cancelled and has its last word, and is in the journal."""
    shown = place(kernel.run("%%interp --bg\nprint('on', flush=True)\nimport time; time.sleep(600)"))
    screen.see(lambda: "\non" in screen.text(shown))
    request = kernel.begin("%unload_ext ipy_codeinterp")
    screen.see(lambda: ": cancelled after" in screen.text(shown))

    assert kernel.end(request).status == "ok"
    kernel.run("%load_ext ipy_codeinterp")
    assert "cancelled" in kernel.run("%interp history --limit 1").stream()


def test_wait_brings_and_saves(screen: Screen, kernel: Kernel, folder: Path) -> None:
    """What a job is to bring back, or to save, comes with the waiting, and once; the code's own error counts first."""
    leave = "import os\n_ = open(os.path.join(os.environ['OUTPUT_DIR'], 'a.txt'), 'w').write('1')"
    kernel.run("n = 20")
    kernel.run(f"%%interp --bg --in n --get twice --save kept -o job\n{leave}\ntwice = n * 2")
    waited = kernel.run("%interp wait")
    assert waited.error is None and "saved in kept: a.txt" in waited.stream()
    assert kernel.run("print(n, twice)").stream() == "20 40\n" and (folder / "kept" / "a.txt").read_text() == "1"
    assert kernel.run("get_ipython().run_line_magic('interp', f'wait {job.id}')").error is None

    kernel.run(f"%%interp --bg --get nowhere --save kept\n{leave}\n1 / 0")
    assert "ZeroDivisionError" in kernel.run("%interp wait").traceback
    kernel.run("%%interp --bg --get nowhere\n1")
    assert "nowhere" in kernel.run("%interp wait").traceback
