"""The parts of Gemini's replies as they come: words, code, what came of the code, and figures that follow it.

A part may be anything. What has the wrong type counts as not said; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp.dialects import images, prompt
from ipy_codeinterp.dialects.reading import mapping, text
from ipy_codeinterp.execution import (
    CodeDelta,
    Event,
    Execution,
    Outcome,
    Output,
    Phase,
    Step,
    Stream,
    Text,
    TextDelta,
)
from ipy_codeinterp.outputs import Collector

OUTCOMES: Mapping[str, Outcome] = {
    "OUTCOME_OK": "ok",
    "OUTCOME_FAILED": "error",
    "OUTCOME_DEADLINE_EXCEEDED": "limit",
}
_FROM_URL_SAFE = str.maketrans("-_", "+/")  # bytes in JSON may be written with either alphabet


@dataclass(slots=True)
class Running:
    """A step as far as it has come. Its `outcome` is "unknown" until somebody says."""

    id: str
    code: str
    has_result: bool = False
    outcome: Outcome = "unknown"
    collector: Collector = field(default_factory=Collector)


class Parts:
    """Feed it each part; `said` is all of them as they came: signatures have to go back unchanged."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._all: list[list[str] | Running] = []  # words in pieces, or a step
        self._steps: list[Running] = []
        self._waiting: dict[str, list[Running]] = {}  # for a result, by id
        self.said: list[dict[str, Any]] = []

    @property
    def code(self) -> str | None:
        return self._steps[-1].code if self._steps else None

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(output for step in self._steps for output in step.collector.outputs)

    @property
    def out_of_time(self) -> bool:
        """Whether the last code was stopped at the time limit."""
        return bool(self._steps) and self._steps[-1].outcome == "limit"

    def feed(self, part: Mapping[str, Any]) -> Iterator[Event]:
        """What the part tells. Thoughts are kept to be said again, and are no words for the user."""
        if not part:
            return
        self.said.append(dict(part))
        if part.get("thought") is True:
            return
        if words := text(part.get("text")):
            self._word(words)
            yield TextDelta(words)
        if ran := mapping(part.get("executableCode")):
            step = self._begin(text(ran.get("id")), text(ran.get("code")))
            yield CodeDelta(step.code)
            yield Phase("running")
        if result := mapping(part.get("codeExecutionResult")):
            yield from self._result(result)
        if figure := mapping(part.get("inlineData")):
            yield from self._figure(figure)

    def _word(self, words: str) -> None:
        last = self._all[-1] if self._all else None
        if isinstance(last, list):
            last.append(words)
        else:
            self._all.append([words])

    def _begin(self, id: str, code: str) -> Running:
        step = Running(id, code.replace("\r\n", "\n"))
        self._all.append(step)
        self._steps.append(step)
        self._waiting.setdefault(id, []).append(step)
        return step

    def _result(self, result: Mapping[str, Any]) -> Iterator[Event]:
        step = self._step_of(text(result.get("id")))
        step.has_result = True
        step.outcome = OUTCOMES.get(text(result.get("outcome")), "unknown")
        if output := text(result.get("output")):
            # One text for both: what was printed where it went well, else what is wrong.
            stream = Stream("stderr" if step.outcome in ("error", "limit") else "stdout", output)
            step.collector.feed(stream)
            yield stream

    def _step_of(self, id: str) -> Running:
        """The last step without a result, by its id where there is one: older models give none."""
        last = self._steps[-1] if self._steps else None
        if last and not last.has_result and (not id or last.id in ("", id)):
            step = last
        else:
            waiting = self._waiting.get(id) if id else None
            step = waiting[-1] if waiting else self._begin(id, "")
        self._waiting[step.id].pop()
        return step

    def _figure(self, figure: Mapping[str, Any]) -> Iterator[Event]:
        """A figure is of the code before it; one that no code can have made is no output."""
        mime, data = text(figure.get("mimeType")), text(figure.get("data"))
        if not self._steps or not mime.startswith("image/"):
            return
        shown = images.from_base64(data.translate(_FROM_URL_SAFE) if "-" in data or "_" in data else data)
        self._steps[-1].collector.feed(shown)
        yield shown

    def finished(self) -> tuple[Text | Step, ...]:
        """All that came, in its order."""
        return tuple(Text("".join(part)) if isinstance(part, list) else self._step(part) for part in self._all)

    def _step(self, step: Running) -> Step:
        return Step(
            code=step.code,
            language="python",
            verbatim=prompt.is_verbatim(step.code, self._execution),
            outputs=step.collector.outputs,
            outcome=step.outcome,
            outcome_source="inferred" if step.outcome == "unknown" else "reported",
        )

    def without_figures(self) -> list[dict[str, Any]]:
        """The parts for the native reply."""
        return [_without_data(part) if "inlineData" in part else part for part in self.said]


def _without_data(part: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in mapping(part.get("inlineData")).items() if name != "data"}
    return {**part, "inlineData": kept}
