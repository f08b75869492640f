"""Random small pytest suites from a seed, and the comparison of plain pytest with hasten on them.

`make(seed)` gives a suite; the same seed gives the same suite in every version of Python. differential.py runs both and
says what differs, minimise.py makes a difference small. `python tests/suites/generator` is the command line of it all.
"""

from generator.suite import Suite, make

__all__ = ["Suite", "make"]
