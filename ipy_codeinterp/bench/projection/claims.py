"""What the article claims, each with a verdict that its own figures lead to, by the functions of every projection.

No verdict is written down: each is what a comparison of the claimed figure with the reckoned one gives.
"""

from __future__ import annotations

from ipy_codeinterp.bench.projection import claims_gateway, claims_measured, claims_models
from ipy_codeinterp.bench.projection.claims_gateway import Mine, own_row
from ipy_codeinterp.bench.projection.verdict import Verdict

JUDGES = (
    claims_models.table,
    claims_models.premium,
    claims_models.accuracy,
    claims_models.even,
    claims_models.recommended,
    claims_gateway.yuan,
    claims_gateway.saving,
    claims_measured.p99,
    claims_measured.warm_up,
    claims_measured.estimate,
)


def verdicts(mine: Mine | None = None) -> list[Verdict]:
    """On every claim; that on switching with the reader's figures, else with those of the article's first row."""
    return [*(judge() for judge in JUDGES), claims_gateway.switch(mine or own_row())]
