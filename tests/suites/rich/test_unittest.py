"""unittest's own forms."""

import sys
import unittest


def setUpModule():
    TestCase.from_module = True


class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.number = 7

    def setUp(self):
        self.own = []

    def test_passes(self):
        self.assertEqual(self.number, 7)

    def test_fails(self):
        self.assertEqual(self.own, [1])

    @unittest.skip("unittest's skip")
    def test_skips(self):
        raise AssertionError

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("expected")

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

    def test_sub_tests(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)

    def test_cleans(self):
        self.addCleanup(print, "cleaned")
        print("out", file=sys.stderr)


class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.ready = True

    async def test_async(self):
        self.assertTrue(self.ready)

    async def test_async_fails(self):
        self.assertFalse(self.ready)


class TestBroken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("class set-up is broken")

    def test_a(self):
        pass
