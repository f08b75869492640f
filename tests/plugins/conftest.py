"""Where the environment with the plugins is."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def plugin_python() -> str:
    """The interpreter of an environment with hasten and the plugins of requirements.txt."""
    python = os.environ.get("HASTEN_PLUGIN_PYTHON")
    if not python:
        pytest.skip("no environment with the plugins: `make plugins` prepares one and sets HASTEN_PLUGIN_PYTHON")
    return os.path.abspath(python)
