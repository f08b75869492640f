"""`hasten run --cov` knows the options of pytest-cov and the configuration of coverage.py, and says what they say."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import measured
import pytest

pytest.importorskip("pytest_cov")

Suite = Callable[..., Path]

FILES = {
    "pkg/__init__.py": "def f(x):\n    if x:\n        return 1\n    return 2\n",
    "pkg/never.py": "NEVER = 1\n",
    "test_a.py": """
        import pkg

        def test_a():
            assert pkg.f(1) == 1

        def test_b():
            assert pkg.f(1) == 1
    """,
    "pytest.ini": "[pytest]\npythonpath = .\n",
}
FAILING = FILES | {"test_b.py": "def test_fails(): assert 0\n"}
# Options -> whether the run fails by them.
SAME_TEXT = {
    "term": ("--cov=pkg",),
    "missing": ("--cov=pkg", "--cov-report=term-missing"),
    "skip-covered": ("--cov=.", "--cov-report=term-missing:skip-covered"),
    "no-report": ("--cov=pkg", "--cov-report="),
    "files": (
        "--cov=pkg", "--cov-report=html:h", "--cov-report=xml:x.xml", "--cov-report=lcov:l.info",
        "--cov-report=json:j.json", "--cov-report=markdown:m.md", "--cov-report=markdown-append:n.md",
        "--cov-report=annotate:a",
    ),
    "default-files": ("--cov=pkg", "--cov-report=xml", "--cov-report=json", "--cov-report=lcov", "--cov-report=html"),
    "branch": ("--cov=pkg", "--cov-branch", "--cov-report=term-missing"),
    "precision": ("--cov=pkg", "--cov-precision=3"),
    "under": ("--cov=pkg", "--cov-fail-under=90"),
    "under-quietly": ("--cov=pkg", "--cov-fail-under=90.5", "--cov-report="),
    "not-under": ("--cov=pkg", "--cov-fail-under=10"),
    "reset": ("--cov=nowhere", "--cov-reset", "--cov=pkg"),
    "reset-to-nothing": ("--cov=pkg", "--cov-reset"),
    "several": ("--cov=pkg", "--cov=test_a"),
    "folder": ("--cov=pkg/",),
    "no-cov": ("--cov=pkg", "--no-cov"),
    "no-cov-first": ("--no-cov", "--cov=pkg"),
    "nothing-ran": ("--cov=pkg", "-k", "no_such_test"),
    "nothing-measured": ("--cov=nowhere",),
    "collect-only": ("--cov=pkg", "--collect-only"),
    "unknown-report": ("--cov=pkg", "--cov-report=nothing"),
    "no-destination": ("--cov=pkg", "--cov-report=term:x"),
    "same-markdown": ("--cov=pkg", "--cov-report=markdown", "--cov-report=markdown-append"),
    "bad-under": ("--cov=pkg", "--cov-fail-under=high"),
}  # fmt: skip


def shape(run: measured.Measured) -> tuple[int, list[str], set[str]]:
    """Status, the part of the text that is about coverage, warnings on stderr."""
    out = re.sub(r"^coverage: .*\n", "", run.out, flags=re.MULTILINE)  # the header's line
    lines = out.splitlines()
    start = next((i for i, line in enumerate(lines) if "tests coverage" in line), len(lines))
    kept = [
        re.sub(r"\d+\.\d\ds( \(\d+:\d\d:\d\d\))?", "N s", line)
        for line in lines[start:]
        if not line.startswith("hasten: ")
    ]
    kept = [line for line in kept if "warnings.warn(" not in line]
    kept = [re.sub(r"^.*\.py:\d+", "PLACE", line) if "CovDisabledWarning" in line or ".py:" in line else line
            for line in kept]  # fmt: skip
    messages = [line for line in lines[:start] if line.startswith(("ERROR: Coverage", "WARNING: Failed"))]
    said = set(re.findall(r"\w+Warning: [^\n]*|pytest: error: [^\n]*", run.err))
    return run.status, messages + kept, said


@pytest.mark.parametrize("case", SAME_TEXT)
def test_the_text_is_that_of_pytest_cov(suite: Suite, case: str) -> None:
    folder = suite(FILES)
    args = SAME_TEXT[case]
    plain = measured.plainly(folder, *args)
    written = sorted(path.name for path in folder.iterdir())
    run = measured.hasten(folder, *args, "-n2")
    assert shape(run) == shape(plain), run.text() + plain.text()
    assert sorted(path.name for path in folder.iterdir() if path.name != ".hasten") == written


@pytest.mark.parametrize("args", [("--no-cov-on-fail",), (), ("-x",), ("--cov-fail-under=100",)])
def test_a_run_that_fails(suite: Suite, args: tuple[str, ...]) -> None:
    """-x ends pytest's loop with an exception: no report, no data, and nothing is left of the workers'."""
    folder = suite(FAILING)
    plain = measured.plainly(folder, "--cov=pkg", "--tb=no", *args)
    left = plain.left()
    run = measured.hasten(folder, "--cov=pkg", "--tb=no", *args, "-n2")
    report = [line for line in shape(plain)[1] if "short test summary" not in line]
    assert run.status == plain.status == 1
    assert [line for line in shape(run)[1] if line in report] == report, run.text()
    assert ("tests coverage" in run.out) == ("tests coverage" in plain.out)
    assert run.left() == left


def test_a_failed_threshold_is_an_error_of_the_run(suite: Suite) -> None:
    run = measured.hasten(suite(FILES), "--cov=pkg", "--cov-fail-under=100", "-n2")
    assert run.status == 1
    assert "ERROR: Coverage failure: total of 60 is less than fail-under=100" in run.out, run.text()
    assert "FAIL Required test coverage of 100% not reached. Total coverage: 60.00%" in run.out


def test_the_heading_names_the_interpreter(suite: Suite) -> None:
    run = measured.hasten(suite(FILES), "--cov=pkg", "-n2")
    version = "{}.{}.{}-{}-{}".format(*sys.version_info)
    assert f" coverage: platform {sys.platform}, python {version} " in run.out, run.text()


# ---- whether it is pytest-cov's option or ours


@pytest.mark.parametrize("loaded", ["by itself", "not at all", "pytest_cov", "pytest_cov.plugin"])
def test_it_does_not_matter_whether_pytest_cov_is_loaded(suite: Suite, loaded: str) -> None:
    folder = suite(FILES)
    env = {} if loaded == "by itself" else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    args = ("-p", loaded) if "_" in loaded else ()
    plain = measured.plainly(folder, "--cov=pkg", measured.REPORT)
    run = measured.hasten(folder, *args, "--cov=pkg", measured.REPORT, "-n2", env=env)
    assert run.status == 0, run.text()
    assert run.files() == plain.files()
    assert run.left() == [".coverage"]


def test_a_plugin_that_is_switched_off_is_switched_off(suite: Suite) -> None:
    folder = suite(FILES)
    for verb, args in (("run", ("--cov=pkg",)), ("cov", ())):
        run = measured.hasten(folder, "-p", "no:pytest_cov", *args, verb=verb)
        assert run.status == 4, run.text()
        assert "Traceback" not in run.err


def test_the_fixture_gives_the_object_that_measures(suite: Suite) -> None:
    text = "def test_cov(cov):\n    assert type(cov).__name__ == 'Coverage'\n    assert cov.get_option('run:branch')\n"
    for env in ({}, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}):
        folder = suite(FILES | {"test_a.py": text})
        run = measured.hasten(folder, "--cov=pkg", "--cov-branch", "-n2", env=env)
        assert run.status == 0, run.text()
    folder = suite(FILES | {"test_a.py": "def test_cov(cov):\n    assert cov is None\n"})
    assert measured.hasten(folder, "-n2").status == 0


def test_pytest_hasten_measures_too(suite: Suite) -> None:
    folder = suite(FILES)
    plain = measured.plainly(folder, "--cov=pkg", measured.REPORT)
    measured.forget(folder)
    command = [str(Path(sys.executable).with_name("pytest")), "--hasten=2", "-p", "no:cacheprovider"]
    run = measured.execute(folder, [*command, "--cov=pkg", measured.REPORT])
    assert run.status == 0, run.text()
    assert "coverage: hasten's collector" in run.out or sys.version_info < (3, 12)
    assert run.files() == plain.files()


def test_plain_pytest_is_left_to_pytest_cov(suite: Suite) -> None:
    """hasten is installed there, too, and does nothing."""
    folder = suite(FILES)
    command = [str(Path(sys.executable).with_name("pytest")), "--cov=pkg", "-p", "no:cacheprovider"]
    run = measured.execute(folder, command)
    assert run.status == 0, run.text()
    assert "coverage: hasten" not in run.out
    assert "coverage: coverage.py" not in run.out
    assert "tests coverage" in run.out


# ---- hasten cov


def test_hasten_cov_measures_without_being_told_what(suite: Suite) -> None:
    folder = suite(FILES)
    run = measured.hasten(folder, "test_a.py", "-n2", measured.REPORT, verb="cov")
    assert run.status == 0, run.text()
    assert set(run.files()) == {"pkg/__init__.py", "test_a.py"}, "hasten's own files are not the suite's"


def test_hasten_cov_keeps_the_source_that_is_configured(suite: Suite) -> None:
    folder = suite(FILES | {"pytest.ini": "[pytest]\npythonpath = .\naddopts = --cov=pkg\n"})
    run = measured.hasten(folder, "-n2", measured.REPORT, verb="cov")
    assert set(run.files()) == {"pkg/__init__.py", "pkg/never.py"}, run.text()


@pytest.mark.parametrize("verb", ["report", "html", "xml", "json", "lcov", "combine"])
def test_commands_of_coverage_are_pointed_at(suite: Suite, verb: str) -> None:
    run = measured.execute(suite(FILES), [measured.find_program(), "cov", verb])
    assert run.status == 4
    assert run.err.startswith(f"hasten: '{verb}' is a command of coverage.py"), run.text()
    assert len(run.err.splitlines()) == 1


def test_without_coverage_one_line_says_what_to_install(suite: Suite) -> None:
    blocker = """
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("coverage", "pytest_cov"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Blocker())
    """
    folder = suite(FILES | {"hidden/sitecustomize.py": blocker})
    env = {"PYTHONPATH": str(folder / "hidden"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = measured.hasten(folder, "-n2", env=env, verb="cov")
    assert run.status == 4, run.text()
    assert "hasten cov needs coverage: pip install coverage" in run.err
    assert "Traceback" not in run.err


# ---- contexts


def test_contexts_of_items_are_node_ids(suite: Suite) -> None:
    for env in measured.ENGINES.values():
        run = measured.hasten(suite(FILES), "--cov=pkg", "--cov-context=item", "-n2", env=env)
        assert run.status == 0, run.text()
        assert set(run.contexts()) - {""} == {"test_a.py::test_a", "test_a.py::test_b"}


def test_function_contexts_need_hastens_collector(suite: Suite) -> None:
    folder = suite(FILES)
    run = measured.hasten(folder, "--cov=pkg", "--cov-context=function", "-n2", env={"COVERAGE_CORE": "ctrace"})
    assert run.status == 4, run.text()
    assert "--cov-context=function is not possible" in run.err
    if sys.version_info >= (3, 12):
        run = measured.hasten(folder, "--cov=pkg", "--cov-context=function", "-n2")
        assert run.status == 0, run.text()
        assert "test_a.py::test_a" in run.contexts()


def test_the_engine_is_said_with_its_reason(suite: Suite) -> None:
    run = measured.hasten(suite(FILES), "--cov=pkg", "-n2", env={"COVERAGE_CORE": "ctrace"})
    (line,) = [line for line in run.out.splitlines() if line.startswith("coverage: ")]
    if sys.version_info >= (3, 12):
        assert line == "coverage: coverage.py's own tracer (core=ctrace is asked for), in the place of pytest-cov"
    else:
        assert line.startswith("coverage: coverage.py's own tracer (CPython 3.11")


def test_a_context_that_nobody_knows_is_refused(suite: Suite) -> None:
    run = measured.hasten(suite(FILES), "--cov=pkg", "--cov-context=phase", "-n2")
    assert run.status == 4
    assert "--cov-context: 'phase' is none of test, item, function" in run.err


# ---- coverage.py's configuration

CONFIGURED = {
    "pyproject.toml": '[tool.coverage.run]\nbranch = true\nomit = ["*/never.py"]\n'
    '[tool.coverage.report]\nexclude_also = ["return 2"]\nfail_under = 99\nprecision = 1\n',
    ".coveragerc": "[run]\nbranch = True\nsource = pkg\n[report]\nexclude_also = return 2\n",
    "setup.cfg": "[coverage:run]\nsource =\n    pkg\n[coverage:report]\nshow_missing = true\n",
    "tox.ini": "[coverage:run]\nbranch = true\n[coverage:json]\noutput = other.json\n",
    "own.cfg": "[run]\nbranch = True\n[report]\nomit = */never.py\n",
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_configuration_is_coverages_own(suite: Suite, name: str) -> None:
    folder = suite(FILES | {name: CONFIGURED[name]})
    source = () if "source" in CONFIGURED[name] else ("pkg",)
    args = [f"--cov={source[0]}" if source else "--cov", measured.REPORT, "--cov-report=term"]
    args += ["--cov-config=own.cfg"] if name == "own.cfg" else []
    plain = measured.plainly(folder, *args)
    run = measured.hasten(folder, *args, "-n2")
    assert shape(run) == shape(plain), run.text() + plain.text()
    assert run.files() == plain.files()


@pytest.mark.parametrize("engine", measured.ENGINES)
def test_relative_files_and_paths(suite: Suite, engine: str) -> None:
    config = "[run]\nrelative_files = True\nbranch = True\n[paths]\nsource =\n    elsewhere/pkg\n    pkg\n"
    moved = {f"elsewhere/{name}": FILES[name] for name in FILES if name.startswith("pkg/")}
    folder = suite(FILES | moved | {".coveragerc": config})
    query = "select path from file"
    plain = measured.plainly(folder, "--cov=pkg").query(query)
    run = measured.hasten(folder, "--cov=pkg", "-n2", env=measured.ENGINES[engine])
    assert run.query(query) == plain, run.text()
    assert ("elsewhere/pkg/__init__.py",) in plain


def test_a_static_context_is_part_of_every_context(suite: Suite) -> None:
    for engine in measured.ENGINES.values():
        folder = suite(FILES | {".coveragerc": "[run]\ncontext = nightly\n"})
        plain = measured.plainly(folder, "--cov=pkg", "--cov-context=test").lines_by_context()
        run = measured.hasten(folder, "--cov=pkg", "--cov-context=test", "-n2", env=engine)
        assert run.lines_by_context() == plain, run.text()


def test_a_configuration_that_cannot_be_read_is_one_line(suite: Suite) -> None:
    folder = suite(
        FILES
        | {
            "bad.cfg": "[run\n",
            "odd.cfg": "[run]\ndynamic_context = moon\n",
            "plugin.cfg": "[run]\nplugins = no.such\n",
        }
    )
    for name in ("bad.cfg", "odd.cfg", "plugin.cfg", "not-there.cfg"):
        run = measured.hasten(folder, "--cov=pkg", f"--cov-config={name}", "-n2")
        assert run.status == 4, run.text()
        assert run.err.startswith("ERROR: coverage: "), run.text()
        assert "Traceback" not in run.err


def test_dynamic_context_of_the_configuration(suite: Suite) -> None:
    folder = suite(FILES | {".coveragerc": "[run]\ndynamic_context = test_function\n"})
    plain = measured.plainly(folder, "--cov=pkg")
    wanted = plain.lines_by_context()
    run = measured.hasten(folder, "--cov=pkg", "-n2")
    assert run.lines_by_context() == wanted, run.text()
    assert "CentralCovContextWarning: Detected dynamic_context=test_function" in run.out
    assert "CentralCovContextWarning: Detected dynamic_context=test_function" in plain.out


def test_a_warning_that_is_an_error_ends_the_run_as_with_pytest_cov(suite: Suite) -> None:
    folder = suite(FILES | {".coveragerc": "[run]\ndynamic_context = test_function\n"})
    error = ("-W", "error::pytest_cov.CentralCovContextWarning")
    plain = measured.plainly(folder, "--cov=pkg", *error)
    run = measured.hasten(folder, "--cov=pkg", *error, "-n2")
    assert run.status == plain.status != 0, run.text()
    assert "CentralCovContextWarning: Detected dynamic_context" in run.err, run.text()
