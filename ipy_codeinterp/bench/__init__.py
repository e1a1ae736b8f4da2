"""Which interpreter is faster, more often right, and cheaper for each success: measured, on work of one's own.

`await bench.run(session, models=["claude@anthropic", "local"], repeat=20)` gives a Report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a notebook that measures nothing pays for none of it
    from ipy_codeinterp.bench.plan import Plan, Question
    from ipy_codeinterp.bench.report import Report
    from ipy_codeinterp.bench.running import begun, found, go, planned, run
    from ipy_codeinterp.bench.workload import Answer, Case, Workload

__all__ = ["Answer", "Case", "Plan", "Question", "Report", "Workload", "begun", "found", "go", "planned", "run"]
_MODULES = {
    **dict.fromkeys(("Plan", "Question"), "plan"),
    **dict.fromkeys(("Answer", "Case", "Workload"), "workload"),
    "Report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'running')}"), name)
