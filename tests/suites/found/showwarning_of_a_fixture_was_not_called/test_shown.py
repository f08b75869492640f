import warnings

import pytest


@pytest.fixture
def shown_by_hand():
    warnings.showwarning = lambda *args, **kwargs: print("shown:", args[0])
    warnings.warn("by the fixture", UserWarning)
    yield
    warnings.warn("at its end", UserWarning)


def test_before():
    pass


def test_with_it(shown_by_hand):
    warnings.warn("by the test", UserWarning)


def test_after():
    warnings.warn("recorded again", UserWarning)
