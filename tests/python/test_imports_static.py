"""What the source says against making an import lazy."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from hasten.imports_static import answer


def reason(folder: Path, text: str, line: int = 1, name: str = "mod.py", taken: str = "") -> str:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    (found,) = answer([f"T\t{path}\t{taken}", f"S\t{line}\t{path}", ""])
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import os\ndef f():\n    return os.name\n",
        "import os.path as p\nclass A:\n    def f(self):\n        return p\n",
        "from os import (\n    name,\n    sep,\n)\nf = lambda: name + sep\n",
        "from __future__ import annotations\nimport os\ndef f(x: os.PathLike) -> os.PathLike:\n    return os.name\n",
        "if True:\n    import os\ndef f():\n    return os\n",
        "import os\nasync def f():\n    async with os:\n        def g(x=os): ...\n",
    ],
)
def test_used_in_functions_only_can_be_lazy(tmp_path: Path, text: str) -> None:
    line = next(i for i, one in enumerate(text.splitlines(), 1) if "import" in one and "__future__" not in one)
    assert reason(tmp_path, text, line) == ""


def test_every_line_of_a_long_statement_is_that_statement(tmp_path: Path) -> None:
    text = "from os import (\n    name,\n    sep,\n)\nx = sep\n"
    assert [reason(tmp_path, text, line) for line in (1, 2, 3, 4)] == ["sep is used at module level, line 5"] * 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os\nx = os.name\n", "os is used at module level, line 2"),
        ("import os\nclass A(os.PathLike): ...\n", "os is used at module level, line 2"),
        ("import os\nclass A:\n    x = os\n", "os is used at module level, line 3"),
        ("import os\n@os.f\ndef f(): ...\n", "os is used at module level, line 2"),
        ("import os\ndef f(x=os.name): ...\n", "os is used at module level, line 2"),
        ("import os\ndef f(*, x=os.name): ...\n", "os is used at module level, line 2"),
        ("import os\nf = lambda x=os: x\n", "os is used at module level, line 2"),
        ("import os.path\nx = [os for _ in ()]\n", "os is used at module level, line 2"),
        ("from os import *\n", "takes every name (*)"),
        ("from os import name\n__all__ = ['name']\n", "name is in __all__"),
        ("from os import name\n__all__ = []\n__all__ += ['name']\n", "name is in __all__"),
        ("import os\n", "never used here: imported for what it does, or re-exported"),
        ("x = 1\n", "no import statement: a call"),
        ("from __future__ import annotations\n", "from __future__"),
    ],
)
def test_reasons(tmp_path: Path, text: str, why: str) -> None:
    assert reason(tmp_path, text) == why


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("try:\n    import os\nexcept ImportError:\n    os = None\n", 2, "inside try"),
        ("try:\n    pass\nfinally:\n    import os\n", 4, "inside try"),
        ("class A:\n    import os\n", 2, "in the body of a class"),
        ("def f():\n    import os\n", 2, "in a function already"),
        (
            "class A:\n    def f(self):\n        try:\n            import os\n        except E: ...\n",
            4,
            "in a function already",
        ),
    ],
)
def test_reasons_of_where_it_stands(tmp_path: Path, text: str, line: int, why: str) -> None:
    assert reason(tmp_path, text, line) == why


def test_what_others_take_is_re_exported(tmp_path: Path) -> None:
    text = "from os import name\ndef f():\n    return name\n"
    assert reason(tmp_path, text) == ""
    assert reason(tmp_path, text, taken="sep,name") == "another module imports name from here"
    assert reason(tmp_path, text, name="__init__.py") == "name is re-exported by a package"


def test_annotations_count_where_they_are_evaluated(tmp_path: Path) -> None:
    function = "import os\ndef f(x: os.PathLike): return os\n"
    variable = "import os\nx: os.PathLike\ndef f(): return os\n"
    used = "" if sys.version_info >= (3, 14) else "os is used at module level, line 2"
    assert reason(tmp_path, function) == used
    assert reason(tmp_path, variable) == used


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    assert reason(tmp_path, "def f(:\n") == "its source cannot be read: SyntaxError"
    (found,) = answer([f"S\t1\t{tmp_path}/nothing.py"])
    assert found == "its source cannot be read: FileNotFoundError"


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nimport re\nx = re\ndef f(): return os\n")
    questions = [f"S\t{line}\t{tmp_path}/a.py" for line in (2, 1, 3)]
    assert list(answer(questions)) == ["re is used at module level, line 3", "", "no import statement: a call"]
