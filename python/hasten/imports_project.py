"""Who else in a project refers to a name of a module: by `from` import, attribute, or in a text, as for monkeypatch."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator

from hasten.imports_names import dotted_end

FOREIGN = {"site-packages", "dist-packages", "node_modules", "__pycache__", "venv", "env", "build", "dist"}
DOTTED = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+")


def sources(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            one
            for one in folders
            if not one.startswith(".")
            and one not in FOREIGN
            and not os.path.exists(os.path.join(folder, one, "pyvenv.cfg"))
        )
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(folder, name)


class Referring:
    """What one file refers to."""

    def __init__(self, path: str, tree: ast.AST) -> None:
        self.path = path
        self.taken: list[tuple[str, str, int]] = []  # (module or path without ending, name, line)
        self.attributes: list[tuple[str, str, int]] = []  # (last part of what it is an attribute of, name, line)
        self.texts: list[tuple[str, int]] = []
        aliases: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                self._from(node, aliases)
            elif isinstance(node, ast.Import):
                for one in node.names:
                    if one.asname:
                        aliases[one.asname] = one.name.rpartition(".")[2]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                base = dotted_end(node.value)
                self.attributes.append((aliases.get(base, base), node.attr, node.lineno))
            elif isinstance(node, ast.Call) and len(node.args) >= 2 and isinstance(node.args[1], ast.Constant):
                base = dotted_end(node.args[0])
                if isinstance(node.args[1].value, str):
                    self.attributes.append((aliases.get(base, base), node.args[1].value, node.lineno))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
                self.texts.append((node.value.replace(":", "."), node.lineno))

    def _from(self, node: ast.ImportFrom, aliases: dict[str, str]) -> None:
        where = node.module or ""
        if node.level:
            folder = self.path
            for _ in range(node.level):
                folder = os.path.dirname(folder)
            where = os.path.join(folder, *where.split(".")) if where else folder
        for one in node.names:
            self.taken.append((where, one.name, node.lineno))
            if one.asname:
                aliases[one.asname] = one.name


class Project:
    """All sources below a folder; each is parsed when it may say something about what is asked."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.texts: dict[str, bytes] = {}
        for path in sources(root):
            try:
                with open(path, "rb") as file:
                    self.texts[path] = file.read()
            except OSError:
                continue
        self.parsed: dict[str, Referring | None] = {}

    def _referring(self, path: str) -> Referring | None:
        if path not in self.parsed:
            try:
                self.parsed[path] = Referring(path, ast.parse(self.texts[path]))
            except (SyntaxError, ValueError):
                self.parsed[path] = None
        return self.parsed[path]

    def who_uses(self, path: str, module: str, name: str) -> str:
        """The reason against taking `name` out of the module at path; "" when nobody else refers to it."""
        last = module.rpartition(".")[2]
        for other, text in self.texts.items():
            if other == path or (name.encode() not in text and b"import *" not in text):
                continue
            found = self._referring(other)
            if not found:
                continue
            line = self._line(found, path, module, last, name)
            if line:
                return f"{os.path.relpath(other, self.root)}:{line} refers to {last}.{name}"
        return ""

    @staticmethod
    def _line(found: Referring, path: str, module: str, last: str, name: str) -> int:
        stem = path.removesuffix("/__init__.py").removesuffix(".py")
        for where, taken, line in found.taken:
            if taken not in (name, "*"):
                continue
            dotted = "." + where
            if where in (module, stem) or (
                where and (("." + module).endswith(dotted) or stem.replace("/", ".").endswith(dotted))
            ):
                return line
        for base, attribute, line in found.attributes:
            if attribute == name and base == last:
                return line
        for text, line in found.texts:
            if f".{last}.{name}." in f".{text}.":
                return line
        return 0
