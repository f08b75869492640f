import pytest

def pytest_generate_tests(metafunc):
    if "deep" in metafunc.fixturenames:
        metafunc.parametrize("deep", [1, 2])

def pytest_itemcollected(item):
    item.user_properties.append(("seen", item.name))
