"""hasten runs an existing pytest suite, unchanged, in parallel on a C engine.

The command is a program of its own (``hasten run``); this package is its half inside of pytest's processes.
"""
