"""Making imports lazy: what may be changed, what the file looks like then, and that it means the same."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from hasten.imports_edit import File, Refused
from hasten.imports_project import Project


def source(folder: Path, text: str, name: str = "mod.py", module: str = "mod") -> File:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return File(str(path), module)


def moved(folder: Path, text: str, *lines: int, typing: bool = True) -> str:
    pytest.importorskip("libcst")
    return source(folder, text).edited(lines or (1,), "function", typing).decode()


def refusal(folder: Path, text: str, line: int = 1, form: str = "function", name: str = "mod.py") -> str:
    if form == "function":
        pytest.importorskip("libcst")
    with pytest.raises(Refused) as caught:
        source(folder, text, name).edited([line], form)
    return str(caught.value)


def test_an_import_goes_into_the_functions_that_need_it(tmp_path: Path) -> None:
    text = '''\
    """A module."""
    # heavy
    import os.path as p  # noqa: E402
    import sys

    x = sys


    def f(a):  # one
        """Doc."""
        # what it does
        return p.join(a)


    def g(): return p.sep

    class A:
        async def h(self):
            def inner(): return p
            return inner, p
        def other(self): return 1
    '''
    assert moved(tmp_path, text, 3) == textwrap.dedent('''\
    """A module."""
    # heavy
    import sys

    x = sys


    def f(a):  # one
        """Doc."""
        import os.path as p  # noqa: E402
        # what it does
        return p.join(a)


    def g():
        import os.path as p  # noqa: E402
        return p.sep

    class A:
        async def h(self):
            import os.path as p  # noqa: E402

            def inner(): return p
            return inner, p
        def other(self): return 1
    ''')


def test_each_function_gets_the_names_that_it_needs(tmp_path: Path) -> None:
    text = """\
    from os import (
        sep,  # one
        name as n,  # two
    )
    def f(): return sep
    def g(): return n
    def h(): return n, sep
    """
    assert moved(tmp_path, text) == textwrap.dedent("""\
    def f():
        # one
        from os import sep
        return sep
    def g():
        # two
        from os import name as n
        return n
    def h():
        from os import (
            sep,  # one
            name as n,  # two
        )
        return n, sep
    """)


def test_several_statements_on_one_line(tmp_path: Path) -> None:
    assert (
        moved(tmp_path, "import os; x = 1\ndef f(): return os\n") == "x = 1\ndef f():\n    import os\n    return os\n"
    )


def test_line_ends_tabs_and_encodings_stay(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    path = tmp_path / "mod.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\r\nimport os\r\n# \xe9\r\ndef f():\r\n\treturn os, '\xe9'\r\n")
    edited = File(str(path), "mod").edited([2], "function")
    assert edited == b"# -*- coding: latin-1 -*-\r\n# \xe9\r\ndef f():\r\n\timport os\r\n\treturn os, '\xe9'\r\n"
    path.write_bytes(b"\xef\xbb\xbfimport os\ndef f(): return os")
    assert File(str(path), "mod").edited([1], "function").startswith(b"\xef\xbb\xbfdef f():")


def test_annotations_keep_their_names(tmp_path: Path) -> None:
    text = """\
    from __future__ import annotations
    import os
    import sys

    def f(x: os.PathLike) -> "os.PathLike": return os.fspath(x)
    y = sys
    """
    assert moved(tmp_path, text, 2) == textwrap.dedent("""\
    from __future__ import annotations
    import sys
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        import os

    def f(x: os.PathLike) -> "os.PathLike":
        import os
        return os.fspath(x)
    y = sys
    """)
    assert "import sys\n\nTYPE_CHECKING = False\n\nif TYPE_CHECKING:\n    import os\n" in moved(
        tmp_path, text, 2, typing=False
    )


def test_annotations_and_the_typing_that_is_there(tmp_path: Path) -> None:
    text = """\
    from __future__ import annotations
    import os
    from typing import (
        Any,
    )
    def f(x: os.PathLike, y: Any): return os
    """
    assert "from typing import (\n    Any,\n    TYPE_CHECKING,\n)" in moved(tmp_path, text, 2)
    text = """\
    from __future__ import annotations
    import os
    import typing as t
    if t.TYPE_CHECKING:
        import sys
    def f(x: os.PathLike) -> sys.X: return os
    """
    assert "if t.TYPE_CHECKING:\n    import sys\n    import os\n" in moved(tmp_path, text, 2)


def test_the_same_name_in_another_scope_is_another(tmp_path: Path) -> None:
    text = """\
    import os
    def f(os): return os
    def g(): return [os for os in "ab"]
    def h():
        os = 1
        def inner(): return os
        return inner
    def i():
        (os := 2)
        return lambda: os
    def real(): return os
    """
    edited = moved(tmp_path, text)
    assert edited.count("import os") == 1
    assert "def real():\n    import os\n" in edited


def test_parts_of_one_package(tmp_path: Path) -> None:
    text = "import os.path\nimport os\ndef f(): return os.path\nx = 1\n"
    assert moved(tmp_path, text, 1) == "import os\ndef f():\n    import os.path\n    return os.path\nx = 1\n"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("import os\nx = os\n", 1, "used at module level, line 2"),
        ("import os\nclass A(os.X): ...\n", 1, "used at module level, line 2"),
        ("import os\n@os.x\ndef f(): ...\n", 1, "used at module level, line 2"),
        ("import os\ndef f(x=os): ...\n", 1, "used at module level, line 2"),
        ("import os\nclass A:\n    x = os\n", 1, "used at module level, line 3"),
        ("import os\nclass A:\n    x = lambda: os\n", 1, "in a lambda"),
        ("import os\nx = (os for _ in 'a')\n", 1, "in a lambda or generator"),
        ("if 1:\n    import os\ndef f(): return os\n", 2, "inside if"),
        ("import contextlib\nwith x:\n    import os\ndef f(): return os\n", 3, "inside with"),
        ("try:\n    import os\nexcept ImportError:\n    os = None\ndef f(): return os\n", 2, "inside try"),
        ("class A:\n    import os\n", 2, "in the body of a class"),
        ("def f():\n    import os\n    return os\n", 2, "in a function already"),
        ("from os import *\ndef f(): return sep\n", 1, "takes every name"),
        ("from __future__ import annotations\n", 1, "__future__"),
        ("import os\n__all__ = ['os']\ndef f(): return os\n", 1, "__all__"),
        ("import os as os\ndef f(): return os\n", 1, "re-exported"),
        ("import os\ndef f():\n    global os\n    os = 1\ndef g(): return os\n", 1, "global os"),
        ("import os\nos = os\ndef f(): return os\n", 1, "used at module level"),
        ("import os\nimport sys as os\ndef f(): return os\n", 1, "bound more than once"),
        ("import os\nfor os in 'a': ...\ndef f(): return os\n", 1, "bound more than once"),
        ("import os\ndef f(): return os, globals()['os']\n", 1, "globals() on line 2"),
        ("import os, sys\ndef f(): return os, eval('sys')\n", 1, "eval() on line 2"),
        ("import os\ndef f():\n    '''\n    >>> os.sep\n    '''\n    return os\n", 1, "doctest"),
        ("import os\nclass A:\n    def __del__(self): os.x()\n", 1, "__del__"),
        ("import os\n", 1, "never used here"),
        ("import os\nclass A:\n    os = 1\n    x = os\ndef f(): return os\n", 1, "class A, too"),
        ("from __future__ import annotations\nimport os\n@app.get\ndef f(x: os.P): return os\n", 2, "decorator get"),
        (
            "from __future__ import annotations\nimport os\n@d\nclass A:\n    x: os.P\n    def f(s): return os\n",
            2,
            "class A",
        ),
        (
            "from __future__ import annotations\nimport os\nclass A(B):\n    x: os.P\n    def f(s): return os\n",
            2,
            "class A",
        ),
        ("x = __import__('os')\n", 1, "a call"),
    ],
)
def test_what_cannot_be_moved_is_refused(tmp_path: Path, text: str, line: int, why: str) -> None:
    assert why in refusal(tmp_path, text, line)


def test_a_package_and_its_names(tmp_path: Path) -> None:
    assert "re-exported by a package" in refusal(
        tmp_path, "from os import sep\ndef f(): return sep\n", name="p/__init__.py"
    )


@pytest.mark.parametrize(
    "other",
    [
        "from pk.mod import os\n",
        "from pk.mod import *\n",
        "def f():\n    from .mod import os\n",
        "from pk import mod\nmod.os.sep\n",
        "import pk.mod as m\nm.os\n",
        "import pk.mod\npk.mod.os\n",
        "def test(monkeypatch): monkeypatch.setattr('pk.mod.os', 1)\n",
        "def test(monkeypatch): monkeypatch.setattr('mod.os.sep', 1)\n",
        "from pk import mod as other\ndef test(mocker): mocker.patch.object(other, 'os')\n",
        "X = 'pk.mod:os'\n",
    ],
)
def test_others_that_use_the_name(tmp_path: Path, other: str) -> None:
    (tmp_path / "pk").mkdir()
    (tmp_path / "pk/mod.py").write_text("import os\ndef f(): return os\n")
    (tmp_path / "pk/other.py").write_text(other)
    who = Project(str(tmp_path)).who_uses(str(tmp_path / "pk/mod.py"), "pk.mod", "os")
    assert who.startswith("pk/other.py:")
    (tmp_path / "pk/other.py").write_text(
        "import os\nfrom os import path\nfrom mod2 import os\nX = 'x.mod2.os'\nself.os\n"
    )
    assert Project(str(tmp_path)).who_uses(str(tmp_path / "pk/mod.py"), "pk.mod", "os") == ""


# ---- PEP 810


@pytest.mark.skipif(sys.version_info < (3, 15), reason="`lazy` is new in 3.15")
def test_the_keyword(tmp_path: Path) -> None:
    text = "import os  # one\nif 1:\n    from os import (\n        sep,\n    )\ndef f(): return os, sep\n"
    edited = source(tmp_path, text).edited([1, 3], "lazy").decode()
    assert edited == text.replace("import os  #", "lazy import os  #").replace("from os", "lazy from os")
    assert "used at module level" in refusal(tmp_path, "import os\nx = os\n", form="lazy")
    assert "inside try" in refusal(tmp_path, "try:\n    import os\nfinally: ...\ndef f(): return os\n", 2, "lazy")
    assert "inside with" in refusal(tmp_path, "with x:\n    import os\ndef f(): return os\n", 2, "lazy")


def test_the_list_for_any_interpreter(tmp_path: Path) -> None:
    text = '"""Doc."""\nfrom __future__ import annotations\n\nimport sys\nimport os.path\nfrom .part import x\n'
    text += "def f(): return os, sys, x\n"
    edited = source(tmp_path, text, module="pk.mod").edited([5, 6], "lazy-modules").decode()
    assert edited == text.replace("import sys", '__lazy_modules__ = ["os.path", "pk.part"]\nimport sys')
    again = source(tmp_path, edited, module="pk.mod").edited([5], "lazy-modules").decode()
    assert '__lazy_modules__ = ["os.path", "pk.part", "sys"]\n' in again
    text = "__lazy_modules__ = {\n    'a',\n}\nimport os\ndef f(): return os\n"
    assert "    'a', \"os\",\n}" in source(tmp_path, text).edited([4], "lazy-modules").decode()
    text = "__lazy_modules__ = []\nimport os\ndef f(): return os\n"
    assert '__lazy_modules__ = ["os"]\n' in source(tmp_path, text).edited([2], "lazy-modules").decode()
    assert "not a list" in refusal(
        tmp_path, "__lazy_modules__ = g()\nimport os\ndef f(): return os\n", 2, "lazy-modules"
    )
