"""What hasten's collection gives is what pytest's gives: each attribute of each node, the text, and the errors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import INHERITED, find_program

NASTY = Path(__file__).parent.parent / "suites" / "collect"


def collect(folder: Path, to: Path, fuse: str, args: tuple[str, ...]) -> tuple[int, list[str], str]:
    """Items made by C, the dump's lines, and what was printed."""
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
    environment |= {"DUMP_TO": str(to), "HASTEN_FUSE": fuse, "PYTHONHASHSEED": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        find_program(),
        "run",
        "--no-live",
        "-p",
        "no:cacheprovider",
        "-p",
        "collect_dump",
        "--collect-only",
        *args,
    ]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    made, *lines = to.read_text().split("\n")
    text = re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"=* (.*) in \d+\.\d+s.*", r"\1", run.stdout + run.stderr))
    return int(made), [re.sub(r"0x[0-9a-f]+", "0x", line) for line in lines], text


def compare(folder: Path, *args: str) -> int:
    """How many items C has made; fails when anything else than that differs."""
    shutil.copy(NASTY / "collect_dump.py", folder)
    none, plain, plain_text = collect(folder, folder / "plain.dump", "0", args)
    made, fused, fused_text = collect(folder, folder / "fused.dump", "1", args)
    assert none == 0
    for at, (ours, theirs) in enumerate(zip(fused, plain, strict=False)):
        assert ours == theirs, f"line {at}"
    assert len(fused) == len(plain)
    assert fused_text == plain_text
    assert len(plain) > 10
    return made


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    return Path(shutil.copytree(NASTY, tmp_path / "nasty"))


def test_every_attribute_of_a_nasty_suite(nasty):
    assert compare(nasty, "-v", "--doctest-modules", "-W", "default") > 60


@pytest.mark.parametrize(
    "args",
    [
        ("-k", "test_a or Nested"),
        pytest.param(("-k", "tag and not class"), marks=pytest.mark.slow),
        pytest.param(("-m", "tag"), marks=pytest.mark.slow),
        ("test_classes.py::TestFirst::TestNested", "test_plain.py::test_two", "test_classes.py"),
        ("--deselect", "test_plain.py::test_one", "-p", "no:unittest"),
        pytest.param(("test_parametrize.py::test_values", "pkg", "pkg/test_p.py"), marks=pytest.mark.slow),
        ("-o", "python_functions=test_*[ab] check*", "-o", "python_classes=*First* Test"),
        ("-o", "python_functions=test_d on help", "-o", "python_classes=Base Not"),
        pytest.param(("-o", "collect_imported_tests=false"), marks=pytest.mark.slow),
        ("-o", "usefixtures=root", "--strict-markers"),
        ("--keep-duplicates", "test_plain.py", "test_plain.py", "pkg", "pkg"),
        pytest.param(("--import-mode=importlib", "pkg", "hooked"), marks=pytest.mark.slow),
        pytest.param(("-p", "no:python"), marks=pytest.mark.slow),
        pytest.param(("--maxfail=2",), marks=pytest.mark.slow),
    ],
)
def test_every_attribute_with_options(nasty, args):
    compare(nasty, *args)


def test_a_plugin_that_patches_pytest_gets_pytest(suite):
    patched = """
        import pytest
        from _pytest import nodes

        original = nodes.Node.__init__

        def init(self, *args, **kwargs):
            original(self, *args, **kwargs)
            self.patched = True

        nodes.Node.__init__ = init
        """
    folder = suite(
        {"conftest.py": patched, "test_a.py": "def test_a(): pass\nclass TestB:\n    def test_c(self): pass\n"}
    )
    assert compare(folder) == 0


def test_a_plain_suite_is_collected_by_c(suite):
    text = "class TestA:\n    def test_m(self): pass\n" + "".join(f"def test_{i}(tmp_path): pass\n" for i in range(30))
    assert compare(suite({"test_a.py": text, "test_b.py": text})) == 62 - 1


def test_parametrized_items_are_made_by_c(suite):
    text = "import pytest\n@pytest.mark.parametrize('x', range(50))\ndef test_x(x): pass\n"
    assert compare(suite({"test_a.py": text})) >= 49


def test_workers_run_such_items(suite, run_hasten):
    folder = suite(
        {
            "test_a.py": "def test_a(request, tmp_path):\n    assert request.node.funcargs['tmp_path'] == tmp_path\n"
            "class TestB:\n    def test_c(self, request):\n        assert request.instance is self\n"
        }
    )
    for start in ("template", "early", "spawn"):
        run = run_hasten(folder, "-n2", f"--start={start}")
        assert run.outcomes() == {"test_a": "passed", "test_c": "passed"}, run.describe()
