#!/usr/bin/env python3
"""What an update of the open panel costs, in a real kernel, beside a bare widget that is sent as much text.

Processor time of the kernel, all its threads. Figures are medians of interleaved rounds. The panel is
measured twice, after few calls and after as many as the article's test made: it must not matter. The last line is
the ratio of an update to a bare one; exit 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

FEW, MANY = 100, 47_000  # calls of the session
OFFERS = 5  # more than have a row of their own
BAR = 8.0  # times a bare widget's update: ten a second are then about a hundredth of a core
STEADY = 1.5  # times the same after few calls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--updates", type=int, default=200, help="in each round (default: 200)")
    given = parser.parse_args()
    found = in_a_kernel(given.rounds, given.updates)
    ratio, growth = found["many"] / found["bare"], found["many"] / found["few"]
    print(f"a bare widget's update            {found['bare']:8.0f} us")
    print(f"the panel's after {FEW:6,} calls    {found['few']:8.0f} us")
    print(f"the panel's after {MANY:6,} calls    {found['many']:8.0f} us")
    print(f"its growth  {growth:.2f} times, bar {STEADY:g}: {'kept' if growth <= STEADY else 'MISSED'}")
    print(f"beside the bare one  {ratio:.2f} times, bar {BAR:g}: {'kept' if ratio <= BAR else 'MISSED'}")
    print(f"{ratio:.2f}")
    return int(ratio > BAR or growth > STEADY)


def in_a_kernel(rounds: int, updates: int) -> dict[str, float]:
    """Microseconds an update: `bare`, and the panel's after `few` and `many` calls."""
    from jupyter_client.manager import start_new_kernel

    with tempfile.TemporaryDirectory() as folder:
        place = {f"IPY_CODEINTERP_{kind}_DIR": folder for kind in ("DATA", "CACHE")}
        seen = {"JPY_SESSION_NAME": "benchmark.ipynb", "IPY_CODEINTERP_WARM": "never"}  # a front end, and no sandbox
        manager, client = start_new_kernel(env={**os.environ, **place, **seen})
        try:
            answer = Path(folder, "answer.json")
            here = str(Path(__file__).parent)
            code = f"import sys\nsys.path.insert(0, {here!r})\nfrom panel import measure\n"
            code += f"measure(get_ipython(), {rounds}, {updates}, {str(answer)!r})"
            reply = client.execute_interactive(code, output_hook=lambda _: None, timeout=600)
            if reply["content"]["status"] != "ok":
                raise SystemExit("\n".join(reply["content"]["traceback"]))
            return dict(json.loads(answer.read_text()))
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


# --- in the kernel ----------------------------------------------------------------------------------


def measure(shell: Any, rounds: int, updates: int, answer: str) -> None:
    """Write what was found into the file `answer`."""
    from IPython.display import display
    from ipywidgets import HTML

    shell.run_line_magic("load_ext", "ipy_codeinterp")
    shell.run_line_magic("interp", "panel")
    desk = shell.magics_manager.registry["InterpMagics"]._desk
    meter, panel, bare = desk.session.meter, desk._panel, HTML()
    display(bare)

    def update(number: int) -> None:
        meter.add(call(number))
        panel.refresh(now=False)

    def send(number: int) -> None:
        bare.value = f"{number:08}" + "x" * (len(panel._figures.value) - 8)

    taken: dict[str, list[float]] = {"bare": [], "few": [], "many": []}
    for name, calls in (("few", FEW), ("many", MANY)):
        for number in range(meter.totals.all.calls, calls):
            meter.add(call(number))
        for _ in range(rounds + 1):
            taken["bare"].append(cost(send, updates))
            taken[name].append(cost(update, updates))
        del taken["bare"][-rounds - 1], taken[name][0]  # the first is not counted
    Path(answer).write_text(json.dumps({name: statistics.median(values) for name, values in taken.items()}))


def cost(change: Callable[[int], None], updates: int) -> float:
    """Microseconds of processor time."""
    before = time.process_time()
    for number in range(updates):
        change(number)
    return (time.process_time() - before) / updates * 1e6


def call(number: int) -> Any:
    from ipy_codeinterp.execution import Cost
    from ipy_codeinterp.store.ledger import Attempt

    begun = Attempt.begun(f"att_{number}", f"run_{number}", "provider", f"model-{number % OFFERS}")
    price = Cost(Decimal("0.001"), Decimal("0.001"))
    return begun.settled(outcome="ok", seconds=number % 97 / 10, cost=price)


if __name__ == "__main__":
    sys.exit(main())
