def pytest_collectreport(report):
    if report.nodeid == "test_a.py":
        SESSION[0].shouldstop = "stop asked for"


def pytest_sessionstart(session):
    SESSION.append(session)


SESSION = []
