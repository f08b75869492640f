"""What options add up to."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

options = pytest.importorskip("hasten.options", reason="hasten is not built in this environment")
xdist = pytest.importorskip("hasten.xdist")


def given(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**values)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 0),
        ("", 0),
        ("100", 100),
        ("512M", 2**29),
        ("2G", 2**31),
        ("1.5GiB", 3 * 2**29),
        ("1kb", 1024),
        ("1T", 2**40),
    ],
)
def test_sizes(text: str | None, size: int) -> None:
    assert options.parse_size(text) == size


@pytest.mark.parametrize("text", ["0", "-1G", "G", "one", "1X", "nan", "inf", "1e400", "1 2"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="not a size"):
        options.parse_size(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("3", 3), ("auto", "auto"), ("logical", "logical")])
def test_numbers_of_processes(text: str, number: int | str) -> None:
    assert xdist.parse_numprocesses(text) == number


@pytest.mark.parametrize("text", ["-1", "x", "", "1.5"])
def test_what_is_no_number_of_processes_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        xdist.parse_numprocesses(text)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, "auto"),
        ({"numprocesses": 4}, 4),
        ({"numprocesses": 0}, 0),
        ({"numprocesses": "logical"}, "logical"),
        ({"hasten": "auto"}, "auto"),
        ({"hasten": "3"}, 3),
        ({"hasten": "3", "numprocesses": 2}, 2),
        ({"tx": ["3*popen", "popen//python=x"]}, 4),
    ],
)
def test_the_wanted_number_of_workers(values: dict[str, Any], wanted: int | str) -> None:
    assert options.requested(given(**values)) == wanted


@pytest.mark.parametrize("text", ["-2", "many", ""])
def test_a_wrong_number_for_hasten_is_a_usage_error(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="--hasten"):
        options.requested(given(hasten=text))


@pytest.mark.parametrize("name", ["collectonly", "markers", "setupshow", "showfixtures", "cacheshow"])
def test_what_has_an_order_runs_in_one_process(name: str) -> None:
    plan = options.resolve(given(**{name: True}, numprocesses=4), 8)
    assert plan.n_workers == 0
    assert plan.plain.startswith("--")


def test_automatic_numbers_have_a_limit_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "debugger_here", lambda: False)
    assert options.resolve(given(numprocesses="auto", maxprocesses=3), 8).n_workers == 3
    assert options.resolve(given(numprocesses=5, maxprocesses=3), 8).n_workers == 5
    assert options.resolve(given(numprocesses=0), 8).plain == "-n 0"
    assert options.resolve(given(), 1).plain == "one core"
    assert options.resolve(given(numprocesses=1), 8).n_workers == 1


def test_nodes_have_what_plugins_ask_for(pytestconfig: pytest.Config) -> None:
    specs: list[Any] = []
    manager = xdist.NodeManager(pytestconfig, "uid", specs)
    node = xdist.Node(manager, "gw3", 4)
    specs.append(node.gateway.spec)
    assert node.workerinput.items() >= {"workerid": "gw3", "workercount": 4, "testrunuid": "uid"}.items()
    assert (node.gateway.id, node.gateway.spec.popen, node.gateway.spec.python) == ("gw3", True, None)
    assert node.gateway.spec.anything is None
    assert node.nodemanager.roots == []
    assert node.gateway._rinfo().version_info[:2] >= (3, 11)
    assert "gw3" in repr(node) + repr(node.gateway) + repr(node.gateway.spec)
