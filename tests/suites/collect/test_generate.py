def pytest_generate_tests(metafunc):
    if "g" in metafunc.fixturenames:
        metafunc.parametrize("g", [1, 2])

def test_g(g): pass
def test_not_g(root): pass
class TestG:
    def test_in_class(self, g): pass
