"""pytest-cov's marker and fixtures, where a run is measured and pytest-cov is not installed."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "no_cover: disable coverage for this test.")


@pytest.fixture
def no_cover() -> None:
    """A test that asks for this fixture is not measured."""


@pytest.fixture
def cov(request: pytest.FixtureRequest) -> Any:
    """The coverage.Coverage of this run, or None."""
    controller = getattr(request.config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    return controller.cov if controller else None
