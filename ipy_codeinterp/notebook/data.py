"""What goes along with a cell and comes back: names become values, values get names, and a receipt says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from ipy_codeinterp import exchange, registry
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Execution, File, Result
from ipy_codeinterp.notebook.arguments import BadUsage
from ipy_codeinterp.notebook.desk import Desk

OF_IPYTHON = ("In", "Out", "exit", "quit", "get_ipython", "open")


def given(desk: Desk, names: Sequence[str]) -> dict[str, Any]:
    """The values of the notebook's variables of these names. Raises `BadUsage` with the nearest one there is."""
    namespace = desk.shell.user_ns
    for name in names:
        if name not in namespace:
            raise BadUsage(f"--in: there is no variable {name}: {registry.suggestion(name, variables(namespace))}")
    return {name: namespace[name] for name in names}


def variables(namespace: Mapping[str, Any]) -> list[str]:
    """The names that are the user's own and hold data."""
    return [
        name
        for name, value in namespace.items()
        if not name.startswith("_") and name not in OF_IPYTHON and not isinstance(value, ModuleType | type)
    ]


def brought(desk: Desk, execution: Execution, result: Result, sent: Mapping[str, Any]) -> InterpError | None:
    """Give what came back its names, and show the receipt. The error of the first that did not come, if any."""
    came = desk.session.values(result) if execution.get else {}
    files = {exchange.name_of(file): file for file in result.files}
    wanted = {name: came.get(name, _not_there(name, result)) for name in execution.get}
    values = {name: value for name, value in wanted.items() if not isinstance(value, InterpError)}
    _show_receipt(
        desk,
        {"in": list(zip(execution.inputs, sent.values(), strict=True))},
        {"out": [(files[name], value) for name, value in values.items()]},
    )
    desk.shell.user_ns.update(values)
    errors = (error for error in wanted.values() if isinstance(error, InterpError))
    return next(errors, None) if result.outcome in ("ok", "unknown") else None


def _not_there(name: str, result: Result) -> InterpError:
    return exchange.lost(name, f"{result.offer} sent nothing of that name")


def _show_receipt(desk: Desk, *ways: Mapping[str, list[tuple[File, Any]]]) -> None:
    """One line of what went each way. Data is the same every time; bytes that are not are in the metadata alone."""
    steady_only, both = desk.is_deterministic, {way: items for each in ways for way, items in each.items() if items}
    if both:
        lines = [exchange.line(way, items, steady_only=steady_only) for way, items in both.items()]
        facts = {way: list(_facts(items)) for way, items in both.items()}
        desk.shell.display_pub.publish({"text/plain": " · ".join(lines)}, {"ipy_codeinterp": {"receipt": facts}})


def _facts(items: list[tuple[File, Any]]) -> Iterator[dict[str, Any]]:
    for file, value in items:
        yield {"name": exchange.name_of(file), "what": exchange.describe(value), "bytes": file.size}
