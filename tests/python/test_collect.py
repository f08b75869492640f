"""Parts of the fused collection against pytest's own: which items -k and -m keep, which names could be fixtures."""

from __future__ import annotations

import abc
import functools
import random
import types
from unittest import mock

import _pytest.mark
import pytest
from _pytest import fixtures, python

from hasten import collect, deselect, known_collect

SUITE = """
import pytest

def test_alpha(): pass
def test_Beta(): pass
test_Beta.flag = test_Beta._hidden = 1
@pytest.mark.slow(level=1)
@pytest.mark.parametrize("x", ["one", "TWO", "beta"])
def test_p(x): pass
@pytest.mark.slow(level=2)
class TestGamma:
    def test_alpha(self): pass
    @pytest.mark.quick
    def test_delta(self): pass
    class TestInner:
        pytestmark = [pytest.mark.quick, pytest.mark.slow]
        @pytest.mark.parametrize("y", [1, 2, 3], ids=["a", "b", "c"])
        def test_i(self, y): pass
import unittest
class Case(unittest.TestCase):
    def test_slow_case(self): pass
"""
WORDS = ["alpha", "BETA", "test", "slow", "quick", "gamma", "one", "two", "[", "a]", "flag", "parametrize", "no", "py",
         "inner", "hidden"]  # fmt: skip


class Grab:
    def pytest_collection_finish(self, session):
        self.items = session.items


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selected")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    quick\n")
    (folder / "test_selected_by_words.py").write_text(SUITE)
    grab = Grab()
    assert pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", str(folder)], plugins=[grab]) == 0
    for item in grab.items[::5]:
        item.extra_keyword_matches.add("Extra")
    return grab.items


def expressions(rng, words, depth=3):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(words)
    kind = rng.choice(["and", "or", "not", "()"])
    one = expressions(rng, words, depth - 1)
    if kind == "not":
        return f"not {one}"
    if kind == "()":
        return f"({one})"
    return f"{one} {kind} {expressions(rng, words, depth - 1)}"


class Hook:
    def __init__(self):
        self.deselected = []

    def pytest_deselected(self, items):
        self.deselected.append(list(items))


def outcome(function, items, **option):
    """What is left, what was said to the hook, or the error."""
    hook = Hook()
    option = {"keyword": "", "markexpr": "", **option}
    config = types.SimpleNamespace(
        option=types.SimpleNamespace(**option), hook=hook, getini=lambda name: False, getoption=lambda *args: False
    )
    left = list(items)
    try:
        function(left, config)
    except pytest.UsageError as exc:
        return str(exc)
    return left, hook.deselected


def selector():
    mark = _pytest.mark
    return deselect.Selector(mark, python.Function, mark.deselect_by_keyword, mark.deselect_by_mark)


def test_k_keeps_what_pytest_keeps(items):
    rng = random.Random(7)
    kept = set()
    for _ in range(300):
        text = expressions(rng, [*WORDS, "extra"])
        ours = outcome(selector().deselect_by_keyword, items, keyword=text)
        assert ours == outcome(_pytest.mark.deselect_by_keyword, items, keyword=text), text
        kept.add(len(ours[0]))
    assert len(kept) > 5


def test_m_keeps_what_pytest_keeps(items):
    rng = random.Random(8)
    words = ["slow", "quick", "parametrize", "nothing", "slow(level=1)", "slow(level=2)", "quick(level=None)"]
    kept = set()
    for _ in range(300):
        text = expressions(rng, words)
        ours = outcome(selector().deselect_by_mark, items, markexpr=text)
        assert ours == outcome(_pytest.mark.deselect_by_mark, items, markexpr=text), text
        kept.add(len(ours[0]))
    assert len(kept) > 3


@pytest.mark.parametrize(
    "text", ["", "  ", "and", "a or", "(", "alpha(x=1)", "alpha or beta(x=1)", "beta(x=1) or alpha", "a b"]
)
def test_odd_expressions_are_answered_as_pytest_does(items, text):
    for ours, theirs, name in (
        (selector().deselect_by_keyword, _pytest.mark.deselect_by_keyword, "keyword"),
        (selector().deselect_by_mark, _pytest.mark.deselect_by_mark, "markexpr"),
    ):
        assert outcome(ours, items, **{name: text}) == outcome(theirs, items, **{name: text})
        assert outcome(ours, [], **{name: text}) == outcome(theirs, [], **{name: text})


def new_collection():
    config = types.SimpleNamespace(
        pluginmanager=types.SimpleNamespace(_inner_hookexec=None),
        hook=types.SimpleNamespace(pytest_itemcollected=None, pytest_make_parametrize_id=None),
    )
    return collect.Collection(config)


@pytest.fixture
def collection():
    """The stand-ins, in place."""
    if "dir" in fixtures.__dict__:
        pytest.skip("this test runs under hasten, which has them in place")
    collection = new_collection()
    collection.start()
    yield collection
    collection.stop()


@pytest.fixture
def active(collection):
    return fixtures.__dict__["dir"]


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


class Base:
    @pytest.fixture
    def one(self): ...

    @decorated
    def wrapped(self): ...

    def hidden(self): ...


class Holder(Base):
    number = 3
    by_mock = mock.Mock()

    @staticmethod
    def static(): ...

    @classmethod
    def by_class(cls): ...

    @property
    def prop(self): ...

    @pytest.fixture
    def hidden(self): ...

    one = None


class WithDir:
    def __dir__(self):
        return ["x"]


