"""Makes a program that differs smaller: takes statements out, and puts bodies in the place of what holds them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator


def compiles(text: str) -> bool:
    try:
        compile(text, "program", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
            yield body


def starts(node: ast.AST) -> int:
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])  # type: ignore[attr-defined]


def without(lines: list[str], first: int, last: int, instead: list[str]) -> str:
    return "\n".join(lines[: first - 1] + instead + lines[last:]) + "\n"


def dedented(lines: list[str], body: list[ast.stmt], column: int) -> list[str]:
    first, last = starts(body[0]), body[-1].end_lineno or 0
    cut = body[0].col_offset - column
    return [line[cut:] if line[:cut].isspace() or not line else line for line in lines[first - 1 : last]]


def smaller(text: str) -> Iterator[str]:
    """Programs of fewer statements, the smallest first; some do not compile."""
    lines = text.rstrip("\n").split("\n")
    tree = ast.parse(text)
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.stmt, ast.excepthandler, ast.match_case))]
    for node in nodes:
        if isinstance(node, ast.match_case):
            first, column = node.pattern.lineno, 0
            last = node.body[-1].end_lineno or first
        else:
            first, last, column = starts(node), node.end_lineno or 0, node.col_offset
        indent = lines[first - 1][: len(lines[first - 1]) - len(lines[first - 1].lstrip())]
        yield without(lines, first, last, [])
        if not isinstance(node, (ast.Pass, ast.excepthandler, ast.match_case)):
            yield without(lines, first, last, [f"{indent}pass"])
        for body in bodies(node):
            if starts(body[0]) > first and isinstance(node, ast.stmt):
                yield without(lines, first, last, dedented(lines, body, column))
        for body in bodies(node):  # a clause of its own: else, finally
            if body is not getattr(node, "body", None) and starts(body[0]) > 1:
                header = next((i for i in range(starts(body[0]) - 1, first, -1) if lines[i - 1].strip()[-1:] == ":"), 0)
                if header:
                    yield without(lines, header, body[-1].end_lineno or 0, [])
    for at, line in enumerate(lines):
        if not line.strip() or line.strip().startswith("#"):
            yield "\n".join(lines[:at] + lines[at + 1 :]) + "\n"
    yield from simpler_expressions(text, lines, tree)


def simpler_expressions(text: str, lines: list[str], tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr) or isinstance(node, (ast.Name, ast.Constant)):
            continue
        children = [child for child in ast.walk(node) if isinstance(child, ast.expr) and child is not node]
        choices = [source for child in children[:6] if (source := ast.get_source_segment(text, child))] + [
            "c(0)",
            "c(1)",
        ]
        for choice in choices:
            old = ast.get_source_segment(text, node)
            if old and len(choice) < len(old):
                first, last = node.lineno - 1, (node.end_lineno or 1) - 1
                before = lines[first].encode()[: node.col_offset].decode()
                after = lines[last].encode()[node.end_col_offset :].decode()
                yield "\n".join([*lines[:first], f"{before}{choice}{after}", *lines[last + 1 :]]) + "\n"


def minimise(text: str, differs: Callable[[str], bool], most: int = 1500) -> str:
    """The smallest program found that still differs."""
    tried: set[str] = set()
    at = failed = 0
    candidates = list(smaller(text))
    while failed <= len(candidates) and len(tried) < most:
        at = at + 1 if at + 1 < len(candidates) else 0
        failed += 1
        candidate = candidates[at]
        if candidate in tried or len(candidate) >= len(text):
            continue
        tried.add(candidate)
        if compiles(candidate) and differs(candidate):
            text, failed = candidate, 0
            candidates = list(smaller(text))
            at = min(at, len(candidates) - 1) - 1
    return text
