"""Outcomes of every kind."""

import sys

import pytest


def test_one():
    pass


def test_two():
    print("printed by two")


def test_failing():
    print("printed by failing")
    print("to stderr", file=sys.stderr)
    left = {"a": 1, "b": [1, 2, 3]}
    assert left == {"a": 1, "b": [1, 2, 4]}


def test_raising():
    def inner(value):
        raise ValueError(f"no {value}")

    inner("way")


@pytest.mark.skip(reason="never mind")
def test_skipped():
    raise AssertionError


@pytest.mark.skipif(sys.version_info > (3,), reason="too new")
def test_skipped_if():
    raise AssertionError


def test_skipped_inside():
    pytest.skip("in the middle")


def test_imports_nothing():
    pytest.importorskip("a_module_that_nobody_has")


@pytest.mark.xfail(reason="known")
def test_xfails():
    raise RuntimeError("known")


@pytest.mark.xfail(reason="wrongly known")
def test_xpasses():
    pass


@pytest.mark.xfail(strict=True, reason="strict")
def test_strict():
    pass


@pytest.mark.xfail(raises=KeyError)
def test_xfail_of_another():
    raise ValueError("not a KeyError")


def test_xfails_inside():
    pytest.xfail("said so")


def test_fails_with_text():
    pytest.fail("plain text", pytrace=False)


@pytest.mark.no_setup
def test_hook_skips():
    raise AssertionError


@pytest.mark.hooked
def test_hooked():
    pass


def test_noticed():
    pass


def test_never():
    raise AssertionError


@pytest.mark.odd
@pytest.mark.parametrize("n", [1, 3, 5])
def test_odd(n):
    assert n % 2


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 1), pytest.param(1, 2, marks=pytest.mark.xfail), pytest.param(2, 3, id="two-three"), ("tab\t", "tab\t"), ("ü", "ü")],
)
def test_equal(a, b):
    assert a == b


def test_generated(generated):
    assert generated != 2
