class TestG:
    def pytest_generate_tests(self, metafunc):
        if "g" in metafunc.fixturenames:
            metafunc.parametrize("g", ["a"])
    def test_g(self, g): pass
    def test_no(self): pass
def test_h(): pass
