"""Databases moved, compared, backed up: `metaport db copy|verify|backup|restore`.

1. `commands` reads what was asked; `endpoint` names the databases, `rules` what stays behind.
2. `copying.copy` carries one into another, by the order in its docstring; `plan` looks first.
3. Sources and targets of each engine stand behind `ports`: `postgres_source`, `sqlite_source`,
   `mysql_source`; `postgres_target`, `sqlite_target`. Between them a row is text (`copy_text`);
   between two PostgreSQL servers it is what COPY streams, untouched.

4. `verification.verify` compares two of them, and finds the rows that differ.

**What is copied is on record in the target, chunk by chunk; a kill at any moment leaves whole
chunks, and a target that says it is unfinished.** Not supported: writing to MySQL, following
changes after the moment of the copy, owners and grants, large objects.
"""
