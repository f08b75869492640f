"""Checks sizes: a file has at most 600 lines, a function at most 80 (50 is the habit; longer ones are counted).

A C function is what stands between a line "{" and a line "}" that both begin in the first column, as clang-format
writes it. Usage: sizes.py [ROOT]    Exit status 1 and one line for each that is too long.
"""

import ast
import pathlib
import sys
from collections.abc import Iterator

MAX_FILE, MAX_FUNCTION, HABIT = 600, 80, 50
FOLDERS = ("src", "python", "tools", "tests/unit", "tests/python", "tests/e2e", "tests/fuzz", "bench")


def c_functions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """(what stands above the brace, first line, number of lines of the body)"""
    start = 0
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{" and not start:
            start = number
        elif line.rstrip() == "}" and start:
            yield lines[start - 2].strip(), start, number - start - 1
            start = 0


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - first.lineno + 1


def files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".c", ".h", ".py") and path.is_file():
                yield path


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1]).resolve()
    found, n_files, n_functions, n_long = [], 0, 0, 0
    for path in files(root):
        text = path.read_text()
        lines = text.splitlines()
        n_files += 1
        if len(lines) > MAX_FILE:
            found.append(f"{path.relative_to(root)}: {len(lines)} lines, {MAX_FILE} are allowed")
        for name, line, size in python_functions(text) if path.suffix == ".py" else c_functions(lines):
            n_functions += 1
            n_long += size > HABIT
            if size > MAX_FUNCTION:
                found.append(f"{path.relative_to(root)}:{line}: {name}: {size} lines, {MAX_FUNCTION} are allowed")
    found.append(f"sizes: {n_files} files, {n_functions} functions, {n_long} of them longer than {HABIT} lines")
    print("\n".join(found))
    return 1 if len(found) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
