"""Where a file's module-level names are used: at once, later and in which function, or only by annotations.

The scopes are worked out here, and what an edit left is looked at once more through `symtable` (`left_behind`): the
interpreter's own view of the same rules.
"""

from __future__ import annotations

import ast
import dataclasses
import symtable
import sys
from collections.abc import Iterator

Def = ast.FunctionDef | ast.AsyncFunctionDef
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

# Decorators that look at no annotation; a part of the name, from its end, as it is written.
PLAIN_DECORATORS = {
    "staticmethod", "classmethod", "property", "setter", "getter", "deleter", "cached_property", "wraps", "cache",
    "lru_cache", "contextmanager", "asynccontextmanager", "abstractmethod", "override", "overload", "final", "fixture",
    "parametrize", "skip", "skipif", "xfail", "usefixtures", "filterwarnings", "patch", "object", "total_ordering",
}  # fmt: skip


@dataclasses.dataclass
class Use:
    line: int
    home: Def | None  # the innermost function in whose body it lies; None: in none
    outer: tuple[Def, ...]  # functions around home, outermost first
    kind: str  # "now", "later", "annotation" or "looked up": an annotation that somebody may evaluate
    why: str = ""


@dataclasses.dataclass
class Scope:
    node: ast.AST
    bound: set[str]
    declared_global: set[str]


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to the scope of node itself, functions and classes in it as one node each."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Comprehension):  # has a scope of its own, but for `:=`
            yield from (one.target for one in ast.walk(child) if isinstance(one, ast.NamedExpr))
            continue
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from own_nodes(child)


