def test_o(root): pass
class TestO:
    def test_p(self): pass
