"""pytest's fixtures for the JUnit file, ``record_testsuite_property`` and ``record_xml_attribute``, in workers.

The file is the reporter's; in a worker these fixtures find a stand-in for it, whose calls travel as events:
``("g", name, value)`` a property of the test suite, ``("a", nodeid, name, value)`` an attribute of a test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from _pytest.junitxml import xml_key
from _pytest.reports import TestReport


class _Attributes:
    def __init__(self, events: list[tuple[Any, ...]], nodeid: str) -> None:
        self.events = events
        self.nodeid = nodeid

    def add_attribute(self, name: str, value: object) -> None:
        self.events.append(("a", self.nodeid, str(name), str(value)))

    def add_property(self, name: str, value: object) -> None:
        """Nobody of pytest's own calls it here: record_property puts its values into the report."""


# The fixture is a method of it, and failures show the values of fixtures.
_Attributes.__qualname__, _Attributes.__module__ = "_NodeReporter", "_pytest.junitxml"
_Attributes.add_attribute.__qualname__ = "_NodeReporter.add_attribute"


class Relay:
    """Stands for ``_pytest.junitxml.LogXML`` in a worker."""

    def __init__(self, events: list[tuple[Any, ...]], family: str) -> None:
        self.events = events
        self.family = "xunit1" if family == "legacy" else family

    def add_global_property(self, name: str, value: object) -> None:
        __tracebackhide__ = True
        if not isinstance(name, str):
            raise TypeError(f"name parameter needs to be a string, but {type(name).__name__} given")
        self.events.append(("g", name, str(value)))

    def node_reporter(self, nodeid: object) -> _Attributes:
        return _Attributes(self.events, str(nodeid))


# As above: plugins and failures show fixtures' values.
Relay.__qualname__, Relay.__module__ = "LogXML", "_pytest.junitxml"
Relay.add_global_property.__qualname__ = "LogXML.add_global_property"


def install(config: pytest.Config, events: list[tuple[Any, ...]]) -> None:
    """events: where calls are noted. Does nothing without --junitxml."""
    if getattr(config.option, "xmlpath", None):
        relay = Relay(events, str(config.getini("junit_family")))
        config.stash[xml_key] = relay  # type: ignore[misc]
        config.pluginmanager.register(relay)  # pytest_unconfigure of pytest's junitxml will unregister it


class Player:
    """Does in the reporter what the fixtures would have done."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.seen: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)  # by worker
        self.written: Counter[tuple[str, str]] = Counter()

    def play(self, event: tuple[Any, ...], node: Any) -> None:
        xml = self.config.stash.get(xml_key, None)
        if xml is None:
            return
        if event[0] == "g":
            self._property(xml, event[1:], node.gateway.id if node is not None else "")
            return
        _, nodeid, name, value = event
        report = TestReport(nodeid, ("", None, nodeid), {}, "passed", None, "setup")
        if node is not None:
            report.node = node  # type: ignore[attr-defined]
        xml.node_reporter(report).add_attribute(name, value)

    def _property(self, xml: Any, pair: tuple[str, str], worker: str) -> None:
        """A session fixture of every worker says it: written as often as one worker has said it, at the most."""
        self.seen[worker][pair] += 1
        if self.seen[worker][pair] > self.written[pair]:
            self.written[pair] += 1
            xml.add_global_property(*pair)
