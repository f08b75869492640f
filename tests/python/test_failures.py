"""What failing tests cost less must show the same: statements, lines and paths as pytest itself finds them."""

from __future__ import annotations

import ast
import inspect
import json
import linecache
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from _pytest._code import code, source

from hasten import failures

SOURCES = [json.decoder.__file__, inspect.__file__, ast.__file__, __file__]


@pytest.fixture
def replaced(monkeypatch):
    """failures.install() in force; pytest's own functions are back afterwards."""
    own = {"range": source.getstatementrange_ast, "find": source.findsource, "path": code.Code.path}
    for module, name in (
        (source, "getstatementrange_ast"),
        (code, "getstatementrange_ast"),
        (source, "get_statement_startend2"),
        (source, "findsource"),
        (code, "findsource"),
        (code.Code, "path"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.delenv("HASTEN_FUSE", raising=False)
    assert failures.install()
    return own


@pytest.mark.parametrize("path", SOURCES)
def test_statements_are_those_that_pytest_finds(path, replaced):
    text = source.Source(Path(path).read_text(encoding="utf-8"))
    tree = ast.parse(str(text))
    first = min(node.lineno for node in tree.body)
    for lineno in range(first, len(text), 7):
        expected = replaced["range"](lineno, text, astnode=tree)[1:]
        assert source.getstatementrange_ast(lineno, text)[1:] == expected
        assert failures.statement_range(lineno, tree) == source.get_statement_startend2(lineno, tree)


def test_a_file_is_parsed_once(replaced, monkeypatch):
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(source.ast, "parse", lambda *args, **kwargs: parsed.append(args) or parse(*args, **kwargs))
    text = source.Source("\n".join(f"x = {n}\nif x:\n    y = x" for n in range(50)))
    for lineno in range(len(text)):
        text.getstatement(lineno)
    assert len(parsed) == 1


def test_another_text_is_another_tree(replaced):
    for body in ("a = (1,\n2)\nb = 3", "a = 1\nb = (2,\n3)"):
        text = source.Source(body)
        assert source.getstatementrange_ast(1, text)[1:] == replaced["range"](1, text)[1:]


def test_what_cannot_be_parsed_is_refused_every_time(replaced):
    for _ in range(2):
        with pytest.raises(SyntaxError):
            source.getstatementrange_ast(0, source.Source("def ("))


def test_trees_of_few_characters_are_kept():
    trees = failures.Trees()
    texts = [f"# {n}" + " " * (failures.MOST_CHARACTERS // 4) for n in range(6)]
    for text in texts:
        trees.put(text, ast.Module(body=[], type_ignores=[]))
        assert trees.get(texts[0]) is not None or text is not texts[0]
    assert trees.n_characters == sum(map(len, trees.trees)) <= failures.MOST_CHARACTERS
    assert trees.get(texts[-1]) is not None


def test_a_changed_file_shows_its_new_lines(replaced, tmp_path, monkeypatch):
    path = tmp_path / "module_that_changes.py"
    for number in (1, 222):
        path.write_text(f"def f():\n    return {number}   \n")
        linecache.checkcache(str(path))
        namespace: dict[str, object] = {}
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        found, lineno = source.findsource(namespace["f"])
        own, own_lineno = replaced["find"](namespace["f"])
        assert (found.lines, found.raw_lines, lineno) == (own.lines, own.raw_lines, own_lineno)
        assert found.lines == ["def f():", f"    return {number}"]
        found.lines.append("of this caller alone")


def test_a_path_is_a_path_while_the_file_is_there(replaced, tmp_path):
    path = tmp_path / "gone.py"
    path.write_text("")
    raw = compile("x = 1", str(path), "exec")
    assert code.Code(raw).path == path
    assert code.Code(raw).path == path
    path.unlink()
    assert code.Code(raw).path == str(path) == replaced["path"].fget(code.Code(raw))


@pytest.mark.parametrize("why", ["HASTEN_FUSE", "--no-fuse", "patched", "version"])
def test_off(why, replaced, monkeypatch):
    before = source.getstatementrange_ast
    if why == "HASTEN_FUSE":
        monkeypatch.setenv(why, "0")
    elif why == "--no-fuse":
        monkeypatch.setattr(sys, "argv", ["pytest", why])
    elif why == "version":
        monkeypatch.setattr(pytest, "__version__", "99.0")
    assert not failures.install()  # "patched": by the fixture, as a plugin could have done
    assert source.getstatementrange_ast is before


def test_failures_read_the_same(replaced, tmp_path, monkeypatch):
    """A chained failure through a function, a class and a decorator, with and without what is replaced."""
    path = tmp_path / "module_that_fails.py"
    path.write_text(
        textwrap.dedent(
            """
            def wrap(f):
                return f

            class C:
                @wrap
                def g(self, x):
                    try:
                        return {}[
                            x
                        ]
                    except KeyError as exc:
                        raise ValueError(
                            "no"  # comment
                        ) from exc
                    finally:
                        x = 1

            def h():
                for n in range(3):
                    C().g(n)
                else:
                    pass
            """
        )
    )
    namespace: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)

    def shown():
        with pytest.raises(ValueError, match="no") as info:
            namespace["h"]()
        texts = [str(info.getrepr(style=style, showlocals=style == "long")) for style in ("long", "short", "line")]
        return re.sub(r"0x[0-9a-f]+", "0x", "\n".join(texts))

    texts = [shown(), shown()]
    monkeypatch.undo()
    assert source.getstatementrange_ast is replaced["range"]
    own = shown()
    assert "for n in range(3)" in own
    assert texts == [own, own]
