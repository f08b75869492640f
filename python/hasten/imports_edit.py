"""Makes import statements of one file lazy: in functions, by `lazy import` or by `__lazy_modules__` (PEP 810).

Comments and the way the file is written stay. An import that cannot be changed safely is refused, with the reason.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable

from hasten.imports_names import Def, Names, left_behind, names_bound, own_nodes

Import = ast.Import | ast.ImportFrom
FORMS = ("function", "lazy", "lazy-modules")


class Refused(Exception):  # noqa: N818
    """Why an edit cannot be made."""


def bound(statement: Import) -> list[str]:
    return list(names_bound(statement))


class File:
    """A source file as it is before any edit. OSError, SyntaxError or ValueError when it cannot be read."""

    def __init__(self, path: str, module: str = "") -> None:
        self.path, self.module = path, module
        with open(path, "rb") as file:
            self.data = file.read()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(self.data).readline)
        self.encoding = encoding
        self.text = self.data.decode(encoding)
        self.tree = ast.parse(self.data, path)
        self.names = Names(self.tree)
        self.around: dict[int, tuple[Import, tuple[ast.AST, ...]]] = {}
        self._place(self.tree, ())
        self.exported = _exported(self.tree)
        self.is_init = path.endswith("/__init__.py")

    def _place(self, node: ast.AST, around: tuple[ast.AST, ...]) -> None:
        if isinstance(node, Import):
            self.around.setdefault(node.lineno, (node, around[1:]))
        for child in ast.iter_child_nodes(node):
            self._place(child, (*around, node))

    def statement(self, line: int) -> Import:
        if line not in self.around:
            raise Refused("no import statement: a call")
        return self.around[line][0]

    def words(self, line: int) -> str:
        return ast.unparse(self.statement(line))

    def module_named(self, statement: Import) -> list[str]:
        """What stands after `import` or `from`, with dots resolved."""
        if isinstance(statement, ast.Import):
            return [one.name for one in statement.names]
        if not statement.level:
            return [statement.module or ""]
        parts = self.module.split(".") if self.is_init else self.module.split(".")[:-1]
        parts = parts[: len(parts) - (statement.level - 1)]
        return [".".join([*parts, *([statement.module] if statement.module else [])])]

    # ---- may it be lazy?

    def check(self, line: int, form: str) -> None:
        """Refused: why the statement on that line cannot be made lazy in that form."""
        statement = self.statement(line)
        around = self.around[line][1]
        self._check_place(statement, around, form)
        names = bound(statement)
        for name in names:
            self._check_now(name)
            if form == "function":
                self._check_function(name, statement)
        if form == "function" and not any(self.names.uses.get(name) for name in names):
            raise Refused("never used here: imported for what it does, or for others")
        if form != "function" and not any(
            self.names.uses.get(name) or name in self.exported or self.is_init for name in names
        ):
            raise Refused("never used here: imported for what it does, or for others")

    def _check_place(self, statement: Import, around: tuple[ast.AST, ...], form: str) -> None:
        for node in around:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                raise Refused("in a function already")
            if isinstance(node, (ast.Try, ast.TryStar)):
                raise Refused("inside try")
            if isinstance(node, ast.ClassDef):
                raise Refused("in the body of a class")
            if form == "function" or not isinstance(node, ast.If):
                raise Refused(f"inside {type(node).__name__.lower()}")
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            raise Refused("from __future__")
        if any(one.name == "*" for one in statement.names):
            raise Refused("takes every name (*)")

    def _check_now(self, name: str) -> None:
        now = [use for use in self.names.uses.get(name, ()) if use.kind == "now"]
        if now:
            where = f" ({now[0].why})" if now[0].why else ""
            raise Refused(f"{name} is used at module level, line {now[0].line}{where}")

    def _check_function(self, name: str, statement: Import) -> None:
        if name in self.names.odd:
            raise Refused(self.names.odd[name])
        if self.names.namespace:
            raise Refused(f"the module's names are read by their text: {self.names.namespace}")
        if name in self.exported:
            raise Refused(f"{name} is in __all__")
        if isinstance(statement, ast.ImportFrom) and self.is_init:
            raise Refused(f"{name} is re-exported by a package")
        if any(one.asname == one.name for one in statement.names):
            raise Refused(f"{name} is re-exported (as {name})")
        if self._bound_by_others(name, statement):
            raise Refused(f"{name} is bound more than once")
        if _in_doctest(self.tree, name):
            raise Refused(f"a doctest uses {name}")
        for use in self.names.uses.get(name, ()):
            if use.kind == "looked up":
                raise Refused(f"{use.why} may evaluate the annotation with {name}, line {use.line}")
            if use.home is not None and use.home.name == "__del__":
                raise Refused(f"{name} is used in __del__, line {use.line}: no place for an import")

    def _bound_by_others(self, name: str, statement: Import) -> bool:
        """By anything but statements that import a part of the same package."""
        for node in ast.walk(self.tree):
            if node is statement or name not in names_bound(node):
                continue
            if isinstance(node, ast.Import) and isinstance(statement, ast.Import):
                ours = {one.name for one in statement.names if not one.asname}
                if all(not one.asname for one in node.names) and {one.partition(".")[0] for one in ours} & {name}:
                    continue
            if self._at_module_level(node):
                return True
        return False

    def _at_module_level(self, wanted: ast.AST) -> bool:
        return any(node is wanted for node in own_nodes(self.tree))

    # ---- edits

    def edited(self, lines: Iterable[int], form: str, has_typing: bool = True) -> bytes:
        """
        The file with the statements on these lines made lazy. has_typing: typing is loaded anyway. Refused; ImportError
        without libcst.
        """
        chosen = sorted(set(lines))
        for line in chosen:
            self.check(line, form)
        if form == "lazy":
            text = self._keyword(chosen)
        elif form == "lazy-modules":
            text = self._list(chosen)
        else:
            return self._functions(chosen, has_typing)
        data = text.encode(self.encoding)
        if self.encoding == "utf-8-sig" and not data.startswith(b"\xef\xbb\xbf"):
            data = b"\xef\xbb\xbf" + data
        try:
            ast.parse(data, self.path)
        except SyntaxError as failure:
            raise Refused(f"it would not be valid: {failure.msg}") from None
        return data

    def _keyword(self, chosen: list[int]) -> str:
        lines = self.text.splitlines(keepends=True)
        for line in chosen:
            statement = self.statement(line)
            at = len(lines[line - 1].encode()[: statement.col_offset].decode())
            lines[line - 1] = lines[line - 1][:at] + "lazy " + lines[line - 1][at:]
        return "".join(lines)

    def _list(self, chosen: list[int]) -> str:
        wanted = list(dict.fromkeys(name for line in chosen for name in self.module_named(self.statement(line))))
        lines = self.text.splitlines(keepends=True)
        newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        there = _lazy_modules(self.tree)
        if there is not None:
            have = [one.value for one in there.elts if isinstance(one, ast.Constant)]
            words = [f'"{name}"' for name in wanted if name not in have]
            after = there.elts[-1] if there.elts else None
            row = (after.end_lineno if after else there.lineno) or 1
            column = (after.end_col_offset if after else there.col_offset + 1) or 0
            raw = lines[row - 1].encode()
            added = ("".join(f", {word}" for word in words) if after else ", ".join(words)).encode()
            lines[row - 1] = (raw[:column] + added + raw[column:]).decode()
            return "".join(lines)
        row = min(node.lineno for node in self.tree.body if isinstance(node, Import) and not _is_future(node))
        first = min(row, min(chosen))
        names = ", ".join(f'"{name}"' for name in wanted)
        lines.insert(first - 1, f"__lazy_modules__ = [{names}]{newline}")
        return "".join(lines)

    def _functions(self, chosen: list[int], has_typing: bool) -> bytes:
        from hasten.imports_move import move

        statements = {line: self.statement(line) for line in chosen}
        insertions: dict[int, list[tuple[int, list[str]]]] = {}  # line of a def -> (line of the import, names)
        hints: dict[int, list[str]] = {}
        names: set[str] = set()
        for line, statement in statements.items():
            for name in bound(statement):
                names.add(name)
                uses = self.names.uses.get(name, [])
                if any(use.kind == "annotation" for use in uses):
                    hints.setdefault(line, []).append(name)
                for home in _homes([use.home for use in uses], [use.outer for use in uses]):
                    rows = insertions.setdefault(home.lineno, [])
                    row = next((one for one in rows if one[0] == line), None)
                    if row:
                        row[1].append(name)
                    else:
                        rows.append((line, [name]))
        data = move(self.data, {line: bound(one) for line, one in statements.items()}, insertions, hints, has_typing)
        return self._verified(data, names)

    def _verified(self, data: bytes, names: set[str]) -> bytes:
        try:
            text = data.decode(self.encoding)
            compile(text, self.path, "exec", dont_inherit=True)
            name = left_behind(text, self.path, names - self._still_bound(data))
        except (SyntaxError, ValueError) as failure:
            raise Refused(f"it would not be valid: {failure}") from None
        if name:
            raise Refused(f"{name} would still be looked up in the module")
        return data

    def _still_bound(self, data: bytes) -> set[str]:
        """Names that an import left at module level binds as well: those of another part of the same package."""
        tree = ast.parse(data)
        return {name for node in tree.body if isinstance(node, ast.Import) for name in names_bound(node)}


def _homes(homes: list[Def | None], outer: list[tuple[Def, ...]]) -> list[Def]:
    """Without functions that lie in others of them: a name that the outer one has is there for the inner one, too."""
    wanted = {id(home) for home in homes if home is not None}
    found: dict[int, Def] = {}
    for home, around in zip(homes, outer, strict=True):
        if home is not None and not any(id(one) in wanted for one in around):
            found[id(home)] = home
    return list(found.values())


def _is_future(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _lazy_modules(tree: ast.Module) -> ast.List | ast.Set | ast.Tuple | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__lazy_modules__" for t in node.targets
        ):
            if isinstance(node.value, (ast.List, ast.Set)) or (isinstance(node.value, ast.Tuple) and node.value.elts):
                return node.value
            raise Refused("__lazy_modules__ is not a list or set that is written out")
    return None


def _exported(tree: ast.Module) -> set[str]:
    found = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
            found |= {
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
    return found


def _in_doctest(tree: ast.Module, name: str) -> bool:
    word = re.compile(rf"^\s*(?:>>>|\.\.\.).*\b{re.escape(name)}\b", re.MULTILINE)
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and ">>>" in node.value
        and word.search(node.value)
        for node in ast.walk(tree)
    )