class Meta(metaclass=abc.ABCMeta):  # noqa: B024
    number = 3


def test_names_that_could_be_fixtures_are_those_of_dir(active):
    names = active(Holder())
    assert names == sorted(names)
    assert {"hidden", "wrapped", "static", "by_class", "by_mock"} <= set(names) <= set(dir(Holder()))
    assert not {"one", "number", "prop", "__init__", "__eq__"} & set(names)
    assert active(WithDir()) == ["x"]
    assert active(Meta()) == dir(Meta())
    assert active(Holder) == dir(Holder)


def test_names_of_a_module(active):
    module = types.ModuleType("m")
    module.f, module.w, module.x, module.fix = lambda: 0, decorated(lambda: 0), 3, Base.__dict__["one"]
    module.lazy = types.ModuleType("lazy")
    module.lazy.__getattr__ = lambda name: 1
    assert active(module) == sorted(set(active(module)))
    assert {"w", "fix", "lazy"} <= set(active(module)) <= set(dir(module))
    assert not {"f", "x"} & set(active(module))
    module.__dir__ = lambda: ["f"]
    assert active(module) == ["f"]


def test_this_pytest_is_known():
    assert known_collect.KNOWN
    if (pytest.__version__.rpartition(".")[0]) in ("8.4", "9.0", "9.1", "9.2"):
        assert collect.is_known()


def test_another_code_is_another_hash():
    def one(a):
        return [b for b in a if b in {1, 2}]

    def two(a):
        return [b for b in a if b in {1, 3}]

    assert collect.code_hash(one.__code__) == collect.code_hash(one.__code__.replace(co_filename="x", co_firstlineno=9))
    assert collect.code_hash(one.__code__) != collect.code_hash(two.__code__)


def test_everything_that_is_reproduced_exists():
    optional = {  # from 9.2
        "_apply_long_str_strategy",
        "_check_for_wrapped_fixture",
        "_find_wrapped_fixture_def",
        "_lookup_in_type_dict",
    }
    for name in (*collect.REPRODUCED, *collect.REWRITING):
        assert collect.find(name) is not None or name.rpartition(".")[2] in optional, name


def test_all_is_put_back():
    if "dir" in fixtures.__dict__:
        pytest.skip("this test runs under hasten, which has them in place")
    before = {name: collect.find(name) for name in collect.REPRODUCED}
    collection = new_collection()
    collection.start()
    assert collect.find("python:PyCollector.collect") is not before["python:PyCollector.collect"]
    assert collection.intact()
    collection.stop()
    assert {name: collect.find(name) for name in collect.REPRODUCED} == before


def test_a_patch_is_noticed(collection, monkeypatch):
    assert collection.intact()
    monkeypatch.setattr(python.Function, "_initrequest", lambda self: None)
    assert not collection.intact()
    monkeypatch.undo()
    assert collection.intact()
    code = python.Function._getobj.__code__
    python.Function._getobj.__code__ = python.Function._getinstance.__code__
    try:
        assert not collection.intact()
    finally:
        python.Function._getobj.__code__ = code
    monkeypatch.setattr(python, "FunctionDefinition", python.Function)
    monkeypatch.setattr(python, "Function", type("Function", (python.Function,), {}))
    assert not collection.intact()


FIELDS = python.IdMaker.__dataclass_fields__


class Text(str):
    pass


TEXTS = [
    "",
    "a",
    "a b",
    "a" * 100,
    "a" * 101,
    "tab\t",
    "back\\slash",
    "é",
    "\x7f",
    "~",
    "'\"[]",
    b"x",
    b"\xff",
    Text("own"),
]
NUMBERS = [0, -5, 10**40, 10**5000, True, False, None, 1.5, float("nan"), 1j]
VALUES = [*TEXTS, *NUMBERS, int, len, object(), (1,), []]


class FakeConfig:
    def __init__(self):
        self.hook = types.SimpleNamespace(
            pytest_make_parametrize_id=types.SimpleNamespace(_hookimpls=[]), pytest_itemcollected=None
        )
        self.pluginmanager = types.SimpleNamespace(_inner_hookexec=None)

    def getini(self, name):
        return "short" if "strategy" in name else False


def make_ids(config, values):
    """Each id, or the error's text."""
    maker = python.IdMaker(["x"], [], None, None, config, "n", *([None] if "func_name" in FIELDS else []))
    made = []
    for at, value in enumerate(values):
        try:
            made.append(maker._idval(value, "x", at))
        except Exception as exc:
            made.append(repr(exc))
    return made


def test_ids_of_values_are_pytests():
    if "dir" in fixtures.__dict__:
        pytest.skip("this test runs under hasten, which has them in place")
    config = FakeConfig()
    config.hook.pytest_make_parametrize_id = Caller()
    theirs = make_ids(config, VALUES)
    collection = collect.Collection(config)
    collection.start()
    try:
        asked = len(Caller.asked)
        ours = make_ids(config, VALUES)
        assert len(Caller.asked) - asked < len(VALUES)  # some were made in C
    finally:
        collection.stop()
    assert ours == theirs
    assert [type(one) for one in ours] == [type(one) for one in theirs]


class Caller:
    """As pluggy's: called only when a value goes to pytest."""

    _hookimpls: list[object] = []  # noqa: RUF012
    asked: list[object] = []  # noqa: RUF012

    def __call__(self, **kwargs):
        self.asked.append(kwargs["val"])
