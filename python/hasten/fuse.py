"""Where hasten does pytest's own work faster: the C half of hook calls. ``HASTEN_FUSE=0`` or ``--no-fuse``: off."""

from __future__ import annotations

import itertools
import os
import sys

import pytest

KNOWN_PLUGGY = ("1.6.0", "1.7.0")


def install(pluginmanager: pytest.PytestPluginManager) -> bool:
    """Puts the C multicall under pluggy's seam; False when it is off or this pluggy is not known."""
    import pluggy
    from pluggy import _manager

    if os.environ.get("HASTEN_FUSE") == "0" or "--no-fuse" in sys.argv or _shows_own_frames(sys.argv):
        return False
    own = getattr(_manager, "_multicall", None)
    if pluggy.__version__ not in KNOWN_PLUGGY or getattr(pluginmanager, "_inner_hookexec", None) is not own:
        return False
    module = sys.modules[own.__module__]
    from hasten import _native

    _native.multicall_of(own, module._raise_wrapfail, own.__module__ == "pluggy._execution")
    pluginmanager._inner_hookexec = _native.multicall  # type: ignore[assignment]
    return True


def _shows_own_frames(argv: list[str]) -> bool:
    """Options under which failure texts show pytest's and pluggy's own frames: they are to look as ever."""
    return any(a in ("--full-trace", "--fulltrace", "--tb=native", "--debug", "--traceconfig") for a in argv) or any(
        a == "--tb" and b == "native" for a, b in itertools.pairwise(argv)
    )
