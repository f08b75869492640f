import pytest


@pytest.fixture(scope="module")
def marks_the_module(request):
    request.node.keywords["late"] = True


def test_before():
    pass


def test_with_it(marks_the_module):
    pass


def test_after():
    pass
