"""Which pytest this is: are the functions that hasten stands in for the ones that it was written against?

Three layers: the version has to be in the table (made by ``tools/known_table.py`` from the releases); the files of
pytest that the table names have to have the content that release has; and each function has to be the one of its file,
at its line, so that a plugin that replaces one of them is seen.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from typing import Any

import pytest

from hasten.known_table import VERSIONS


@functools.cache
def other_files() -> str:
    """'' when the files of this pytest are those of a known release, else one line that says what is not."""
    files = VERSIONS.get(pytest.__version__)
    if files is None:
        return f"pytest {pytest.__version__} is not in the table of known versions"
    folder = os.path.dirname(sys.modules["_pytest"].__file__ or "")
    for module, (digest, _functions) in files.items():
        try:
            with open(os.path.join(folder, *module.split(".")) + ".py", "rb") as f:
                text = f.read()
        except OSError:
            return f"the source of _pytest.{module} cannot be read"
        if hashlib.sha256(text).hexdigest()[:16] != digest:
            return f"_pytest.{module} is not that of pytest {pytest.__version__}"
    return ""


@functools.cache
def why_not() -> str:
    """'' when this pytest is known as it is, else one line that says what is not."""
    why = other_files()
    if why:
        return why
    for module, (_digest, functions) in VERSIONS[pytest.__version__].items():
        for name, line in functions.items():
            if ":" not in name and not _is_at(f"_pytest.{module.removesuffix('.__init__')}", name, line):
                return f"_pytest.{module}.{name} is replaced"
    return ""


def _is_at(module: str, name: str, line: int) -> bool:
    target: Any = sys.modules.get(module)
    if target is None:
        return True  # not imported: then nobody has replaced it, and nobody calls it
    for part in name.split("."):
        target = vars(target).get(part) if isinstance(target, type) else getattr(target, part, None)
    return _is_code_at(target, module, line)


def _is_code_at(function: Any, module: str, line: int) -> bool:
    function = getattr(function, "__func__", function)
    if isinstance(function, property):
        function = function.fget
    function = getattr(function, "__wrapped__", function)  # contextmanager, cache
    code = getattr(function, "__code__", None)
    return (
        code is not None
        and code.co_firstlineno == line
        and code.co_filename == getattr(sys.modules[module], "__file__", "")
    )


def is_original(function: Any) -> bool:
    """The function of a hook's implementation is pytest's own, or hasten's."""
    module = function.__module__ or ""
    if module.startswith("hasten."):
        return True
    if not module.startswith("_pytest."):
        return False
    files = VERSIONS.get(pytest.__version__, {})
    short = module.removeprefix("_pytest.")
    entry = files.get(short) or files.get(f"{short}.__init__")
    line = entry[1].get(function.__qualname__) if entry else None
    return line is not None and _is_code_at(function, module, line)


def line_of(module: str, name: str) -> int:
    """The line of a function, or of a place in it (``function:place``), in a known pytest."""
    return VERSIONS[pytest.__version__][module.removeprefix("_pytest.")][1][name]


def direct_param_class() -> Any:
    """The class of fixtures that stand for direct parameters; pytest 9.2 has one of its own."""
    from _pytest import fixtures, python

    return getattr(python, "DirectParamFixtureDef", getattr(fixtures, "PseudoFixtureDef", None))
