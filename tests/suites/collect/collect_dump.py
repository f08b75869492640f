"""Writes every node, whatever it refers to, and who is the same object as whom."""

import enum, os, pathlib, re, types
import pytest

OPAQUE = ("Config", "Session", "PytestPluginManager", "FSHookProxy", "HookRelay", "FixtureManager", "AssertionRewritingHook")
reports = []


class Dump:
    def __init__(self):
        self.seen = {}
        self.kept = []
        self.todo = []
        self.lines = []

    def of(self, value):
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, float, complex, str, bytes):
            return repr(value)
        if isinstance(value, (enum.Enum, re.Pattern, pathlib.PurePath)):
            return f"{kind.__name__} {value}"
        if isinstance(value, type):
            return f"class {value.__module__}.{value.__qualname__}"
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, types.MethodType):
            return f"method {self.of(value.__func__)} of {self.of(value.__self__)}"
        if kind is tuple:
            return "(" + ", ".join(map(self.of, value)) + ")"
        if kind is frozenset:
            return "frozenset(" + ", ".join(sorted(map(self.of, value))) + ")"
        if kind.__name__ in OPAQUE:
            return f"a {kind.__name__}"
        if id(value) not in self.seen:
            self.seen[id(value)] = len(self.seen)
            self.kept.append(value)
            self.todo.append(value)
        return f"#{self.seen[id(value)]}"

    def content(self, value):
        kind = type(value)
        if isinstance(value, types.FunctionType):
            return f"function {value.__module__}.{value.__qualname__}"
        if isinstance(value, dict):
            return kind.__name__ + " {" + ", ".join(f"{self.of(k)}: {self.of(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.of, value)) + "]"
        if isinstance(value, set):
            return "{" + ", ".join(sorted(map(self.of, value))) + "}"
        parts = []
        for base in reversed(kind.__mro__):
            slots = base.__dict__.get("__slots__", ())
            for slot in sorted((slots,) if isinstance(slots, str) else slots):
                if slot not in ("__dict__", "__weakref__"):
                    name = f"_{base.__name__}{slot}" if slot.startswith("__") else slot
                    try:
                        parts.append(f"{slot}={self.of(getattr(value, name))}")
                    except AttributeError:
                        parts.append(f"{slot} unset")
        parts += [f"{k}: {self.of(v)}" for k, v in getattr(value, "__dict__", {}).items()]
        return f"{kind.__module__}.{kind.__qualname__} " + ", ".join(parts)

    def run(self):
        while self.todo:
            value = self.todo.pop(0)
            self.lines.append(f"#{self.seen[id(value)]} {self.content(value)}")


@pytest.hookimpl(trylast=True)
def pytest_collectreport(report):
    names = [f"{type(n).__name__} {n.nodeid}" for n in report.result or ()]
    reports.append(f"{report.nodeid!r} {report.outcome} {report.longrepr} {names}")


def pytest_deselected(items):
    reports.append(f"deselected {[i.nodeid for i in items]}")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    dump = Dump()
    for item in session.items:
        dump.lines.append(f"item {item.nodeid!r} {item.location} {sorted(map(str, item.keywords))} {dump.of(item)}")
        dump.lines.append(f"  {item.ihook.pytest_runtest_setup.name} {item.listnames()} {[m.name for m in item.iter_markers()]}")
        dump.run()
    manager = session._fixturemanager
    dump.lines += [dump.of(v) for v in vars(manager).values() if isinstance(v, dict)]
    dump.run()
    try:
        from hasten import _native

        made = _native.collect_made()
    except (ImportError, AttributeError):
        made = 0
    with open(os.environ["DUMP_TO"], "w") as f:
        f.write("\n".join([str(made), *reports, *dump.lines]) + "\n")
