"""The opt-in bridge: while a cell runs, the kernel's own event loop runs on, and with it the user's background tasks.

The only place that knows nest_asyncio2. It patches the loop for good, which is why nobody gets it unasked.
"""

from __future__ import annotations

import asyncio

EVERY = 0.005  # seconds between two looks at what the cell has to show


def pause() -> None:
    """Let the running loop do its other work for a moment. Raises RuntimeError where none is running."""
    import nest_asyncio2

    loop = asyncio.get_running_loop()
    nest_asyncio2.apply(loop)
    loop.run_until_complete(asyncio.sleep(EVERY))


def is_possible() -> bool:
    """Whether a loop is running here: not so in terminal IPython."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
