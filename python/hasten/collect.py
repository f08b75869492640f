"""Collection without pytest's detours: where only pytest's own, known code would run, C makes the same items directly.

Two of pytest's functions get stand-ins in C (src/py/collect.c): Function.from_parent, which makes every item, and
PyCollector.collect, which for a plain function makes no FunctionDefinition, no Metafunc and no hook calls. Whatever the
stand-ins do not know goes to pytest's own function. docs/decisions/0012 says what has to hold, and how it is shown.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Generator
from typing import Any

import pytest

from hasten import _native, deselect, known_collect, plugin, switch

# Everything that is replaced, left out, or done again in C: "module:qualified name" below _pytest.
REPRODUCED = (
    "compat:ascii_escaped",
    "compat:getfuncargnames",
    "compat:safe_getattr",
    "compat:safe_isclass",
    "fixtures:FixtureManager.getfixtureclosure",
    "fixtures:FixtureManager.getfixtureinfo",
    "fixtures:FixtureManager.pytest_collection_modifyitems",
    "fixtures:FixtureManager.pytest_generate_tests",
    "fixtures:FixtureManager._check_for_wrapped_fixture",
    "fixtures:FixtureManager._find_wrapped_fixture_def",
    "fixtures:FixtureManager._getautousenames",
    "fixtures:FixtureManager._getusefixturesnames",
    "fixtures:FixtureManager._lookup_in_type_dict",
    "fixtures:FixtureManager.parsefactories",
    "fixtures:FixtureRequest.__init__",
    "fixtures:TopRequest.__init__",
    "fixtures:deduplicate_names",
    "fixtures:get_param_argkeys",
    "fixtures:getfixturemarker",
    "fixtures:reorder_items",
    "fixtures:reorder_items_atscope",
    "main:Session.genitems",
    "mark:KeywordMatcher.__call__",
    "mark:KeywordMatcher.from_item",
    "mark:MarkMatcher.__call__",
    "mark:MarkMatcher.from_markers",
    "mark:deselect_by_keyword",
    "mark:deselect_by_mark",
    "mark.structures:NodeKeywords.__init__",
    "mark.structures:NodeKeywords.update",
    "mark.structures:get_unpacked_marks",
    "mark.structures:normalize_mark_list",
    "nodes:Item.__init__",
    "nodes:Item._check_item_and_collector_diamond_inheritance",
    "nodes:Node.__init__",
    "nodes:Node.from_parent",
    "nodes:NodeMeta._create",
    "python:Class.newinstance",
    "python:Function.__init__",
    "python:Function._getinstance",
    "python:Function._getobj",
    "python:Function._initrequest",
    "python:Function.from_parent",
    "python:Function.instance",
    "python:IdMaker._apply_long_str_strategy",
    "python:IdMaker._idval",
    "python:IdMaker._idval_from_function",
    "python:IdMaker._idval_from_hook",
    "python:IdMaker._idval_from_value",
    "python:PyCollector._genfunctions",
    "python:PyCollector._matches_prefix_or_glob_option",
    "python:PyCollector.classnamefilter",
    "python:PyCollector.collect",
    "python:PyCollector.funcnamefilter",
    "python:PyCollector.isnosetest",
    "python:PyCollector.istestclass",
    "python:PyCollector.istestfunction",
    "python:PyobjMixin.obj",
    "python:_ascii_escaped_by_config",
    "python:pytest_generate_tests",
    "python:pytest_pycollect_makeitem",
    "stash:Stash.__init__",
    "unittest:pytest_pycollect_makeitem",
)
REWRITING = ("assertion.rewrite:_read_pyc", "assertion.rewrite:_rewrite_test")  # what rewrite.py stands around


def install(pluginmanager: pytest.PytestPluginManager) -> Collection | None:
    """Puts the stand-ins in place for this run; None when they are off or this pytest is not known."""
    config = pluginmanager.getplugin("pytestconfig")
    if config is None or switch.is_off():
        return None
    if switch.shows_own_frames() or "dir" in vars(sys.modules["_pytest.fixtures"]):
        return None  # the latter: a pytest inside of a test of this one
    if not is_known():
        return None
    collection = Collection(config)
    collection.start()
    config.add_cleanup(collection.stop)
    pluginmanager.register(collection, "hasten-collection")
    return collection


# ---- known by identity


def find(name: str) -> Any:
    """The function behind a name of REPRODUCED as its class or module has it now; None when there is none."""
    module, _, path = name.partition(":")
    owner: Any = sys.modules.get(f"_pytest.{module}")
    for part in path.split("."):
        owner = vars(owner).get(part) if owner is not None else None
    if isinstance(owner, (classmethod, staticmethod)):
        owner = owner.__func__
    return owner.fget if isinstance(owner, property) else owner


@functools.cache
def is_known() -> bool:
    """All of it is as it was when it was read: asked first before anything is replaced."""
    return known_collect.KNOWN.get((pytest.__version__, sys.implementation.cache_tag)) == digest()


def digest() -> str:
    """What all code of REPRODUCED and REWRITING comes to."""
    total = hashlib.blake2b(digest_size=16)
    for name in REPRODUCED + REWRITING:
        code = getattr(find(name), "__code__", None)
        total.update(f"{name} {code_hash(code) if isinstance(code, types.CodeType) else None}\n".encode())
    return total.hexdigest()


def code_hash(code: types.CodeType) -> str:
    """Of what the code does: instructions, names and constants, not lines and files."""
    h = hashlib.blake2b(code.co_code, digest_size=16)
    h.update(repr((code.co_names, code.co_varnames, code.co_flags, code.co_argcount)).encode())
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            h.update(code_hash(const).encode())
        elif isinstance(const, frozenset):
            h.update(repr(sorted(map(repr, const))).encode())
        else:
            h.update(repr(const).encode())
    return h.hexdigest()


class Collection:
    """The stand-ins of one config's session, and the answers that they ask Python for."""

    def __init__(self, config: pytest.Config) -> None:
        from _pytest import fixtures, main, python, scope, unittest

        self.config = config
        self.originals = {name: find(name) for name in REPRODUCED}
        self.python = python
        self.fixtures = fixtures
        self.main = main
        self.function_scope = scope.Scope.Function
        self.makeitem = {unittest.pytest_pycollect_makeitem, python.pytest_pycollect_makeitem}
        self.generate = python.pytest_generate_tests
        self.hookexec = config.pluginmanager._inner_hookexec
        self.undo: list[tuple[Any, str, Any]] = []
        self.places: list[tuple[Any, str, Any]] = []
        self.codes: list[tuple[Any, Any]] = []

    # ---- in and out

    def start(self) -> None:
        from _pytest import mark

        python, fixtures = self.python, self.fixtures
        copies = "copy" in self.originals["fixtures:TopRequest.__init__"].__code__.co_names
        from_parent, collect, genitems, names, idval = _native.collect_fuse(self._types(), copies, self._asked())
        self._replace(python.Function, "from_parent", classmethod(from_parent))
        self._replace(python.PyCollector, "collect", collect)
        self._replace(self.main.Session, "genitems", genitems)
        self._replace(python.IdMaker, "_idval", idval)
        self._replace(fixtures, "dir", names)
        self._replace(fixtures, "reorder_items", self._reorder_items)
        select = deselect.Selector(
            mark, python.Function, self.originals["mark:deselect_by_keyword"], self.originals["mark:deselect_by_mark"]
        )
        self._replace(mark, "deselect_by_keyword", select.deselect_by_keyword)
        self._replace(mark, "deselect_by_mark", select.deselect_by_mark)
        self._note_places()
        _native.collect_active(True)

    def _asked(self) -> dict[str, Any]:
        """What the stand-ins call and look at."""
        return {
            "from_parent": self.originals["python:Function.from_parent"],
            "collect": self.originals["python:PyCollector.collect"],
            "genitems": self.originals["main:Session.genitems"],
            "context": self.context,
            "resolve": self.resolve,
            "ignored": self.python.IGNORED_ATTRIBUTES,
            "config": self.config,
            "idval": self.originals["python:IdMaker._idval"],
            "parametrize_id": self.config.hook.pytest_make_parametrize_id,
            "itemcollected": self.config.hook.pytest_itemcollected,
        }

    def _replace(self, owner: Any, attribute: str, value: Any) -> None:
        self.undo.append((owner, attribute, vars(owner).get(attribute)))
        setattr(owner, attribute, value)

    def _note_places(self) -> None:
        """Where everything of REPRODUCED is found, and what is there now."""
        for name in REPRODUCED:
            module, _, path = name.partition(":")
            owner: Any = sys.modules[f"_pytest.{module}"]
            for part in path.split("."):
                found = vars(owner).get(part)
                self.places.append((vars(owner), part, found))
                owner = found
        originals = (one for one in self.originals.values() if isinstance(one, types.FunctionType))
        self.codes = [(one, one.__code__) for one in originals]

    def stop(self) -> None:
        _native.collect_active(False)
        for owner, attribute, value in reversed(self.undo):
            if value is None:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, value)
        self.undo.clear()

    def _types(self) -> dict[str, Any]:
        from _pytest import nodes
        from _pytest.mark import structures
        from _pytest.stash import Stash

        python, fixtures = self.python, self.fixtures
        return {
            "Function": python.Function,
            "FunctionDefinition": python.FunctionDefinition,
            "Module": python.Module,
            "Class": python.Class,
            "NodeKeywords": structures.NodeKeywords,
            "Stash": Stash,
            "TopRequest": fixtures.TopRequest,
            "FuncFixtureInfo": fixtures.FuncFixtureInfo,
            "FixtureFunctionDefinition": fixtures.FixtureFunctionDefinition,
            "Mark": structures.Mark,
            "MarkDecorator": structures.MarkDecorator,
            "NodeId": getattr(nodes, "NodeId", None),
        }

    def intact(self) -> bool:
        """Nobody has replaced what is done again here, nor watches hook calls."""
        if self.config.pluginmanager._inner_hookexec is not self.hookexec:
            return False
        places = all(mapping.get(name) is found for mapping, name, found in self.places)
        return places and all(function.__code__ is code for function, code in self.codes)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, Any, Any]:
        """No cyclic collections meanwhile, also in a run of one process: there is no garbage to speak of."""
        held = plugin.state.gc_thresholds is not None  # in a template, until its tests begin
        if not held:
            plugin.hold_collector()
        try:
            return (yield)
        finally:
            if not held:
                plugin.release_collector()
                plugin.shelter_objects(self.config)

    # ---- asked by C

    def context(self, collector: Any) -> tuple[Any, ...] | None:
        """What holds for all names of a Module or Class (struct context in collect.c); None: pytest collects it."""
        fits = collector.session.config is self.config and self.intact()
        _native.collect_active(fits)
        if not fits or not self.config.getini("collect_imported_tests"):
            return None
        owner = collector.__dict__.get("_obj")
        if owner is None or not getattr(owner, "__test__", True):
            return None
        ihook = collector.ihook
        usefixtures = self._usefixtures(collector)
        prefixes = None
        if usefixtures is not None and self._known_hooks(ihook) and not self._generates(collector):
            prefixes = self._prefixes("python_functions")
        test_case = getattr(sys.modules.get("unittest"), "TestCase", None)
        return (
            ihook.pytest_pycollect_makeitem,
            prefixes,
            self._prefixes("python_classes"),
            usefixtures or (),
            test_case,
            owner,
        )

    def _known_hooks(self, ihook: Any) -> bool:
        if any(impl.function not in self.makeitem for impl in ihook.pytest_pycollect_makeitem.get_hookimpls()):
            return False
        manager = self.originals["fixtures:FixtureManager.pytest_generate_tests"]
        return all(
            impl.function is self.generate or getattr(impl.function, "__func__", None) is manager
            for impl in ihook.pytest_generate_tests.get_hookimpls()
        )

    def _generates(self, collector: Any) -> bool:
        module = collector.getparent(self.python.Module).obj
        cls = collector.getparent(self.python.Class)
        return hasattr(module, "pytest_generate_tests") or (
            cls is not None and hasattr(cls.obj, "pytest_generate_tests")
        )

    def _prefixes(self, ini: str) -> tuple[str, ...] | None:
        """None when there are patterns among them."""
        found = tuple(self.config.getini(ini))
        return None if any(set(text) & set("*?[") for text in found) else found

    def _usefixtures(self, collector: Any) -> tuple[str, ...] | None:
        """Names of the usefixtures marks of a collector and those above; None when a mark needs pytest's own code."""
        names: list[str] = []
        for mark in collector.iter_markers():
            if mark.name == "parametrize" or (mark.name == "usefixtures" and not mark.args):
                return None
            if mark.name == "usefixtures":
                names.extend(mark.args)
        return tuple(names)

    def resolve(self, collector: Any, argnames: tuple[str, ...], used: tuple[str, ...]) -> tuple[Any, ...] | None:
        """(initialnames, closure, name2fixturedefs) for these arguments; None when a fixture of them has parameters."""
        manager = collector.session._fixturemanager
        initial = self.fixtures.deduplicate_names(manager._getautousenames(collector), used, argnames)
        closure, definitions = manager.getfixtureclosure(
            parentnode=collector, initialnames=initial, ignore_args=frozenset()
        )
        if any(one.params is not None for several in definitions.values() for one in several):
            return None
        return initial, closure, definitions

    # ---- the rest of collection

    def _reorder_items(self, items: Any) -> list[Any]:
        """Without a parameter of a scope above function the order stays."""
        function = self.function_scope
        for item in items:
            spec = getattr(item, "callspec", None)
            if spec is not None and any(scope is not function for scope in spec._arg2scope.values()):
                return self.originals["fixtures:reorder_items"](items)  # type: ignore[no-any-return]
        return list(dict.fromkeys(items))
