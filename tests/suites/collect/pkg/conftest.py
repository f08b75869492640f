import pytest

@pytest.fixture
def shadowed(shadowed, root):
    return shadowed

@pytest.fixture(autouse=True)
def in_pkg(): yield
