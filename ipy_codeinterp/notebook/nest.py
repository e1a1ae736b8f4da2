"""The opt-in bridge: while a cell runs, the kernel's own event loop runs on, and with it the user's background tasks.

The only place that knows nest_asyncio2. It patches the loop for good, which is why nobody gets it unasked.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

HINT = (
    "a notebook has an event loop already: write `await main()` for `asyncio.run(main())`,"
    " or let nested loops run: %config InterpMagics.bridge = 'nest'"
)
EVERY = 0.005  # seconds between two looks at what the cell has to show


def pause() -> None:
    """Let the running loop do its other work for a moment. Raises RuntimeError where none is running."""
    import nest_asyncio2

    loop = asyncio.get_running_loop()
    nest_asyncio2.apply(loop)
    loop.run_until_complete(asyncio.sleep(EVERY))


def apply() -> None:
    """Let `asyncio.run` work in the notebook's own cells from now on; without a running loop it does already."""
    if is_possible():
        import nest_asyncio2

        nest_asyncio2.apply(asyncio.get_running_loop())


def hint(result: Any) -> None:
    """After a cell of the notebook: whoever pasted a script with `asyncio.run` is told how it runs here."""
    error = result.error_in_exec
    if isinstance(error, RuntimeError) and "cannot be called from a running event loop" in str(error):
        print(HINT, file=sys.stderr)  # noqa: T201 - this is the screen


def is_possible() -> bool:
    """Whether a loop is running here: not so in terminal IPython."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
