"""What came of each call, a row each: in a file to which rows are only added, so that a kill takes none away."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from ipy_codeinterp.bench.plan import Call, Phase, Plan, from_json, to_json
from ipy_codeinterp.errors import InvalidInput, StoreError

PLAN, ROWS, REPORT = "plan.json", "rows.jsonl", "report.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One call. Three verdicts: `outcome` is the Result's, or the kind of error where there is none; `ok` whether the
    code ran (None: nobody says); `right` whether its answer is (None: nobody knows it).

    Times are seconds: `intended` and `began` from the beginning of the phase, `latency` from the intended start. Money
    is USD, None where nobody knows; `listed` is what the tokens cost at list price.
    """

    id: str
    phase: Phase
    workload: str
    category: str
    size: int
    language: str
    kind: str
    seed: int
    offer: str
    repeat: int
    outcome: str
    ok: bool | None
    right: bool | None
    why: str
    verbatim: bool | None
    intended: float | None
    began: float
    latency: float
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    billed: Decimal | None
    listed: Decimal | None

    @property
    def success(self) -> bool | None:
        """Whether it did what it was for: the answer is right, or, where nobody knows it, the code ran."""
        return self.ok if self.right is None else self.right

    @property
    def task(self) -> tuple[str, int]:
        """What it asked, whatever the seed: repeats of it hang together."""
        return (self.workload, self.size)

    @property
    def question(self) -> tuple[Any, ...]:
        """The very question: two offers that were asked it can be compared."""
        return (self.workload, self.size, self.language, self.kind, self.repeat)


NAMES = tuple(each.name for each in fields(Row))
MONEY = ("billed", "listed")


def values_of(row: Row) -> list[Any]:
    """As JSON has it, in the order of `NAMES`."""
    return [str(value) if isinstance(value, Decimal) else value for value in (getattr(row, name) for name in NAMES)]


def row_of(values: list[Any]) -> Row:
    """Raises `ValueError`, `TypeError` or `ArithmeticError` for what is none."""
    content = dict(zip(NAMES, values, strict=True))
    return Row(**{**content, **{name: _money(content[name]) for name in MONEY}})


def _money(said: str | None) -> Decimal | None:
    return None if said is None else Decimal(said)


class Run:
    """The folder of one run: its plan, and its rows so far. Open it as a context to add to it; one process may."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.rows: dict[str, Row] = {}
        self.is_resumed = False  # then a Result may be in the journal that has no row yet
        self._file: int | None = None

    @classmethod
    def begun(cls, folder: Path, plan: Plan) -> Run:
        """A new one. Raises `StoreError` where it cannot be kept."""
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise _failed(folder, error) from error
        run = cls(folder, plan)
        run._write(PLAN, json.dumps(to_json(plan), indent=1))
        return run

    @classmethod
    def found(cls, folder: Path) -> Run:
        """One that was begun before. Raises `InvalidInput` where there is none."""
        try:
            content = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{folder.name} is no run of a benchmark: {error}", hint="bench runs lists them"
            ) from None
        run = cls(folder, from_json(content))
        run.is_resumed = True
        run.rows = {row.id: row for row in _read(folder / ROWS)}
        return run

    def __enter__(self) -> Self:
        """Raises `InvalidInput` where another process is at it, and `StoreError` where nothing can be written."""
        try:
            self._file = os.open(self.folder / ROWS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.rows = {row.id: row for row in _read(self.folder / ROWS)}
            self._cut_torn_line()
        except BlockingIOError:
            self.__exit__()
            raise InvalidInput(f"{self.folder.name} is under way in another process", hint="let it end") from None
        except OSError as error:
            self.__exit__()
            raise _failed(self.folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def add(self, row: Row) -> None:
        """Keep it: when this returns a kill of this process takes nothing away. Raises `StoreError`."""
        assert self._file is not None
        self.rows[row.id] = row
        line = json.dumps(values_of(row), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            os.write(self._file, line)
        except OSError as error:
            raise _failed(self.folder, error) from error

    def row(self, call: Call) -> Row | None:
        return self.rows.get(call.id)

    def keep(self, report: str) -> None:
        """The report of it, as JSON. Raises `StoreError`."""
        self._write(REPORT, report)

    def _write(self, name: str, text: str) -> None:
        """Whole, or not there at all."""
        try:
            part = self.folder / f"{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(self.folder / name)
        except OSError as error:
            raise _failed(self.folder, error) from error

    def _cut_torn_line(self) -> None:
        """What a kill left half written is not there: the call is made again."""
        assert self._file is not None
        content = (self.folder / ROWS).read_bytes()
        os.ftruncate(self._file, content.rfind(b"\n") + 1)
        os.lseek(self._file, 0, os.SEEK_END)


def _read(path: Path) -> Iterator[Row]:
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                with contextlib.suppress(ValueError, TypeError, ArithmeticError):
                    yield row_of(json.loads(line))


def runs(root: Path) -> list[Path]:
    """The folders of all runs, the newest first."""
    found = [each.parent for each in root.glob(f"*/{PLAN}")] if root.is_dir() else []
    return sorted(found, key=lambda folder: (folder / PLAN).stat().st_mtime_ns, reverse=True)


def _failed(folder: Path, error: OSError) -> StoreError:
    hint = "make room, or set IPY_CODEINTERP_DATA_DIR to another folder"
    return StoreError(f"{folder} cannot be used: {error.strerror or error}", hint=hint)
