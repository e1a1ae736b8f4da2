"""What is long in Results, kept once by its content, for as long as a Result uses it.

Written and read in pieces, inside the transaction of the caller. Who deletes or replaces a Result need not think of
its artifacts: triggers of the schema delete those that no other Result uses.
"""

from __future__ import annotations

import sqlite3

from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.store.packing import Artifact, Form, text_of

BESIDE = 1024  # bytes that a row needs beside its content, at most


def keep(connection: sqlite3.Connection, artifact: Artifact, result_id: str) -> None:
    """Note that the Result uses `artifact`, and keep that if nobody did. Raises `StoreError` for one too large."""
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - BESIDE
    if artifact.size > most:
        raise too_large(artifact.size, most)
    row = (artifact.sha256, artifact.size, artifact.size)
    made = connection.execute("INSERT OR IGNORE INTO artifacts (sha256, size, content) VALUES (?, ?, zeroblob(?))", row)
    if made.rowcount == 1 and made.lastrowid is not None:
        with connection.blobopen("artifacts", "content", made.lastrowid) as content:
            for piece in artifact.pieces():
                content.write(piece)
    connection.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (result_id, artifact.sha256))


def read(connection: sqlite3.Connection, sha256: str, form: Form) -> str:
    """The text of an artifact. Raises `LookupError` where it is not kept (any more)."""
    row = connection.execute("SELECT id FROM artifacts WHERE sha256 = ?", (sha256,)).fetchone()
    if row is None:
        raise LookupError(f"no artifact {sha256}")
    with connection.blobopen("artifacts", "content", row[0], readonly=True) as content:
        return text_of(content, form)


def too_large(size: int, most: int) -> StoreError:
    """Of one thing that is larger than any row may be (bytes)."""
    return StoreError(
        f"this result is not kept: {size >> 20} MB in one piece, where the journal takes {most >> 20} MB",
        hint="let the code write it to a file",
    )
