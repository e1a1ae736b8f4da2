"""A store with Results in it, as whoever looks back finds them."""

from __future__ import annotations

import base64
import struct
import zlib
from decimal import Decimal
from pathlib import Path

from ipy_codeinterp.execution import Cost, Display, Error, Execution, Output, Result, Step, Stream, Text
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import journal, ledger, place
from ipy_codeinterp.store.database import Database
from ipy_codeinterp.store.ledger import Attempt, Origin


def png(shade: int = 0, *, side: int = 8, level: int = 6) -> str:
    """A square of one shade, as base64; the same pixels are other bytes at another `level` of compression."""
    rows = b"".join(b"\0" + bytes([shade, shade, shade]) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, level)), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def result(id: str, *outputs: Output, code: str = "print(1)", **facts: object) -> Result:
    """One that ran `code`, with those outputs."""
    known = {"outcome": "ok", "provider": "local", "model": "claude", "cost": Cost(Decimal(0))}
    return Result(id, parts=(Step(code, verbatim=True, outputs=outputs),), **{**known, **facts})  # type: ignore[arg-type]


FIGURE = Display({"text/plain": "<Figure>", "image/png": png()}, {"image/png": {"alt": "a [black](x) square"}})
TABLE = Display({"text/plain": "   a\n0  1", "text/html": "<table><tr><td>1</td></tr></table>"}, {}, "execute_result")
FAILED = Error("ValueError", "no", ("Traceback (most recent call last)", "ValueError: no"))
TASK = Execution("Draw it.", kind="task", model="claude@anthropic")
ASKED = Result(
    "run_c0ffee",
    parts=(Text("I draw."), Step("plot()", outputs=(FIGURE,), outcome="ok"), Text("Done ```now```.")),
    outcome="ok",
    provider="anthropic",
    model="claude",
    cost=Cost(Decimal("0.25")),
)
RESULTS = (
    (Execution("# one\nprint(1)"), result("run_a1", Stream("stdout", "1\n"), TABLE, code="# one\nprint(1)")),
    (Execution("x <- 1", language="r"), result("run_a2", code="x <- 1")),
    (Execution("raise ValueError('no')"), result("run_b3", Stream("stdout", "2\n"), FAILED, outcome="error")),
    (TASK, ASKED),
)


def fill(folder: Path, results: tuple[tuple[Execution, Result], ...] = RESULTS) -> Settings:
    """Settings whose journal holds `results`, oldest first, with a ledger for the last that was billed."""
    settings = Settings(data_dir=folder)
    store = Database(place.of(folder).path, limit=1 << 26)
    for execution, each in results:
        store.run(lambda connection, e=execution, r=each: journal.insert(connection, e, r)).result()
    begun = Attempt.begun("att_1", "run_c0ffee", "anthropic", "claude", origin=Origin("s", "draw.ipynb"))
    lost = Attempt.begun("att_2", "run_b3", "local", "claude", reserved=Decimal("0.5"))
    for attempt in (begun, lost):
        store.write(lambda connection, attempt=attempt: ledger.reserve(connection, attempt))
    billed = begun.settled(outcome="ok", cost=Cost(Decimal("0.25")))
    for attempt in (billed, lost.settled(outcome="cancelled")):
        store.write(lambda connection, attempt=attempt: ledger.settle(connection, attempt))
    store.close()
    return settings
