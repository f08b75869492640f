import unittest


class TestCase(unittest.TestCase):
    def test_in_parts(self):
        for i in range(2):
            with self.subTest(i=i):
                self.assertEqual(i, 0)
