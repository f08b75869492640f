import functools
import pytest

def imported_helper(): pass
def test_imported(root): pass

def decorate(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)
    wrapper.note = "decorated"
    return wrapper

class Base:
    @pytest.fixture
    def of_base(self): return 1
    def test_base(self, of_base): pass
    def test_overridden(self): pass

class TestImported:
    def test_in_imported(self): pass
