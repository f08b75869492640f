"""The checkers in tools/ find what they are for."""

import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"


def run(tool: str, root: pathlib.Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, TOOLS / tool, root], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def write(root: pathlib.Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "include", "complaint"),
    [
        ("src/base/a.c", '"os/b.h"', "base must not include os"),
        ("src/store/a.c", '"sched/b.h"', "store must not include sched"),
        ("src/run/a.h", '"ui/line.h"', "run must not include ui"),
        ("src/run/a.c", '"ring.h"', "includes are written folder/name.h"),
        ("src/run/a.c", "<Python.h>", "Python.h belongs to src/py"),
        ("src/elsewhere/a.c", '"base/base.h"', "folder 'elsewhere' has no place"),
    ],
)
def test_layers_finds_a_wrong_include(tmp_path: pathlib.Path, name: str, include: str, complaint: str) -> None:
    write(tmp_path, name, f"/* first line */\n#include {include}\n")
    status, said = run("layers.py", tmp_path)
    assert status == 1
    assert complaint in said


def test_layers_accepts_includes_that_point_down(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "src/run/a.c", '#include "run/a.h"\n#include "base/b.h"\n#include <stdio.h>\n')
    write(tmp_path, "src/py/a.c", "#include <Python.h>\n")
    write(tmp_path, "src/main.c", '#include "cmd/cmd.h"\n')
    assert run("layers.py", tmp_path)[0] == 0


@pytest.mark.parametrize(("lines", "status"), [(80, 0), (81, 1)])
def test_sizes_counts_the_body_of_a_c_function(tmp_path: pathlib.Path, lines: int, status: int) -> None:
    write(tmp_path, "src/base/a.c", "int long_one(void)\n{\n" + "    ;\n" * lines + "}\n")
    got, said = run("sizes.py", tmp_path)
    assert got == status
    assert ("long_one" in said) == bool(status)


@pytest.mark.parametrize(("lines", "status"), [(80, 0), (81, 1)])
def test_sizes_counts_the_body_of_a_python_function(tmp_path: pathlib.Path, lines: int, status: int) -> None:
    write(tmp_path, "python/a.py", 'def long_one():\n    """What it does."""\n' + "    x = 1\n" * lines)
    assert run("sizes.py", tmp_path)[0] == status


@pytest.mark.parametrize(("lines", "status"), [(600, 0), (601, 1)])
def test_sizes_counts_the_lines_of_a_file(tmp_path: pathlib.Path, lines: int, status: int) -> None:
    write(tmp_path, "src/base/a.h", "/* */\n" * lines)
    assert run("sizes.py", tmp_path)[0] == status


def test_headers_finds_one_that_needs_another_before_it(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "src/base/good.h", "#include <stddef.h>\nsize_t a(void);\n")
    assert run("headers.py", tmp_path)[0] == 0
    write(tmp_path, "src/base/bad.h", "size_t b(void);\n")
    status, said = run("headers.py", tmp_path)
    assert status == 1
    assert "size_t" in said
