"""Makes python/hasten/known_table.py: what of pytest's releases hasten stands in for.

    python tools/known_table.py            # the releases below, from PyPI
    python tools/known_table.py --check    # says what differs from the committed table; status 1 when something does

For each file a digest, and for each function that src/py/fuse.c, fixture.c or python/hasten/fuse.py takes the place of,
the line at which its code begins (that of its first decorator).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

RELEASES = ("8.4.0", "8.4.1", "8.4.2", "9.0.0", "9.0.1", "9.0.2", "9.0.3", "9.1.0", "9.1.1", "9.2.0")
TABLE = Path(__file__).parents[1] / "python/hasten/known_table.py"
HEAD = '''"""What of pytest's releases hasten stands in for; made by tools/known_table.py."""

# ruff: noqa: E501
# fmt: off
# release -> file of _pytest -> (digest of its content, function -> first line)
VERSIONS: dict[str, dict[str, tuple[str, dict[str, int]]]] = {
'''
PHASES = ("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown")
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "runner": (
        "pytest_runtest_protocol",
        "runtestprotocol",
        "call_and_report",
        "check_interactive_exception",
        *PHASES,
        "_update_current_test_var",
        "pytest_runtest_makereport",
        "CallInfo.__init__",
        "CallInfo.from_call",
        "SetupState.setup",
        "SetupState.addfinalizer",
        "SetupState.teardown_exact",
    ),
    "logging": (
        "catching_logs.__enter__",
        "catching_logs.__exit__",
        "LogCaptureHandler.emit",
        "LogCaptureHandler.reset",
        "LoggingPlugin._runtest_for",
        *(f"LoggingPlugin.{name}" for name in PHASES),
        "LoggingPlugin.pytest_runtest_logstart",
        "LoggingPlugin.pytest_runtest_logreport",
        "LoggingPlugin.pytest_runtest_logfinish",
    ),
    "capture": (
        "CaptureManager.item_capture",
        "CaptureManager.resume_global_capture",
        "CaptureManager.suspend_global_capture",
        "CaptureManager.read_global_capture",
        "CaptureManager.activate_fixture",
        "CaptureManager.deactivate_fixture",
        *(f"CaptureManager.{name}" for name in PHASES),
    ),
    "warnings": ("catch_warnings_for_item", "pytest_runtest_protocol"),
    "assertion.__init__": ("pytest_runtest_protocol",),
    "unittest": (
        "pytest_runtest_protocol",
        "pytest_runtest_makereport",
        "TestCaseFunction.setup",
        "TestCaseFunction.teardown",
        "TestCaseFunction.runtest",
    ),
    "faulthandler": ("pytest_runtest_protocol",),
    "skipping": (
        "evaluate_skip_marks",
        "evaluate_xfail_marks",
        "pytest_runtest_setup",
        "pytest_runtest_call",
        "pytest_runtest_makereport",
    ),
    "unraisableexception": PHASES,
    "threadexception": PHASES,
    "tmpdir": ("pytest_runtest_makereport",),
    "main": ("Session.pytest_runtest_logreport",),
    "cacheprovider": ("LFPlugin.pytest_runtest_logreport",),
    "reports": (
        "TestReport.__init__",
        "TestReport.from_item_and_call",
        "BaseReport._to_json",
        "_report_to_json",
        "pytest_report_to_serializable",
    ),
    "subtests": ("pytest_report_to_serializable",),
    "python": ("pytest_pyfunc_call", "Function.setup", "Function.runtest", "get_direct_param_fixture_func"),
    "nodes": ("Node.listchain", "Node.teardown", "Node.iter_markers", "Item.add_report_section"),
    "fixtures": (
        "pytest_fixture_setup",
        "call_fixture_func",
        "resolve_fixture_function",
        "_teardown_yield_fixture",
        "TopRequest._fillfixtures",
        "FixtureRequest.getfixturevalue",
        "FixtureRequest._get_active_fixturedef",
        "SubRequest.__init__",
        "FixtureDef.execute",
        "FixtureDef.finish",
        "FixtureDef.addfinalizer",
        "FixtureDef.cache_key",
    ),
    "setuponly": ("pytest_fixture_setup", "pytest_fixture_post_finalizer"),
    "setupplan": ("pytest_fixture_setup",),
}


def lines_of(text: bytes) -> dict[str, int]:
    """Qualified name -> first line, of every function of a file."""
    found: dict[str, int] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                found[prefix + child.name] = min([child.lineno, *(d.lineno for d in child.decorator_list)])
            elif isinstance(child, ast.ClassDef):
                walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, (ast.If, ast.Try)):
                walk(child, prefix)

    walk(ast.parse(text), "")
    return found


# Lines inside of functions, by what is called there: python/hasten/frames.py calls tests and fixtures from these.
PLACES = {
    "python": {"pytest_pyfunc_call:call": ("pytest_pyfunc_call", "testfunction")},
    "fixtures": {
        "call_fixture_func:call": ("call_fixture_func", "fixturefunc"),
        "call_fixture_func:next": ("call_fixture_func", "next"),
    },
}


def place_of(text: bytes, function: str, called: str) -> int:
    """The last line of the function that calls this name."""
    (node,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function)
    return max(
        call.lineno
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == called
    )


def entry_of(wheel: Path) -> dict[str, tuple[str, dict[str, int]]]:
    entry = {}
    with zipfile.ZipFile(wheel) as archive:
        for module, names in FUNCTIONS.items():
            path = f"_pytest/{module.replace('.', '/')}.py"
            if path not in archive.namelist():
                continue  # pytest 8.4 has no subtests
            text = archive.read(path)
            lines = lines_of(text)
            missing = [name for name in names if name not in lines]
            if missing:
                print(f"{wheel.name}: _pytest.{module} has no {', '.join(missing)}", file=sys.stderr)
            places = {name: place_of(text, *where) for name, where in PLACES.get(module, {}).items()}
            digest = hashlib.sha256(text).hexdigest()[:16]
            entry[module] = (digest, {name: lines[name] for name in names if name in lines} | places)
    return entry


def download(release: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    subprocess.run([*command, f"pytest=={release}"], check=True)
    return next(folder.glob(f"pytest-{release}-*.whl"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        versions = {release: entry_of(download(release, Path(folder))) for release in RELEASES}
    text = (
        HEAD
        + "".join(
            f'    "{release}": {{\n'
            + "".join(f'        "{module}": {what},\n' for module, what in files.items())
            + "    },\n"
            for release, files in versions.items()
        )
        + "}\n"
    )
    if args.check:
        same = TABLE.read_text(encoding="utf-8") == text
        print("the table is that of the releases" if same else f"{TABLE} differs from the releases")
        return 0 if same else 1
    TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
