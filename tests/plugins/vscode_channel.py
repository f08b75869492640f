"""Stands for the plugin that VS Code's Python extension loads into pytest: its channel, made anew from its protocol.

Each message is JSON after two header lines, written into the named pipe TEST_RUN_PIPE. A message carries the results
of tests by absolute id: the file's absolute path, then the rest of the node id. A test's path is known from its item,
so only in the process that runs it; an id is sent once by a process; whoever does not know the path sends the working
directory instead.
"""

import json
import os
import pathlib

import pytest

map_id_to_path = {}
sent = set()
writer = None


def absolute(nodeid, path):
    return "::".join([str(path), *nodeid.split("::")[1:]])


def send(identity, outcome, message):
    global writer
    if identity in sent:
        return
    sent.add(identity)
    if writer is None:
        writer = open(os.environ["TEST_RUN_PIPE"], "wb")  # noqa: SIM115 - until the session ends
    result = {identity: {"test": identity, "outcome": outcome, "message": message, "traceback": None, "subtest": None}}
    params = {"cwd": os.getcwd(), "status": "success", "result": result}
    text = json.dumps({"jsonrpc": "2.0", "params": params})
    data = f"content-length: {len(text)}\r\ncontent-type: application/json\r\n\r\n{text}".encode()
    for start in range(0, len(data), 4096):
        writer.write(data[start : start + 4096])
        writer.flush()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item):
    map_id_to_path[item.nodeid] = item.path
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_report_teststatus(report):
    if report.when == "call" or (report.when == "setup" and report.skipped):
        outcome = "success" if report.passed else "failure" if report.failed else "skipped"
        path = map_id_to_path.get(report.nodeid, pathlib.Path.cwd())
        send(absolute(report.nodeid, path), outcome, report.longreprtext if report.failed else None)
    return (yield)


def pytest_exception_interact(node, call, report):
    outcome = "failure" if call.excinfo.typename == "AssertionError" else "error"
    send(absolute(node.nodeid, node.path), outcome, report.longreprtext)


def pytest_unconfigure():
    if writer is not None:
        writer.close()
