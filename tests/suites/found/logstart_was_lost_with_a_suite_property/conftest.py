def pytest_runtest_logstart(nodeid, location):
    if not CONFIG or not hasattr(CONFIG[0], "workerinput"):
        with open("reports.log", "a") as f:
            f.write(f"test_property.py: {nodeid} {location}\n")


def pytest_runtest_logfinish(nodeid, location):
    if not hasattr(CONFIG[0], "workerinput"):
        with open("reports.log", "a") as f:
            f.write(f"test_property.py: end {nodeid}\n")


CONFIG = []


def pytest_sessionstart(session):
    CONFIG.append(session.config)
