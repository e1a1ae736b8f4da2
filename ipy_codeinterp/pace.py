"""How far something is, and how long it may still take: one form for maps, batches and chunks, in one line of text."""

from __future__ import annotations

WIDTH = 20  # characters
SOON = 1.0  # seconds until a pace means something


def line(words: str, done: int, total: int | None, left: float | None = None) -> str:
    """`words` with a bar before, and behind it the seconds that are `left`, while it is under way.

    A total of None is not known, and nor is then what is left.
    """
    if not total or not 0 < done < total:
        return words
    full = WIDTH * done // total
    about = "" if left is None else f", about {duration(left)} left"
    return f"[{'#' * full}{'.' * (WIDTH - full)}] {words}{about}"


def remaining(done: int, total: int, seconds: float | None) -> float | None:
    """Seconds until the rest is done at the same pace, when `done` took `seconds`; None where that is a mere guess."""
    return None if seconds is None or seconds < SOON or done < 1 else seconds * (total - done) / done


def duration(seconds: float) -> str:
    """In the unit that suits it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
