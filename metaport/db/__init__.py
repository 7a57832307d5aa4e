"""The database: SQLite in the data directory, or PostgreSQL.

1. `engine.open_engine` connects and creates the tables of `schema` where they are missing.
2. `ledger.SqlLedger` is `metering.ledger.Ledger` on it: rows and checkpoint in one transaction.

**Both databases hold the same tables and answer the same contract suite.** Not supported yet:
upgrades from one schema version to the next, partitions, copying from one database to another.
"""
