"""From one revision of the schema to the next and back, keeping what is there.

A revision is a file `versions/rYYYYMMDD_HHMM_name.py`, whose name is its id; `make migration
NAME=…` begins one with what differs between `metaport.db.tables` and the last revision.

**The revisions are one line, in the order of their names.** Two that were begun at the same time
are put in line by naming the other in `down_revision`, and by a later name. What has been released
is not changed.

A step writes out the tables as they are then (`metaport.db.tables` moves on), and says how to go
back. All steps of an upgrade are one transaction: what fails leaves the schema as it was. On
PostgreSQL a server that goes on working waits for the locks of a step: a new column is nullable or
has a constant default, a constraint on a filled table is added NOT VALID and validated later, and
rows are rewritten by the program, not by the step.
"""
