def test_p(shadowed): pass
class TestP:
    def test_q(self, root, in_pkg): pass
