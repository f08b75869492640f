"""What travels between processes arrives, or arrives as text; it never breaks the run."""

from __future__ import annotations

import enum
import pickle
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

wire = pytest.importorskip("hasten.wire", reason="hasten is not built in this environment")


class Colour(enum.Enum):
    RED = 1


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("never")

    def __repr__(self) -> str:
        return "<unpicklable>"


class Unprintable(Unpicklable):
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 1.5, "ü", "\ud800", b"\0", [1, [2]], {"a": (1, 2)}, {1, 2}, Path("/x"), 10**40, ValueError("x")],
)
def test_ordinary_values_arrive(value: Any) -> None:
    got = wire.loads(wire.dumps(value))
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_what_cannot_be_pickled_arrives_as_its_repr() -> None:
    assert wire.loads(wire.dumps({"a": [Unpicklable()]})) == {"a": ["<unpicklable>"]}


def test_what_cannot_even_be_printed_does_not_break_the_rest() -> None:
    got = wire.loads(wire.dumps([1, Unprintable()]))
    assert got[0] == 1
    assert got[1] == "<unprintable Unprintable: RuntimeError>"


@pytest.mark.parametrize("value", [lambda: 1, (x for x in ()), types.ModuleType("m"), open], ids=repr)
def test_functions_generators_and_modules_do_not_break_the_rest(value: Any) -> None:
    assert wire.loads(wire.dumps([value, 2]))[1] == 2


def test_classes_of_the_suite_arrive_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reporter has not imported the suite's modules, and must not."""
    monkeypatch.setattr(wire.Trust, "roots", frozenset({"builtins", "pathlib", "enum"}))
    got = wire.loads(wire.dumps([Colour.RED, Path("/x")]))
    assert got == [repr(Colour.RED), Path("/x")]


def test_classes_inside_of_functions_arrive_as_text() -> None:
    class Inner:
        def __repr__(self) -> str:
            return "inner"

    assert wire.loads(wire.dumps([Inner()])) == ["inner"]


def test_a_cycle_of_foreign_things_does_not_end_the_worker() -> None:
    loop: list[Any] = [Unpicklable()]
    loop.append(loop)
    got = wire.loads(wire.dumps(loop))
    assert got[0] == "<unpicklable>"


# ---- warnings


def recorded(message: Any, category: Any = UserWarning) -> warnings.WarningMessage:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.warn(message, category, stacklevel=1)
    return found[0]


class OwnWarning(UserWarning):
    def __init__(self, a: str, b: int) -> None:
        super().__init__(f"{a} {b}")


def travel(message: warnings.WarningMessage) -> warnings.WarningMessage:
    return wire.load_warning(wire.loads(wire.dumps(wire.dump_warning(message))))


def test_a_warning_arrives() -> None:
    message = recorded("text", DeprecationWarning)
    got = travel(message)
    assert (str(got.message), got.category, got.lineno, got.filename) == (
        "text", DeprecationWarning, message.lineno, message.filename)  # fmt: skip
    assert isinstance(got.message, DeprecationWarning)


def test_a_warning_of_a_class_with_another_constructor_keeps_its_text() -> None:
    got = travel(recorded(OwnWarning("a", 1)))
    assert str(got.message) == "a 1"
    assert got.category is OwnWarning


def test_a_warning_of_a_class_that_the_reporter_does_not_know_keeps_name_and_text() -> None:
    data = wire.dump_warning(recorded("text"))
    data["category"] = ("a_module_of_the_suite", "Theirs")
    data["message"] = ("a_module_of_the_suite", "Theirs", ("text",))
    got = wire.load_warning(data)
    assert (got.category.__module__, got.category.__name__) == ("a_module_of_the_suite", "Theirs")
    assert issubclass(got.category, Warning)
    assert str(got.message) == "text"


def test_a_warning_with_an_unpicklable_argument_arrives() -> None:
    assert str(travel(recorded(UserWarning("text", Unpicklable()))).message).count("unpicklable") == 1


# ---- other forms


def test_interrupts_keep_newlines_and_odd_bytes() -> None:
    text = "first\nsecond \udcff"
    assert wire.load_interrupt(wire.dump_interrupt("exit", text, 7)) == {"kind": "exit", "code": 7, "text": text}
    assert wire.load_interrupt(b"keyboard\n\n") == {"kind": "keyboard", "code": None, "text": ""}


def test_a_catalog_arrives() -> None:
    ids = ["a.py::test_ü[\ud800]", "", "b.py::test" + "x" * 5000]
    blob = wire.catalog_build(ids, [(i, 0, i, i * 7) for i in range(3)], 1, wire.dumps({"k": 1}))
    assert wire.catalog_read(blob) == (ids, {"k": 1})
    with pytest.raises(ValueError, match="not a catalog"):
        wire.catalog_read(b"x" * 200)


def test_a_catalog_needs_one_row_for_each_id() -> None:
    with pytest.raises(ValueError, match="zip"):
        wire.catalog_build(["a", "b"], [(0, 0, 0, 0)], 1, pickle.dumps(None))


class Printing:
    """A failure's representation that can only print itself."""

    def toterminal(self, tw: Any) -> None:
        tw.line("it failed", red=True)


def test_a_representation_that_only_prints_keeps_text_and_colour(pytestconfig: pytest.Config) -> None:
    report = types.SimpleNamespace(longrepr=Printing())
    data = wire.with_extras({"longrepr": "it failed"}, report, pytestconfig)
    extras = wire.take_extras(data)
    assert data == {"longrepr": "it failed"}
    got = types.SimpleNamespace(longrepr="it failed")
    wire.apply_extras(got, wire.loads(wire.dumps(extras)), pytestconfig)
    assert str(got.longrepr) == "it failed"
    assert not isinstance(got.longrepr, str)
    assert "\x1b[31m" in got.longrepr.coloured
