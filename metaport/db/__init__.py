"""The database: SQLite in the data directory, or PostgreSQL.

1. `engine.open_engine` connects and looks at the revision of the schema (`revisions`). Where there
   is none, and on SQLite where it is an earlier one, `migrate.upgrade` runs the steps of
   `migrations`; elsewhere that is for a person to say (`console`: `metaport db upgrade`).
2. `schema.metadata` is what the steps lead to: each part's tables in a module of `tables`, from
   which `table_document` makes the table definition document.
3. `ledger.SqlLedger` is `metering.ledger.Ledger` on it: rows and checkpoint in one transaction.
4. `messages.SqlMessages` holds every message likewise, and reads them page by page.
5. `rooms.SqlRooms` holds what is laid down about rooms; hubs read what has changed.

**Both databases hold the same tables and answer the same contract suite.** Copying from one to the
other is `metaport.migration`'s.
"""
