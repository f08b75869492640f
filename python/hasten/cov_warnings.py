"""pytest-cov's warnings: its own classes where it is installed, as users filter for them, else classes of that name."""

from __future__ import annotations

import importlib

import pytest


def _find(name: str, base: type[Warning]) -> type[Warning]:
    try:
        found: type[Warning] = getattr(importlib.import_module("pytest_cov"), name)
    except (ImportError, AttributeError):
        found = type(name, (base,), {"__module__": __name__})
    return found


PytestCovWarning = _find("PytestCovWarning", pytest.PytestWarning)
CovDisabledWarning = _find("CovDisabledWarning", PytestCovWarning)
CovReportWarning = _find("CovReportWarning", PytestCovWarning)
CentralCovContextWarning = _find("CentralCovContextWarning", PytestCovWarning)
