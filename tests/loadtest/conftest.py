from importlib.util import find_spec

# The clients' packet loop has no twin in Python: without a C compiler there is nothing to test.
collect_ignore = [] if find_spec("loadtest._streams") else ["test_crowd.py"]
