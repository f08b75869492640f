import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.keywords["by_wrapper_" + report.when] = 1
    return report
