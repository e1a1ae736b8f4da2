"""Outputs as a notebook keeps them: streams joined, updates applied, clears obeyed; and in nbformat's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ipy_codeinterp.execution import Clear, Display, Error, Event, Output, Stream, StreamName, Update

T = TypeVar("T")


class Collector:
    """Feed it events; `outputs` is what a saved notebook would hold by now."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._outputs: list[Output | _OpenStream] = []
        self._clear_pending = False
        for event in events:
            self.feed(event)

    def feed(self, event: Event) -> None:
        if isinstance(event, Clear):
            self._clear(event)
        elif isinstance(event, Update):
            self._update(event)
        elif isinstance(event, (Stream, Display, Error)):
            self._append(event)

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(o.closed() if isinstance(o, _OpenStream) else o for o in self._outputs)

    def _append(self, output: Output) -> None:
        if self._clear_pending:
            self._outputs.clear()
            self._clear_pending = False
        if not isinstance(output, Stream):
            self._outputs.append(output)
            return
        last = self._outputs[-1] if self._outputs else None
        if not isinstance(last, _OpenStream) or last.name != output.name:
            last = _OpenStream(output.name)
            self._outputs.append(last)
        last.texts.append(output.text)

    def _clear(self, clear: Clear) -> None:
        if clear.wait:
            self._clear_pending = True
        else:
            self._outputs.clear()

    def _update(self, update: Update) -> None:
        for i, output in enumerate(self._outputs):
            if isinstance(output, Display) and output.display_id == update.display_id:
                self._outputs[i] = Display(update.data, update.metadata, output.kind, output.display_id)


class _OpenStream:
    """A stream that may still grow: joining a million lines one by one would copy them all each time."""

    def __init__(self, name: StreamName) -> None:
        self.name = name
        self.texts: list[str] = []

    def closed(self) -> Stream:
        self.texts = ["".join(self.texts)]
        return Stream(self.name, self.texts[0])


def to_nbformat(output: Output | Update | Clear) -> dict[str, Any]:
    """One output as nbformat 4 has it, or as the Jupyter message of that name for what nbformat has not."""
    match output:
        case Stream(name, text):
            return {"output_type": "stream", "name": name, "text": text}
        case Display(data, metadata, kind, display_id):
            return {"output_type": kind, "data": dict(data), "metadata": dict(metadata), **_transient(display_id)}
        case Error(ename, evalue, traceback):
            return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": list(traceback)}
        case Update(display_id, data, metadata):
            shown = {"data": dict(data), "metadata": dict(metadata)}
            return {"output_type": "update_display_data", **shown, **_transient(display_id)}
        case Clear(wait):
            return {"output_type": "clear_output", "wait": wait}


def from_nbformat(output: Mapping[str, Any]) -> Output | Update | Clear:
    """The way back. Raises `ValueError` for what is none."""
    try:
        match output["output_type"]:
            case "stream":
                return Stream(_stream_name(output["name"]), _a(str, output["text"]))
            case "display_data" | "execute_result" as kind:
                return Display(*_bundle(output), kind, _display_id(output))
            case "error":
                lines = (_a(str, line) for line in _a(list, output["traceback"]))
                return Error(_a(str, output["ename"]), _a(str, output["evalue"]), tuple(lines))
            case "update_display_data":
                return Update(_display_id(output) or "", *_bundle(output))
            case "clear_output":
                return Clear(_a(bool, output["wait"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an output: {error!r}") from None
    raise ValueError(f"not an output: {str(output['output_type'])[:80]!r}")


def _transient(display_id: str | None) -> dict[str, Any]:
    return {"transient": {"display_id": display_id}} if display_id else {}


def _display_id(output: Mapping[str, Any]) -> str | None:
    found = _a(dict, output.get("transient", {})).get("display_id")
    return found if isinstance(found, str) else None


def _bundle(output: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return _a(dict, output["data"]), _a(dict, output["metadata"])


def _stream_name(said: object) -> StreamName:
    if said == "stdout" or said == "stderr":
        return said
    raise TypeError(f"no stream is called {str(said)[:80]!r}")


def _a(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value
