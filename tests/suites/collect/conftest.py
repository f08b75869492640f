import pytest

@pytest.fixture
def root():
    return 1

@pytest.fixture
def shadowed():
    return "root"

@pytest.fixture(autouse=True)
def everywhere(request):
    yield

@pytest.fixture(params=["p", 2, None, 3.5, b"b", object], scope="module")
def many(request):
    return request.param

@pytest.fixture(scope="session", params=[1, 2], ids=["one", "two"])
def wide(request):
    return request.param

def pytest_make_parametrize_id(config, val, argname):
    if val == "hooked":
        return "by-hook"

def pytest_collection_modifyitems(items):
    for item in items:
        if "tagged" in item.name:
            item.add_marker(pytest.mark.tag)
