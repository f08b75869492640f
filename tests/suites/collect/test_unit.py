import unittest
class Cases(unittest.TestCase):
    def setUp(self): pass
    def test_u(self): pass
    @unittest.skip("s")
    def test_s(self): pass
class TestCases(unittest.IsolatedAsyncioTestCase):
    async def test_a(self): pass
class AnyName(Cases):
    def test_more(self): pass
def test_f(root): pass
