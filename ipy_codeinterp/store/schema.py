"""The tables of the store, and how a file of an earlier format becomes one of today's.

Money is whole nano-dollars: sums of integers are exact. What nobody knows is NULL. Times are text, UTC.
"""

from __future__ import annotations

import sqlite3
from decimal import ROUND_HALF_UP, Decimal

from ipy_codeinterp.store import limits

NANO = 1_000_000_000
FIRST = """
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    result_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled')),
    outcome TEXT,
    started_at TEXT NOT NULL,
    seconds REAL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    estimated INTEGER,
    billed TEXT,
    listed TEXT,
    price TEXT,
    request_id TEXT,
    owner_pid INTEGER NOT NULL
);
CREATE TABLE results (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    created_at TEXT NOT NULL,
    offer TEXT NOT NULL,
    outcome TEXT NOT NULL,
    execution TEXT NOT NULL,
    result TEXT NOT NULL
);
CREATE INDEX results_by_key ON results (key, created_at);
"""
SECOND = """
ALTER TABLE attempts RENAME TO attempts_1;
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    result_id TEXT NOT NULL,
    session TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled', 'unknown')),
    outcome TEXT,
    started_at TEXT NOT NULL,
    reserved INTEGER,                  -- the most it can cost
    held INTEGER NOT NULL DEFAULT 0,   -- what of that still counts against the budgets
    billed INTEGER,
    listed INTEGER,
    avoided INTEGER,                   -- what a Result that was served again would have cost
    source TEXT NOT NULL DEFAULT 'live',
    items TEXT,                        -- JSON: what was billed, by line
    price TEXT,                        -- whose, and of which day
    input_tokens INTEGER,
    output_tokens INTEGER,
    estimated INTEGER,
    queue REAL,
    connect REAL,
    first_byte REAL,
    thinking REAL,                     -- the model's time
    execution REAL,
    transfer REAL,
    seconds REAL,                      -- of the whole attempt
    request_id TEXT,
    notebook TEXT,
    labels TEXT,                       -- JSON
    owner_pid INTEGER NOT NULL,
    owner_started INTEGER
);
INSERT INTO attempts (id, result_id, session, provider, model, state, outcome, started_at, billed, listed, price,
                      input_tokens, output_tokens, estimated, seconds, request_id, owner_pid)
    SELECT id, result_id, '', provider, model, state, outcome, started_at, nano(billed), nano(listed), price,
           input_tokens, output_tokens, estimated, seconds, request_id, owner_pid FROM attempts_1;
DROP TABLE attempts_1;
CREATE INDEX attempts_by_time ON attempts (started_at);
CREATE INDEX attempts_open ON attempts (state) WHERE state != 'settled';
CREATE INDEX attempts_by_offer ON attempts (provider, model);
CREATE TABLE budgets (
    scope TEXT PRIMARY KEY,            -- session:ID or day:YYYY-MM-DD
    spent INTEGER NOT NULL,
    held INTEGER NOT NULL
);
CREATE TABLE months (                  -- what is left of attempts that were deleted for their age
    month TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    ok INTEGER NOT NULL,
    billed INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    unknown INTEGER NOT NULL,          -- of the calls, those whose cost nobody knows
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (month, provider, model)
);
CREATE TABLE batches (                 -- executions that were put aside
    id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    execution TEXT NOT NULL,           -- JSON
    offer TEXT NOT NULL,               -- as asked
    terms TEXT NOT NULL,               -- JSON
    tries INTEGER NOT NULL,
    not_before TEXT NOT NULL,
    error TEXT,                        -- the last one
    run_id TEXT,                       -- of the last run, and of its Result
    owner TEXT,                        -- who has taken it
    spent INTEGER NOT NULL,            -- what runs without a Result may have cost
    notebook TEXT
);
CREATE INDEX batches_by_state ON batches (state, offer, not_before);
"""
THIRD = """
ALTER TABLE batches RENAME TO batches_2;
DROP INDEX batches_by_state;
CREATE TABLE batches (                 -- executions that were put aside
    id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('waiting', 'running', 'sent', 'cancelling', 'done', 'failed', 'expired', 'cancelled')),
    execution TEXT NOT NULL,           -- JSON
    offer TEXT NOT NULL,               -- as asked
    terms TEXT NOT NULL,               -- JSON
    tries INTEGER NOT NULL,
    not_before TEXT NOT NULL,
    error TEXT,                        -- the last one
    run_id TEXT,                       -- of the last run, and of its Result
    owner TEXT,                        -- who has taken it
    spent INTEGER NOT NULL,            -- what runs without a Result may have cost
    notebook TEXT,
    by_vendor INTEGER NOT NULL,        -- whether it goes to its vendor's own batches
    sending TEXT                       -- with which it went there
);
INSERT INTO batches SELECT *, 0, NULL FROM batches_2;
DROP TABLE batches_2;
CREATE INDEX batches_by_state ON batches (state, offer, not_before);
CREATE TABLE sendings (                -- vendors' batches, of several of ours each
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sending', 'sent', 'ended')),
    began_at TEXT NOT NULL,            -- just before it was sent
    count INTEGER NOT NULL,            -- of ours
    vendor_id TEXT,                    -- what the vendor calls it, once that is known
    owner TEXT                         -- who looks after it
);
CREATE TABLE artifacts (               -- what is long in Results, once for all that use it
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,       -- of the content
    size INTEGER NOT NULL,             -- bytes
    content BLOB NOT NULL
);
CREATE TABLE uses (
    result_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (result_id, sha256)
) WITHOUT ROWID;
CREATE INDEX uses_by_artifact ON uses (sha256);
CREATE TRIGGER result_deleted AFTER DELETE ON results BEGIN
    DELETE FROM uses WHERE result_id = old.id;
END;
CREATE TRIGGER use_deleted AFTER DELETE ON uses BEGIN
    DELETE FROM artifacts WHERE sha256 = old.sha256 AND NOT EXISTS (SELECT 1 FROM uses WHERE sha256 = old.sha256);
END;
"""
FORMATS = (FIRST, f"{SECOND}{limits.SCHEMA};", THIRD)
VERSION = len(FORMATS)


def version_of(connection: sqlite3.Connection) -> int:
    """The format of the file; 0 is one that is new."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to today's format, inside the transaction of the caller."""
    connection.create_function("nano", 1, _nano, deterministic=True)
    for script in FORMATS[version_of(connection) :]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def to_nano(money: Decimal | None) -> int | None:
    """USD as whole nano-dollars, a half rounded up."""
    return None if money is None else int((money * NANO).to_integral_value(ROUND_HALF_UP))


def from_nano(amount: int | None) -> Decimal | None:
    """The way back."""
    return None if amount is None else Decimal(amount) / NANO


def _nano(text: str | None) -> int | None:
    return None if text is None else to_nano(Decimal(text))


def _statements(script: str) -> list[str]:
    """Each ends with its line. `executescript` would commit what the caller has begun."""
    found = [""]
    for line in script.splitlines(keepends=True):
        found[-1] += line.partition("--")[0]
        if sqlite3.complete_statement(found[-1]):
            found.append("")
    return [statement for statement in found if statement.strip()]
