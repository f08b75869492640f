"""Random numbers over a fork: the same stream everywhere where the suite has seeded them, else different ones."""

from __future__ import annotations

import random
import sys
from typing import Any


class Seeds:
    """CPython reseeds ``random`` in every fork: a suite that has seeded it gets its state back."""

    def __init__(self) -> None:
        self.seeded = False
        self._original = random.seed
        random.seed = self._seed

    def _seed(self, *args: Any, **kwargs: Any) -> None:
        self.seeded = True
        self._original(*args, **kwargs)

    def stop(self) -> None:
        """No longer looks at who seeds."""
        if random.seed == self._seed:
            random.seed = self._original

    def before_fork(self) -> None:
        self._state = random.getstate()

    def after_split(self) -> None:
        if self.seeded:
            random.setstate(self._state)

    def after_fork(self) -> None:
        self.after_split()
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            _reseed_numpy(numpy_random)


def _reseed_numpy(numpy_random: Any) -> None:
    """A new stream for each worker, unless the suite has seeded numpy's global generator."""
    try:
        generator = numpy_random.mtrand._rand._bit_generator
        if getattr(generator, "_seed_seq", None) is not None:
            numpy_random.seed()
    except AttributeError:
        pass
