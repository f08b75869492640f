import abc
import enum
from typing import Generic, TypeVar
import pytest
from helpers import Base

T = TypeVar("T")

@pytest.mark.tag("class")
class TestFirst(Base):
    attribute = 1

    def helper(self): pass

    def test_a(self): pass
    def test_b(self, root, of_base): pass
    def test_overridden(self, root): pass
    def test_default(self, root=1): pass
    def test_no_self(): pass

    @staticmethod
    def test_static(root): pass

    @classmethod
    def test_class(cls, root): pass

    @pytest.fixture(autouse=True)
    def own(self, root): yield

    @pytest.fixture
    def root(self, root): return root

    @property
    def test_property(self): raise RuntimeError("never")

    class TestNested:
        def test_deep(self, own): pass
        class TestDeeper:
            @pytest.mark.parametrize("x", [1, 2])
            def test_deepest(self, x): pass

class TestSecond(TestFirst):
    def test_c(self): pass
    def test_a(self, tmp_path): pass

class TestMany(Base, Generic[T]):
    def setup_method(self, method): pass
    def teardown_method(self): pass
    @classmethod
    def setup_class(cls): pass
    def test_x(self): pass

class TestAbstract(abc.ABC):
    @abc.abstractmethod
    def test_missing(self): pass

class TestConcrete(TestAbstract):
    def test_missing(self): pass

class TestInit:
    def __init__(self): pass
    def test_never(self): pass

class TestNew:
    def __new__(cls): return object.__new__(cls)
    def test_never(self): pass

class TestMeta(metaclass=abc.ABCMeta):
    def test_m(self): pass

class Counting(type):
    calls = 0
    def __call__(cls):
        Counting.calls += 1
        made = super().__call__()
        made.number = Counting.calls
        return made

class TestCounting(metaclass=Counting):
    def test_n1(self): pass
    def test_n2(self): pass

class TestGetattr:
    def __getattr__(self, name): raise AttributeError(name)
    def test_g(self): pass

class TestGetattribute:
    def __getattribute__(self, name): return object.__getattribute__(self, name)
    def test_g(self): pass

class Descriptor:
    def __get__(self, instance, owner): return lambda: None
    def __call__(self): pass

class TestDescriptor:
    test_d = Descriptor()
    def test_e(self): pass

class TestSlots:
    __slots__ = ("x",)
    def test_s(self): pass

class TestOff:
    __test__ = False
    def test_never(self): pass

class NotByName:
    __test__ = True
    def test_by_attribute(self): pass

@pytest.mark.usefixtures("shadowed")
class TestUses:
    def test_u(self): pass
    @pytest.mark.usefixtures("root")
    def test_v(self, tmp_path): pass

@pytest.mark.parametrize("klass", ["k", "l"])
class TestParametrized:
    def test_k(self, klass): pass
    @pytest.mark.parametrize("own", [1])
    def test_l(self, klass, own): pass

class TestEmpty:
    pass

class Color(enum.Enum):
    RED = 1
