'''Functions of a module.'''
import functools
import os
import re
import unittest.mock as mock
from pathlib import Path
import pytest
from helpers import imported_helper, test_imported, Base, decorate, TestImported

CONSTANT = 3
test_number = 3
test_text = "no test"
LAMBDA = lambda: 1
skipif_mark = pytest.mark.skipif("1 == 2", reason="r")
pattern = re.compile("x")

def helper():
    pass

def test_one():
    assert True

def test_two(root, tmp_path):
    pass

def test_default(root, other=3, *args, key=1, **more):
    pass

def test_keyword_only(root, *, tmp_path, key=2):
    pass

def test_positional_only(root, /, tmp_path):
    pass

def test_unknown_fixture(no_such_fixture):
    pass

def test_request(request):
    pass

def test_tagged():
    pass

def test_twice(): pass
def test_twice(root): pass

test_alias = test_one
test_lambda = lambda root: None
test_partial = functools.partial(test_default, other=4)
test_imported_as = imported_helper

@decorate
def test_decorated(root):
    pass

@mock.patch("os.getcwd")
def test_mocked(patched, root):
    pass

@mock.patch.object(Path, "exists", new=None)
def test_mocked_with_new(root):
    pass

@pytest.mark.skip
@pytest.mark.skipif(False, reason="x")
@pytest.mark.tag(1, a=2)
def test_marks(root):
    pass

@pytest.mark.usefixtures("shadowed", "root")
def test_uses():
    pass

@pytest.mark.usefixtures()
def test_uses_nothing():
    pass

def test_attributes(root):
    pass
test_attributes.slow = True
test_attributes.pytestmark = pytest.mark.single

def test_off(): pass
test_off.__test__ = False

def on(): pass
on.__test__ = True

def test_signature(root): pass
import inspect
test_signature.__signature__ = inspect.signature(lambda shadowed: 0)

async def test_async(root):
    pass

async def test_async_generator(root):
    yield 1

@pytest.fixture
def test_named_fixture():
    return 1

@pytest.fixture
def shadowed(shadowed):
    return shadowed

def test_shadowed(shadowed):
    pass

def test_after_fixture(test_named_fixture):
    pass

class Callable:
    def __call__(self): pass
    def __getattr__(self, name): raise AttributeError(name)
test_callable = Callable()
test_mock = mock.Mock()
a_mock = mock.MagicMock()
mocked_call = mock.call
