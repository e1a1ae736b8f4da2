"""The workloads: a module for each category, and what others add as entry points.

To add one here, write a row in its category's WORKLOADS and its programs beside them. To add one from a package of your
own, name a Workload, or a sequence of them, in the entry point group `ipy_codeinterp.workloads`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from ipy_codeinterp import registry
from ipy_codeinterp.bench.workload import Workload
from ipy_codeinterp.bench.workloads import algorithms, numerics, statistics, transformation, visualization
from ipy_codeinterp.errors import InvalidInput

GROUP = "ipy_codeinterp.workloads"
MODULES = (transformation, statistics, visualization, algorithms, numerics)
CATEGORIES = tuple(module.CATEGORY for module in MODULES)
ALL: Mapping[str, Workload] = {workload.name: workload for module in MODULES for workload in module.WORKLOADS}


def known() -> dict[str, Workload]:
    """Ours by name, then those of entry points, which cannot take a name of ours. Raises `InvalidInput`."""
    found = dict(ALL)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for workload in _loaded(point):
            if found.setdefault(workload.name, workload) is not workload:
                hint = "give it another name in its package"
                raise InvalidInput(
                    f"entry point {point.name}: there is a workload {workload.name!r} already", hint=hint
                )
    return found


def choose(names: Iterable[str] = ()) -> list[Workload]:
    """The workloads of those names, where a category stands for all that are in it; without any, all.

    Each once, in the order in which they are named. Raises `UnknownName` with the nearest name.
    """
    workloads = known()
    by_name = {name: [workload] for name, workload in workloads.items()}
    for workload in workloads.values():
        if workload.category not in workloads:
            by_name.setdefault(workload.category, []).append(workload)
    asked = [workload for name in names for workload in registry.find("workload", name, by_name)]
    return list({workload.name: workload for workload in asked or workloads.values()}.values())


def _loaded(point: EntryPoint) -> list[Workload]:
    """What an entry point names: a package that is broken is told by name."""
    try:
        said = point.load()
    except Exception as error:  # whatever a foreign module raises when it is imported
        message = f"entry point {point.name} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
        raise InvalidInput(message, hint="repair or uninstall its package") from error
    found = [said] if isinstance(said, Workload) else said
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, Workload) for each in found):
        message = f"entry point {point.name} ({point.value}) is no Workload"
        raise InvalidInput(message, hint="name a Workload, or a list of them")
    return list(found)
