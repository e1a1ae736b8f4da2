"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` is None for what is neither right nor wrong; `remedy` says what to do."""

    name: str
    ok: bool | None
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, object]:
        return asdict(self)
