"""hasten runs an existing pytest suite, unchanged, in parallel on a C engine.

The command is a program of its own (``hasten run``); this package is its half inside of pytest's processes.

PYTEST_DONT_REWRITE: pytest would else warn that this package, which has a plugin, was imported before pytest could
rewrite its asserts (it has none), and suites that turn warnings into errors would not start.
"""
