"""The whole schema: what the modules of `metaport.db.tables` say, gathered."""

from importlib import import_module
from pkgutil import iter_modules

from metaport.db import tables

for _found in iter_modules(tables.__path__):
    import_module(f"{tables.__name__}.{_found.name}")

metadata = tables.metadata
