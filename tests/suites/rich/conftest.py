"""Hooks of many kinds, each of which leaves a trace in the output or in a report."""

import warnings

import pytest


def pytest_addoption(parser):
    parser.addoption("--status", type=int, default=None, help="Exit with this status.")
    parser.addini("colour", "Read by nobody.", default="green")


def pytest_configure(config):
    config.addinivalue_line("markers", "late: added in pytest_configure")
    warnings.warn(UserWarning("from configure"))


def pytest_report_header(config):
    return ["header: rich", f"status option: {config.getoption('--status')}"]


def pytest_report_collectionfinish(items):
    return f"collected in all: {len(items)}"


def pytest_generate_tests(metafunc):
    if "generated" in metafunc.fixturenames:
        metafunc.parametrize("generated", [1, 2, 3], ids=["one", "two", "three"])


def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in items if "test_never" not in item.nodeid]
    for item in items:
        if "hooked" in item.keywords:
            item.add_marker(pytest.mark.late)
            item.user_properties.append(("hooked", "yes"))


def pytest_itemcollected(item):
    if item.name == "test_noticed":
        item.user_properties.append(("noticed", item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and "hooked" in item.keywords:
        report.sections.append(("Hooked", "text from makereport"))
    return report


def pytest_report_teststatus(report, config):
    if report.when == "call" and report.passed and "hooked" in report.keywords:
        return "hooked", "H", ("HOOKED", {"purple": True})
    return None


def pytest_runtest_setup(item):
    if "no_setup" in item.keywords:
        pytest.skip("by pytest_runtest_setup")


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    terminalreporter.section("rich summary")
    for name in ("passed", "failed", "skipped", "xfailed", "xpassed", "error", "hooked", "deselected", "warnings"):
        terminalreporter.line(f"{name}: {len(terminalreporter.stats.get(name, []))}")
    terminalreporter.line(f"status so far: {int(exitstatus)}")


def pytest_sessionfinish(session, exitstatus):
    status = session.config.getoption("--status")
    if status is not None:
        session.exitstatus = status


@pytest.fixture(scope="session")
def for_session():
    yield "session"


@pytest.fixture(scope="package")
def for_package(for_session):
    return "package"


@pytest.fixture(scope="module")
def for_module(for_session):
    return "module"


@pytest.fixture(scope="class")
def for_class(for_module):
    return "class"


@pytest.fixture
def for_function(for_class):
    yield "function"


@pytest.fixture(params=["red", "blue"])
def coloured(request):
    return request.param


@pytest.fixture(scope="module", params=[10, 20])
def tens(request):
    return request.param
