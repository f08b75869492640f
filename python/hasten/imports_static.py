"""What the source says about import statements: whether they could be lazy, and if not, why.

Reads lines from standard input: ``T<tab>file<tab>names`` (names that other modules took from this file's module, comma
separated) and ``S<tab>line<tab>file``; writes one line for each S: the reason, empty when nothing stands against it.
"""

from __future__ import annotations

import ast
import os
import sys
import tokenize
from collections.abc import Iterator

Import = ast.Import | ast.ImportFrom
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def bound(statement: Import) -> dict[str, str]:
    """The names that an import statement binds, and what each stands for."""
    if isinstance(statement, ast.Import):
        return {one.asname or one.name.partition(".")[0]: one.name for one in statement.names}
    return {one.asname or one.name: one.name for one in statement.names}


class Source:
    """One file: its import statements by line, and which names its module's body uses, where."""

    def __init__(self, path: str) -> None:
        with tokenize.open(path) as file:
            self.tree = ast.parse(file.read(), path)
        self.path = path
        self.is_init = os.path.basename(path) == "__init__.py"
        self.imports: dict[int, list[tuple[Import, tuple[ast.AST, ...]]]] = {}
        self.used: dict[str, list[int]] = {}  # at import time
        self.used_later: set[str] = set()
        self.exported: set[str] = set()
        self.deferred = sys.version_info >= (3, 14) or any(
            isinstance(one, ast.ImportFrom)
            and one.module == "__future__"
            and any(alias.name == "annotations" for alias in one.names)
            for one in self.tree.body
        )
        self._visit(self.tree, ())
        self.exported = set(self._all())

    def _all(self) -> Iterator[str]:
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
                for one in ast.walk(node):
                    if isinstance(one, ast.Constant) and isinstance(one.value, str):
                        yield one.value

    def _visit(self, node: ast.AST, around: tuple[ast.AST, ...]) -> None:
        """around: the statements that node lies in, outermost first."""
        if isinstance(node, Import):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                self.imports.setdefault(line, []).append((node, around))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if any(isinstance(one, Function) for one in around):
                self.used_later.add(node.id)
            else:
                self.used.setdefault(node.id, []).append(node.lineno)
        elif isinstance(node, Function):
            self._function(node, around)
            return
        elif isinstance(node, ast.AnnAssign):
            self._annotated(node, around)
            return
        for child in ast.iter_child_nodes(node):
            self._visit(child, (*around, node))

    def _function(self, node: Function, around: tuple[ast.AST, ...]) -> None:
        """Decorators, defaults and, where they are not deferred, annotations run with the module's body."""
        arguments = node.args
        for now in (*getattr(node, "decorator_list", ()), *arguments.defaults, *arguments.kw_defaults):
            if now is not None:
                self._visit(now, around)
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        annotations = [one.annotation for one in named if one and one.annotation]
        if not isinstance(node, ast.Lambda) and node.returns:
            annotations.append(node.returns)
        for annotation in annotations:
            self._visit(annotation, (*around, node) if self.deferred else around)
        body = node.body if isinstance(node.body, list) else [node.body]
        for child in body:
            self._visit(child, (*around, node))

    def _annotated(self, node: ast.AnnAssign, around: tuple[ast.AST, ...]) -> None:
        if not self.deferred:
            self._visit(node.annotation, around)
        if node.value:
            self._visit(node.value, around)
        self._visit(node.target, around)

    def reason(self, line: int, taken: set[str]) -> str:
        """Of the first statement on that line for which there is one."""
        found = self.imports.get(line)
        if not found:
            return "no import statement: a call"
        return next((why for statement, around in found if (why := self._reason(statement, around, taken))), "")

    def _reason(self, statement: Import, around: tuple[ast.AST, ...], taken: set[str]) -> str:
        if any(isinstance(one, Function) for one in around):
            return "in a function already"
        if any(isinstance(one, (ast.Try, ast.TryStar)) for one in around):
            return "inside try"
        if any(isinstance(one, ast.ClassDef) for one in around):
            return "in the body of a class"
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            return "from __future__"
        names = bound(statement)
        if "*" in names:
            return "takes every name (*)"
        return self._use(names) or self._export(statement, names, taken)

    def _use(self, names: dict[str, str]) -> str:
        lines = [(line, name) for name in names for line in self.used.get(name, ())]
        return f"{min(lines)[1]} is used at module level, line {min(lines)[0]}" if lines else ""

    def _export(self, statement: Import, names: dict[str, str], taken: set[str]) -> str:
        for name in names:
            if name in self.exported:
                return f"{name} is in __all__"
            if name in taken:
                return f"another module imports {name} from here"
        if self.is_init and isinstance(statement, ast.ImportFrom):
            return f"{next(iter(names))} is re-exported by a package"
        if not any(name in self.used_later for name in names):
            return "never used here: imported for what it does, or re-exported"
        return ""


def answer(requests: list[str]) -> Iterator[str]:
    taken: dict[str, set[str]] = {}
    sources: dict[str, Source | str] = {}
    for request in requests:
        kind, _, rest = request.partition("\t")
        if kind == "T":
            path, _, names = rest.partition("\t")
            taken.setdefault(path, set()).update(names.split(","))
    for request in requests:
        kind, _, rest = request.partition("\t")
        if kind != "S":
            continue
        line, _, path = rest.partition("\t")
        if path not in sources:
            try:
                sources[path] = Source(path)
            except (OSError, SyntaxError, ValueError) as failure:
                sources[path] = f"its source cannot be read: {type(failure).__name__}"
        source = sources[path]
        yield source if isinstance(source, str) else source.reason(int(line), taken.get(path, set()))


def main() -> int:
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    for line in answer(sys.stdin.read().split("\n")):
        print(line.replace("\n", " "))
    return 0


if __name__ == "__main__":
    sys.exit(main())
