"""Tables, each part's in a module of its own, with what they hold said in Korean and English.

A module here is found by `metaport.db.schema`; nothing else need be told of it. A comment is
"Korean / English", on every table and column. A change gets a step in `metaport.db.migrations`.
"""

from sqlalchemy import MetaData

# Named, so that a migration can drop on both databases what an earlier one made.
metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
        "uq": "%(table_name)s_unique_%(column_0_N_name)s",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)
