"""How the flags of `%%interp` are grouped where they are explained. Every flag stands in one row, the usual first."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "every day": ("--model", "--container", "--timeout", "--language", "--out", "--ask", "--bg"),
    "data": ("--in", "--get", "--attach", "--from", "--save", "--force", "--chunks", "--rows", "--checkpoint"),
    "money": ("--max-cost", "--dry-run", "--policy", "--critical", "--no-cache", "--batch", "--label"),
    "where it runs": ("--with", "--mount", "--network"),
    "rarely": (
        "--expect",
        "--new",
        "--no-execute",
        "--repeat",
        "--interactive",
        "--no-raise-error",
        "--debug",
        "--allow-secrets",
    ),
}


def group_of(names: tuple[str, ...]) -> str | None:
    """Where a flag stands, by any of its names."""
    return next((title for title, flags in GROUPS.items() if set(names) & set(flags)), None)