def names_bound(node: ast.AST) -> Iterator[str]:
    """By this one node, in its scope."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for one in node.names:
            yield one.asname or (one.name.partition(".")[0] if isinstance(node, ast.Import) else one.name)
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def scope_of(node: ast.AST) -> Scope:
    scope = Scope(node, set(), set())
    body = node.body if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module)) else [node]
    if isinstance(node, FUNCTIONS):
        scope.bound |= {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
    around = ast.Tuple(elts=body if isinstance(body, list) else [body], ctx=ast.Load())  # type: ignore[arg-type]
    for one in own_nodes(around):
        scope.bound |= set(names_bound(one))
        if isinstance(one, ast.Global):
            scope.declared_global |= set(one.names)
    return scope


def dotted_end(node: ast.AST) -> str:
    """The last name of `a.b.c` or `a.b.c(...)`."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class Names:
    """One module."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.module = scope_of(tree)
        self.uses: dict[str, list[Use]] = {}
        self.odd: dict[str, str] = {}  # name -> why nobody can tell what it means in some place
        self.deferred = sys.version_info >= (3, 14) or any(
            isinstance(one, ast.ImportFrom)
            and one.module == "__future__"
            and any(a.name == "annotations" for a in one.names)
            for one in tree.body
        )
        self.namespace = ""  # how the module reads its names by their text, if it does
        self._body(tree.body, (), "now")

    # scopes: from the outermost function or class to the innermost; when: of what is met

    def _body(self, nodes: list[ast.stmt], scopes: tuple[Scope, ...], when: str) -> None:
        for node in nodes:
            self._visit(node, scopes, when)

    def _visit(self, node: ast.AST, scopes: tuple[Scope, ...], when: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._def(node, scopes, when)
        elif isinstance(node, ast.Lambda):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default:
                    self._visit(default, scopes, when)
            self._visit(node.body, (*scopes, scope_of(node)), when)
        elif isinstance(node, ast.ClassDef):
            for now in (*node.decorator_list, *node.bases, *node.keywords, *getattr(node, "type_params", ())):
                self._visit(now, scopes, when)
            self._body(node.body, (*scopes, scope_of(node)), when)
        elif isinstance(node, Comprehension):
            targets = {one.id for gen in node.generators for one in ast.walk(gen.target) if isinstance(one, ast.Name)}
            for child in ast.iter_child_nodes(node):
                self._visit(child, (*scopes, Scope(node, targets, set())), when)
        elif isinstance(node, ast.AnnAssign):
            self._field(node, scopes, when)
        elif isinstance(node, ast.Name):
            self._name(node, scopes, when)
        else:
            self._call(node)
            for child in ast.iter_child_nodes(node):
                self._visit(child, scopes, when)

    def _call(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("globals", "eval", "exec") or (node.func.id in ("vars", "locals") and not node.args):
                self.namespace = self.namespace or f"{node.func.id}() on line {node.lineno}"
            if node.func.id == "cast" and node.args:
                self._text(node.args[0], None, ())
        if isinstance(node, ast.Attribute) and node.attr == "modules" and dotted_end(node.value) == "sys":
            self.namespace = self.namespace or f"sys.modules on line {node.lineno}"
        if dotted_end(node) == "get_type_hints" and isinstance(node, ast.Call):
            self.namespace = self.namespace or f"get_type_hints() on line {node.lineno}"

    def _def(self, node: Def, scopes: tuple[Scope, ...], when: str) -> None:
        arguments = node.args
        for now in (*node.decorator_list, *arguments.defaults, *arguments.kw_defaults):
            if now is not None:
                self._visit(now, scopes, when)
        for parameter in getattr(node, "type_params", ()):
            self._visit(parameter, scopes, when)
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        annotations = [one.annotation for one in named if one and one.annotation]
        if node.returns:
            annotations.append(node.returns)
        odd = [dotted_end(one) for one in node.decorator_list if dotted_end(one) not in PLAIN_DECORATORS]
        for annotation in annotations:
            self._annotation(annotation, scopes, when, f"decorator {odd[0]}" if odd else "")
        self._body(node.body, (*scopes, scope_of(node)), "later")

    def _field(self, node: ast.AnnAssign, scopes: tuple[Scope, ...], when: str) -> None:
        inner = scopes[-1].node if scopes else None
        if not isinstance(inner, Function):  # those of a function's variables are never evaluated
            odd = isinstance(inner, ast.ClassDef) and (inner.decorator_list or inner.bases or inner.keywords)
            self._annotation(node.annotation, scopes, when, f"class {inner.name}" if odd else "")  # type: ignore[union-attr]
        else:
            self._text(node.annotation, None, scopes)
        for child in (node.value, node.target):
            if child:
                self._visit(child, scopes, when)

    def _annotation(self, node: ast.expr, scopes: tuple[Scope, ...], when: str, evaluated_by: str) -> None:
        if self.deferred:
            self._text(node, evaluated_by, scopes)
            return
        self._visit(node, scopes, when)
        for one in ast.walk(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                self._text(one, evaluated_by, scopes)

    def _text(self, node: ast.expr, evaluated_by: str | None, scopes: tuple[Scope, ...]) -> None:
        """An annotation that the interpreter does not evaluate by itself."""
        for one in ast.walk(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                try:
                    inner = ast.parse(one.value, mode="eval")
                except (SyntaxError, ValueError):
                    continue
                for name in ast.walk(inner):
                    if isinstance(name, ast.Name):
                        self._annotated(name.id, one.lineno, evaluated_by)
            elif isinstance(one, ast.Name):
                self._annotated(one.id, one.lineno, evaluated_by)

    def _annotated(self, name: str, line: int, evaluated_by: str | None) -> None:
        kind = "looked up" if evaluated_by else "annotation"
        self.uses.setdefault(name, []).append(Use(line, None, (), kind, evaluated_by or ""))

    def _name(self, node: ast.Name, scopes: tuple[Scope, ...], when: str) -> None:
        name = node.id
        if not isinstance(node.ctx, ast.Load) and not scopes:
            return
        for depth in range(len(scopes) - 1, -1, -1):
            scope = scopes[depth]
            if name in scope.declared_global:
                self.odd.setdefault(name, f"`global {name}`, line {node.lineno}")
                return
            if name not in scope.bound:
                continue
            if not isinstance(scope.node, ast.ClassDef):
                return
            if depth == len(scopes) - 1:  # the body of a class sees its own names and the module's under one name
                self.odd.setdefault(name, f"{name} is a name of class {scope.node.name}, too")
                return
        defs = [one.node for one in scopes if isinstance(one.node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        home = defs[-1] if defs else None
        in_lambda = any(isinstance(one.node, (ast.Lambda, ast.GeneratorExp)) for one in scopes)
        why = "in a lambda or generator outside of functions" if home is None and in_lambda else ""
        kind = "later" if home is not None else "now"
        self.uses.setdefault(name, []).append(Use(node.lineno, home, tuple(defs[:-1]), kind, why))


def left_behind(text: str, path: str, names: set[str]) -> str:
    """The first of names that something in this source would still look up in the module; "" when nothing does."""

    def look(table: symtable.SymbolTable) -> str:
        kind = str(getattr(table.get_type(), "value", table.get_type()))
        # `if TYPE_CHECKING: import x` binds the name in the module, in a block that never runs.
        for name in names if kind in ("module", "class", "function") else ():
            try:
                symbol = table.lookup(name)
            except KeyError:
                continue
            used = symbol.is_referenced() and (kind == "module" or symbol.is_global())
            if used or (kind == "module" and symbol.is_assigned() and not symbol.is_imported()):
                return name
        return next((found for child in table.get_children() if (found := look(child))), "")

    return look(symtable.symtable(text, path, "exec"))
