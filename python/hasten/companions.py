"""What plugins keep in the process that runs a test, and would miss in the one that reports it.

Reports travel whole, but not what a plugin has filed under a report, or gathers in an object of its own until the
session ends. Registered only where one of these plugins is loaded:

pytest-bdd files each scenario under its report object, for the cucumber and terminal reporters. pytest-profiling
lists the profiles of its process, to merge them. VS Code's plugin sends a message for each test and knows the path of
a test only where that runs; messages of several processes would mix in its pipe.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

ATTRIBUTE = "hasten_kept"


def _scenarios() -> Any:
    module = sys.modules.get("pytest_bdd.reporting")
    return getattr(module, "test_report_context_registry", None)


def _profiling(config: pytest.Config) -> Any:
    if "pytest_profiling" not in sys.modules:
        return None
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "Profiling" and isinstance(getattr(plugin, "profs", None), list):
            return plugin
    return None


def _vscode(config: pytest.Config) -> Any:
    plugin = config.pluginmanager.get_plugin("vscode_pytest")
    return plugin if isinstance(getattr(plugin, "map_id_to_path", None), dict) else None


def _needed(config: pytest.Config) -> bool:
    return _scenarios() is not None or "pytest_profiling" in sys.modules or _vscode(config) is not None


def install_in_template(config: pytest.Config) -> None:
    if _needed(config):
        vscode = _vscode(config)
        if vscode is not None:
            config.pluginmanager.unregister(vscode)
        config.pluginmanager.register(InWorker(config), "hasten-companions")


def install_in_reporter(config: pytest.Config) -> None:
    if _needed(config):
        config.pluginmanager.register(InReporter(config), "hasten-companions")


def reconnect(config: pytest.Config) -> None:
    """A connection of pytest-rerunfailures made before a forced fork: workers on one socket would mix their answers."""
    db: Any = getattr(config, "failures_db", None)
    if type(db).__name__ != "ClientStatusDB":
        return
    given = config.workerinput  # type: ignore[attr-defined]
    keys = [key for key in ("sock_port", "statusdb_token") if key in given]
    db.sock.close()
    config.failures_db = type(db)(*(given[key] for key in keys))  # type: ignore[attr-defined]


class InWorker:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        scenarios = _scenarios()
        if scenarios is not None and report in scenarios:
            setattr(report, ATTRIBUTE, scenarios[report])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        profiling = _profiling(self.config)
        if profiling is not None and profiling.profs:
            self.config.workeroutput[ATTRIBUTE] = list(profiling.profs)  # type: ignore[attr-defined]
            profiling.profs.clear()  # else every worker would write the merged file


class InReporter:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        kept = report.__dict__.pop(ATTRIBUTE, None)
        if kept is not None:
            _scenarios()[report] = kept
        vscode = _vscode(self.config)
        if vscode is not None:
            self._tell_vscode(vscode, report)

    def _tell_vscode(self, vscode: Any, report: Any) -> None:
        path = self.config.rootpath / report.nodeid.split("::", 1)[0]
        vscode.map_id_to_path[report.nodeid] = path
        if report.when == "setup" and report.failed:  # pytest's reports do not show it this one: an interaction does
            crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
            name = "AssertionError" if crash.startswith("assert ") else crash.partition(":")[0]
            call = types.SimpleNamespace(excinfo=types.SimpleNamespace(typename=name))
            node = types.SimpleNamespace(nodeid=report.nodeid, path=path)
            vscode.pytest_exception_interact(node=node, call=call, report=report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        profiles = getattr(node, "workeroutput", {}).pop(ATTRIBUTE, None)
        profiling = _profiling(self.config)
        if profiles and profiling is not None:
            profiling.profs.extend(profiles)
