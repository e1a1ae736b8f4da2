"""A recording: a folder of runs that one can commit, and that answers for the provider afterwards.

    recording.json          the format, and which offer each model's name stood for
    runs/ADDRESS-N.json     what was asked and what came of it, the N-th time at that address
    artifacts/SHA256        what is long: figures, files that code left, much text

A run's address is made from what the cell wrote, never from who did it: the key of the Execution, or, in a container,
the chain of all runs there. No path of this machine, no key and no token is in it; what code printed is as it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from ipy_codeinterp.errors import BadRecording, StoreError
from ipy_codeinterp.execution import Execution, File, Result, Step
from ipy_codeinterp.shield import masked_execution
from ipy_codeinterp.store import journal, packing

FORMAT = 1
RUN = re.compile(r"([0-9a-f]{64})-([0-9]+)\.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded run: the name of its file, what was asked (fields that are not as usual), and what came of it."""

    name: str
    asked: Mapping[str, Any]
    content: Mapping[str, Any] = field(repr=False)

    @property
    def offer(self) -> str:
        return f"{self.content.get('model', '')}@{self.content.get('provider', '')}"

    @property
    def isolation(self) -> str | None:
        return self.content.get("isolation")


class Recording:
    """The folder, and how far this session has come in it. Any thread may call.

    `take` gives the recorded run of an Execution, `keep` writes one. Both count: equal executions that were recorded
    n times have n entries, given in that order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._entries = _read_entries(folder)  # by name
        self._times: Counter[str] = Counter()  # by address: how often it was passed
        self._chains: dict[str, str] = {}  # by container: the address of the last run in it
        self._used: set[str] = set()  # names
        self.made = 0  # runs that were written

    @classmethod
    def existing(cls, folder: Path) -> Recording:
        """The recording in `folder`. Raises `BadRecording` where there is none."""
        if not (folder / "recording.json").is_file():
            raise BadRecording(f"there is no recording in {folder}", hint="make one: ipy-codeinterp record NOTEBOOK")
        return cls(folder)

    @property
    def entries(self) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(self._entries.values())

    @property
    def unused(self) -> tuple[Entry, ...]:
        """The entries nobody has asked for so far, nor written."""
        with self._lock:
            return tuple(entry for name, entry in self._entries.items() if name not in self._used)

    @property
    def used(self) -> int:
        """How many entries were given or written."""
        return len(self._used)

    # --- runs ---

    def address(self, execution: Execution) -> str:
        """Where the next run of `execution` stands (64 hex digits)."""
        key = portable(execution).key
        if execution.container is None:
            return key
        with self._lock:
            before = self._chains.get(execution.container, "")
        return hashlib.sha256(f"{before}\n{key}".encode()).hexdigest()

    def peek(self, execution: Execution) -> Entry | None:
        """What `take` would give."""
        with self._lock:
            address = self.address(execution)
            return self._entries.get(f"{address}-{self._times[address] + 1}.json")

    def take(self, execution: Execution) -> Entry | None:
        """The next recorded run of `execution`, which counts as passed; None where there is none."""
        with self._lock:
            entry = self.peek(execution)
            if entry is not None:
                self._pass(execution, entry)
            return entry

    def times(self, execution: Execution) -> int:
        """How often a run at this address was passed already."""
        return self._times[self.address(execution)]

    def keep(self, execution: Execution, result: Result, contents: Mapping[str, bytes]) -> Entry:
        """Write `result`; `contents` has the files that the code left, by sha256. Raises `StoreError`."""
        with self._lock:
            address = self.address(execution)
            name = f"{address}-{self._times[address] + 1}.json"
            try:
                entry = Entry(
                    name, asked_of(masked_execution(execution)), self._written(name, execution, result, contents)
                )
            except OSError as error:
                raise _unwritable(self.folder, error) from None
            self._entries[name] = entry
            self.made += 1
            self._pass(execution, entry)
            return entry

    def ended(self, container: str) -> None:
        """That container was ended: the next run of that name begins a chain of its own."""
        with self._lock:
            self._chains.pop(container, None)

    def result(self, entry: Entry) -> Result:
        """What was recorded, as `source="replay"`. Raises `BadRecording` where the files do not hold it."""
        try:
            content = packing.unpacked(dict(entry.content), partial(_text, self.folder))
            return journal.result_of({**content, "native": {}, "source": "replay"})
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise _damaged(self.folder / "runs" / entry.name, error) from None

    def content(self, file: File) -> bytes:
        """What is in a file that a recorded run left."""
        if file.sha256 is None or not packing.SHA256.fullmatch(file.sha256):
            raise BadRecording(f"{file.name} is in no recording", hint="give one of result.files")
        try:
            return (self.folder / "artifacts" / file.sha256).read_bytes()
        except OSError as error:
            raise _damaged(self.folder / "artifacts" / file.sha256, error) from None

    # --- inside ---

    def _pass(self, execution: Execution, entry: Entry) -> None:
        address = entry.name.partition("-")[0]
        self._times[address] += 1
        self._used.add(entry.name)
        if execution.container is not None:
            self._chains[execution.container] = address

    def _keep_artifact(self, sha256: str, pieces: Iterable[bytes]) -> None:
        if not (self.folder / "artifacts" / sha256).exists():
            _write(self.folder / "artifacts" / sha256, pieces)

    def _written(
        self, name: str, execution: Execution, result: Result, contents: Mapping[str, bytes]
    ) -> dict[str, Any]:
        for each in contents.values():
            self._keep_artifact(hashlib.sha256(each).hexdigest(), [each])

        def keep(artifact: packing.Artifact) -> None:
            self._keep_artifact(artifact.sha256, artifact.pieces())

        told = journal.content_of(_anywhere(result))
        told = {key: value for key, value in told.items() if key not in ("native", "source")}
        content: dict[str, Any] = json.loads(journal.to_json(packing.packed(told, keep)))
        asked = packing.packed(asked_of(masked_execution(execution)), keep)
        _write(self.folder / "runs" / name, [_json({"asked": asked, "result": content})])
        self._note_offer(execution.model, result.offer)
        return content

    def _note_offer(self, model: str | None, offer: str) -> None:
        head = _read_head(self.folder)
        offers = {**head.get("offers", {}), **({model: offer} if model else {})}
        if head != (after := {"format": FORMAT, "offers": offers}):
            _write(self.folder / "recording.json", [_json(after)])


def portable(execution: Execution) -> Execution:
    """The same, wherever it is asked: of a mounted folder only its own name counts."""
    return replace(execution, mounts=tuple(PurePath(folder).name for folder in execution.mounts))


def asked_of(execution: Execution) -> dict[str, Any]:
    """The fields of `execution` that are not what they usually are, as JSON."""
    asked: dict[str, Any] = {}
    for each in dataclasses.fields(Execution):
        value = getattr(portable(execution), each.name)
        if each.name == "body" or value != each.default:
            asked[each.name] = value
    for name in ("files", "inputs"):
        if name in asked:
            asked[name] = [{"name": f.name, "sha256": f.sha256, "size": f.size} for f in asked[name]]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}


def _anywhere(result: Result) -> Result:
    """Without what only this machine or this gateway understands."""
    parts = [
        replace(part, files=tuple(replace(file, path=None, id=None) for file in part.files))
        if isinstance(part, Step)
        else part
        for part in result.parts
    ]
    return replace(result, parts=tuple(parts))


def _read_head(folder: Path) -> dict[str, Any]:
    path = folder / "recording.json"
    try:
        head: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = int(head["format"])
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    if found > FORMAT:
        raise BadRecording(
            f"{folder} was recorded by a newer version (format {found}, not {FORMAT})",
            hint="upgrade ipy-codeinterp, or record anew: ipy-codeinterp record NOTEBOOK --all",
        )
    return head


def _read_entries(folder: Path) -> dict[str, Entry]:
    """Every run there is, by the name of its file; what has another name is somebody else's."""
    _read_head(folder)
    paths = sorted((folder / "runs").glob("*.json")) if folder.is_dir() else []
    return {path.name: _read_entry(folder, path) for path in paths if RUN.fullmatch(path.name)}


def _read_entry(folder: Path, path: Path) -> Entry:
    try:
        told = json.loads(path.read_text("utf-8"))
        asked = packing.unpacked(told["asked"], partial(_text, folder))
        str(asked["body"]), dict(told["result"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    return Entry(path.name, asked, told["result"])


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _text(folder: Path, sha256: str, form: packing.Form) -> str:
    with (folder / "artifacts" / sha256).open("rb") as file:
        return packing.text_of(file, form)


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """The whole file or nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with passing.open("wb") as file:
            file.writelines(pieces)
        os.replace(passing, path)
    finally:
        passing.unlink(missing_ok=True)


def _damaged(path: Path, error: Exception) -> BadRecording:
    return BadRecording(f"{path} cannot be read: {error}", hint="take it from your version control, or record it anew")


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"the recording cannot be written: {error} ({folder})", hint="make room, or name another folder")
