"""Imports that no statement of Python's shows: by a module's __getattr__, and by compiled code."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
from test_imports import at, measure, modules, program, write

PACKAGE = """
    def __getattr__(name):
        if name == "Thing":
            from pk.thing import Thing
            globals()["Thing"] = Thing
            return Thing
        raise AttributeError(name)
    """

EXTENSION = """
#include <Python.h>

static PyObject *ask(const char *text, int straight, int level)
{
    PyObject *name = PyUnicode_FromString(text);
    PyObject *names = Py_BuildValue("[s]", "x");
    PyObject *module = straight == 2 ? PyImport_GetModule(name) : straight == 1
        ? PyImport_ImportModuleLevelObject(name, PyEval_GetGlobals(), NULL, names, level) : PyImport_Import(name);
    Py_DECREF(name);
    Py_DECREF(names);
    return module;
}

static int execute(PyObject *self)
{
    volatile int how = HOW; /* the library binds all three functions, whichever it calls */
    PyObject *module = ask("WHAT", how, 0);
    if (!module)
        return -1;
    Py_DECREF(module);
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "native", NULL, 0, NULL, slots};
PyMODINIT_FUNC PyInit_native(void) { return PyModuleDef_Init(&def); }
"""

OLD = """
#include <Python.h>

static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};

PyMODINIT_FUNC PyInit_native(void)
{
    PyObject *name = PyUnicode_FromString("WHAT");
    PyObject *module = PyImport_ImportModuleLevelObject(name, NULL, NULL, NULL, 0);
    Py_DECREF(name);
    if (!module)
        return NULL;
    Py_DECREF(module);
    return PyModule_Create(&def);
}
"""


def headers() -> list[str]:
    found = [sysconfig.get_path(name) for name in ("include", "platinclude")]
    if not any(Path(folder, "Python.h").exists() for folder in found):
        pytest.skip("this Python has no header files here")
    return [f"-I{folder}" for folder in found]


def compile_extension(folder: Path, text: str, what: str, how: int = 1) -> None:
    source = folder / "native.c"
    source.write_text(text.replace("WHAT", what).replace("HOW", str(how)))
    library = folder / ("native" + sysconfig.get_config_var("EXT_SUFFIX"))
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", *headers(), "-o", library, source], check=True)


@pytest.mark.parametrize(("taken", "goes"), [("Thing", {"first"}), ("Other", {"first", "pk.thing"})])
def test_who_takes_a_name_needs_what_getattr_imports_for_it(tmp_path: Path, taken: str, goes: set[str]) -> None:
    files = {
        "pk__init": PACKAGE + "\n    Other = 1\n",
        "pk__thing": "class Thing: pass\n",
        "first": "from pk import Thing\n",
        "second": f"from pk import {taken}\n",
    }
    write(tmp_path, app="import first\nimport second\n", **files)
    before = measure(tmp_path, "app")
    assert at(before, "app.py", 1)["saved"]["modules"] == len(goes)
    write(tmp_path, app="def use():\n    import first\nimport second\n", **files)
    after = measure(tmp_path, "app")
    assert modules(before).keys() - modules(after).keys() == goes


@pytest.mark.parametrize("how", [0, 1], ids=["by_import", "straight"])
@pytest.mark.parametrize("text", [EXTENSION, OLD], ids=["phases", "at_once"])
def test_what_compiled_code_finds_there(tmp_path: Path, how: int, text: str) -> None:
    """`import late` alone does not lead to it: native asks for it, whether it is there or not."""
    if text is OLD and not how:
        pytest.skip("one way is enough there")
    compile_extension(tmp_path, text, "late", how)
    write(tmp_path, app="import late\nimport native\n", late="x = 1\n")
    before = measure(tmp_path, "app")
    assert at(before, "app.py", 1)["saved"]["modules"] == 0
    assert at(before, "app.py", 2)["saved"]["modules"] == 1
    write(tmp_path, app="def use():\n    import late\nimport native\n", late="x = 1\n")
    after = measure(tmp_path, "app")
    assert "late" in modules(after)
    assert modules(after)["late"]["within"] == "native"
    assert at(after, "app.py", 3)["saved"]["modules"] == 2


def test_what_compiled_code_loads_is_its_own(tmp_path: Path) -> None:
    """Two import the extension, and only the first of them finds it loading."""
    compile_extension(tmp_path, EXTENSION, "late")
    write(tmp_path, app="import one\nimport two\n", one="import native\n", two="import native\n", late="x = 1\n")
    profile = measure(tmp_path, "app")
    assert at(profile, "app.py", 1)["saved"]["modules"] == 1
    assert modules(profile)["native"]["saved"]["modules"] == 2
    shown = program(tmp_path, "--runs", "1", "app").stdout
    assert "native" in shown
    assert ":0" not in shown


def test_only_looking_whether_it_is_there_is_no_import(tmp_path: Path) -> None:
    text = EXTENSION.replace("PyImport_ImportModuleLevelObject(name, PyEval_GetGlobals(), NULL, names, level)", "NULL")
    compile_extension(tmp_path, text, "late", 2)
    write(tmp_path, app="import late\nimport native\n", late="x = 1\n")
    profile = measure(tmp_path, "app")
    assert at(profile, "app.py", 1)["saved"]["modules"] == 1


def test_what_made_by_cython_looks_whether_it_is_there_and_imports(tmp_path: Path) -> None:
    compile_extension(tmp_path, EXTENSION, "late", 2)
    write(tmp_path, app="import late\nimport native\n", late="x = 1\n")
    profile = measure(tmp_path, "app")
    assert at(profile, "app.py", 1)["saved"]["modules"] == 0


def test_compiled_code_that_fails_fails_as_it_does(tmp_path: Path) -> None:
    compile_extension(tmp_path, EXTENSION, "not_there")
    write(tmp_path, app="try:\n    import native\nexcept ModuleNotFoundError as e:\n    print(e.name)\n")
    profile = measure(tmp_path, "app")
    assert "not_there" not in {name for name, one in modules(profile).items() if not one.get("failed")}
    assert modules(profile)["native"]["failed"]
