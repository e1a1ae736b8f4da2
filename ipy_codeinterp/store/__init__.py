"""What is kept: every attempt and its cost (the ledger), every Result (the journal), in one SQLite file."""
