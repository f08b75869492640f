"""Subtests of pytest 9."""

import pytest

pytest.importorskip("_pytest.subtests")


def test_all_well(subtests):
    for i in range(3):
        with subtests.test(msg="well", i=i):
            pass


def test_some_fail(subtests):
    for i in range(4):
        with subtests.test(msg="maybe", i=i):
            print("sub", i)
            assert i % 2 == 0


def test_some_skip(subtests):
    with subtests.test("skipping"):
        pytest.skip("sub skipped")
    with subtests.test("xfailing"):
        pytest.xfail("sub xfailed")
