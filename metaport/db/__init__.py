"""The database: SQLite in the data directory, or PostgreSQL.

1. `engine.open_engine` connects and creates the tables of `schema` where they are missing, or
   brings those of an earlier version up to date by the steps of `upgrades`.
2. `ledger.SqlLedger` is `metering.ledger.Ledger` on it: rows and checkpoint in one transaction.
3. `messages.SqlMessages` holds every message likewise, and reads them page by page.

**Both databases hold the same tables and answer the same contract suite.** Not supported yet:
partitions, copying from one database to another, going back to an earlier schema version.
"""
