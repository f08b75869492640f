import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector, name, obj):
    if name == "test_replaced":
        return pytest.Function.from_parent(collector, name="test_other", keywords={"made": True})
    if name == "test_none":
        return []

class Own(pytest.Function):
    pass

@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    yield
