"""Variables that come with a run, and those that go back when it has ended well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import values
from .channel import PIECE, Channel
from .outbox import MOST_FILE


class NotMade(Exception):
    """A value that was sent, and cannot be made here."""


class Variables:
    """Those of one name-space."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._packed: dict[str, bytearray] = {}  # by the file's name

    def take(self, head: dict[str, Any], body: bytes) -> None:
        if not head["append"]:
            self._packed[head["name"]] = bytearray()
        self._packed[head["name"]] += body

    def bind(self) -> NotMade | None:
        """Give what came its names; why that was not possible, if so. What came is forgotten then."""
        packed, self._packed = self._packed, {}
        for file, data in packed.items():
            name, suffix = values.name_and_suffix(file) or (file, "")
            try:
                self._namespace[name] = values.unpack(suffix, bytes(data))
            except values.Unfit as error:
                return NotMade(f"{name} was sent, but cannot be made here: {error}")
        return None

    def send(self, channel: Channel, names: Iterable[str]) -> None:
        """The values of `names` as files, or why there is none."""
        for name in names:
            suffix, data = self._packed_value(name)
            if len(data) > MOST_FILE:
                suffix, data = values.missing(f"it takes {len(data) >> 20} MB, and may take {MOST_FILE >> 20}")
            for start in range(0, len(data), PIECE):
                more = start + PIECE < len(data)
                channel.output("file", data[start : start + PIECE], name=values.file_name(name, suffix), more=more)

    def _packed_value(self, name: str) -> tuple[str, bytes]:
        if name not in self._namespace:
            return values.missing(f"the code left no variable {name}")
        try:
            return values.pack(self._namespace[name])
        except values.Unfit as error:
            return values.missing(str(error))
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a library that the code has changed
            return values.missing(f"it could not be read: {type(error).__name__}: {error}")
