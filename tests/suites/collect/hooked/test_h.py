import pytest
def test_replaced(): pass
def test_none(): pass
def test_other(root): pass
@pytest.mark.parametrize("x", [1, 2])
def test_p(x): pass
class TestH:
    def test_i(self): pass
