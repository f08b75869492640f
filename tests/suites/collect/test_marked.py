import pytest
pytestmark = [pytest.mark.tag, pytest.mark.usefixtures("shadowed")]
def test_m(): pass
class TestM:
    pytestmark = pytest.mark.other
    def test_n(self, root): pass
