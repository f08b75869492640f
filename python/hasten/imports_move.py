"""Moves import statements into functions with libcst: what else stands in the file stays as it is, to the byte."""

from __future__ import annotations

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

Small = cst.BaseSmallStatement
Body = list[cst.BaseStatement]


def names_of(statement: cst.Import | cst.ImportFrom) -> list[tuple[str, cst.ImportAlias]]:
    """The name that each part of the statement binds."""
    found = []
    for alias in statement.names if not isinstance(statement.names, cst.ImportStar) else ():
        name = alias.evaluated_alias
        if not name:
            name = alias.evaluated_name.partition(".")[0] if isinstance(statement, cst.Import) else alias.evaluated_name
        found.append((name, alias))
    return found


def only(statement: cst.Import | cst.ImportFrom, names: list[str]) -> cst.Import | cst.ImportFrom:
    """The statement with these names alone, on one line; with all of them as it is, comments inside included."""
    if {name for name, _ in names_of(statement)} <= set(names):
        return statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
    aliases = [
        alias.with_changes(comma=cst.MaybeSentinel.DEFAULT) for name, alias in names_of(statement) if name in names
    ]
    if isinstance(statement, cst.ImportFrom):
        blank = cst.SimpleWhitespace(" ")
        return statement.with_changes(
            names=aliases, lpar=None, rpar=None, semicolon=cst.MaybeSentinel.DEFAULT, whitespace_after_import=blank
        )
    return statement.with_changes(names=aliases, semicolon=cst.MaybeSentinel.DEFAULT)


def remarks(statement: cst.Import | cst.ImportFrom, names: list[str]) -> list[cst.Comment]:
    """Comments beside those of the statement's names that `only` takes out of it."""
    pairs = names_of(statement)
    if {name for name, _ in pairs} <= set(names):
        return []
    found = []
    for name, alias in pairs:
        space = alias.comma.whitespace_after if isinstance(alias.comma, cst.Comma) else None
        if name in names and isinstance(space, cst.ParenthesizedWhitespace) and space.first_line.comment:
            found.append(space.first_line.comment)
    return found


def is_docstring(statement: cst.BaseStatement) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return False
    expr = statement.body[0]
    return isinstance(expr, cst.Expr) and isinstance(expr.value, (cst.SimpleString, cst.ConcatenatedString))


def is_future(statement: cst.BaseStatement) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    first = statement.body[0]
    return (
        isinstance(first, cst.ImportFrom) and isinstance(first.module, cst.Name) and first.module.value == "__future__"
    )


def is_import(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(
        statement.body[0], (cst.Import, cst.ImportFrom)
    )


class Mover(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(
        self,
        moved: dict[int, list[str]],
        insertions: dict[int, list[tuple[int, list[str]]]],
        hints: dict[int, list[str]],
        has_typing: bool,
    ) -> None:
        super().__init__()
        self.moved, self.insertions, self.hints, self.has_typing = moved, insertions, hints, has_typing
        self.found: dict[int, tuple[cst.Import | cst.ImportFrom, cst.TrailingWhitespace]] = {}
        self.inserted: set[int] = set()

    def line_of(self, node: cst.CSTNode) -> int:
        return int(self.get_metadata(PositionProvider, node).start.line)

    def visit_Module(self, node: cst.Module) -> None:  # noqa: N802
        for statement in node.body:
            if isinstance(statement, cst.SimpleStatementLine):
                for small in statement.body:
                    if isinstance(small, (cst.Import, cst.ImportFrom)):
                        self.found.setdefault(self.line_of(small), (small, statement.trailing_whitespace))

    def _line(self, line: int, names: list[str]) -> cst.SimpleStatementLine:
        statement, trailing = self.found[line]
        return cst.SimpleStatementLine(
            body=[only(statement, names)],
            trailing_whitespace=trailing,
            leading_lines=[cst.EmptyLine(comment=comment) for comment in remarks(statement, names)],
        )

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:  # noqa: N802
        wanted = self.insertions.get(self.line_of(original_node))
        if not wanted:
            return updated_node
        self.inserted.add(self.line_of(original_node))
        lines: Body = [self._line(line, names) for line, names in sorted(wanted)]
        body = updated_node.body
        if not isinstance(body, cst.IndentedBlock):  # def f(): return x
            small = cst.ensure_type(body, cst.SimpleStatementSuite)
            last = cst.SimpleStatementLine(body=small.body, trailing_whitespace=small.trailing_whitespace)
            return updated_node.with_changes(body=cst.IndentedBlock(body=[*lines, last]))
        old = list(body.body)
        at = 1 if is_docstring(old[0]) and len(old) >= 1 else 0
        after = old[at] if at < len(old) else None
        if isinstance(after, (cst.FunctionDef, cst.ClassDef)) and not after.leading_lines:
            old[at] = after.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
        return updated_node.with_changes(body=body.with_changes(body=[*old[:at], *lines, *old[at:]]))

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:  # noqa: N802
        body: Body = []
        owed: list[cst.EmptyLine] = []  # comments above statements that are gone
        for before, after in zip(original_node.body, updated_node.body, strict=True):
            rest = self._rest(before, after)
            if rest is None:
                owed += list(getattr(after, "leading_lines", ()))
                continue
            if owed:
                rest = rest.with_changes(leading_lines=joined(owed, list(getattr(rest, "leading_lines", ()))))
                owed = []
            body.append(rest)
        footer = [*owed, *updated_node.footer] if any(line.comment for line in owed) else updated_node.footer
        if self.hints:
            body = self._with_hints(body)
        return updated_node.with_changes(body=body, footer=footer)

    def _rest(self, before: cst.BaseStatement, after: cst.BaseStatement) -> cst.BaseStatement | None:
        """The statement without what is moved out of its line; None: nothing is left."""
        if not isinstance(before, cst.SimpleStatementLine) or not isinstance(after, cst.SimpleStatementLine):
            return after
        kept = [
            small
            for old, small in zip(before.body, after.body, strict=True)
            if not (isinstance(old, (cst.Import, cst.ImportFrom)) and self.line_of(old) in self.moved)
        ]
        if len(kept) == len(after.body):
            return after
        if not kept:
            return None
        kept[-1] = kept[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return after.with_changes(body=kept)

    # ---- names that annotations need

    def _with_hints(self, body: Body) -> Body:
        lines: Body = [self._line(line, names) for line, names in sorted(self.hints.items())]
        for at, statement in enumerate(body):
            if (
                isinstance(statement, cst.If)
                and isinstance(statement.body, cst.IndentedBlock)
                and checks_types(statement.test)
            ):
                inner = statement.body
                done = statement.with_changes(body=inner.with_changes(body=[*inner.body, *lines]))
                return [*body[:at], done, *body[at + 1 :]]
        body, last = self._with_typing(body)
        block = cst.If(
            test=cst.Name("TYPE_CHECKING"),
            body=cst.IndentedBlock(body=lines),
            leading_lines=[cst.EmptyLine(indent=False)],
        )
        return [*body[: last + 1], block, *body[last + 1 :]]

    def _with_typing(self, body: Body) -> tuple[Body, int]:
        """With a TYPE_CHECKING, and where the imports at the top of the file, and it, end."""
        top = [at for at, one in enumerate(body) if is_import(one)]
        for at in top:
            line = cst.ensure_type(body[at], cst.SimpleStatementLine)
            first = line.body[0]
            if not (
                isinstance(first, cst.ImportFrom)
                and isinstance(first.module, cst.Name)
                and first.module.value == "typing"
            ):
                continue
            if isinstance(first.names, cst.ImportStar):
                continue
            if not any(alias.evaluated_name == "TYPE_CHECKING" and not alias.asname for alias in first.names):
                last = first.names[-1].with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
                names = [*first.names[:-1], last, cst.ImportAlias(name=cst.Name("TYPE_CHECKING"))]
                if first.lpar and isinstance(first.names[-1].comma, cst.Comma):
                    comma = first.names[-1].comma
                    names[-1] = names[-1].with_changes(comma=comma)
                    rows = first.lpar.whitespace_after
                    one_line = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
                    inner = cst.Comma(whitespace_after=rows) if not rows.empty else one_line
                    inner = inner if len(first.names) == 1 else cst.ensure_type(first.names[-2].comma, cst.Comma)
                    names[-2] = names[-2].with_changes(comma=inner)
                body = [
                    *body[:at],
                    line.with_changes(body=[first.with_changes(names=names), *line.body[1:]]),
                    *body[at + 1 :],
                ]
            return body, end_of_imports(body)
        words = "from typing import TYPE_CHECKING" if self.has_typing else "TYPE_CHECKING = False"
        statement = cst.ensure_type(cst.parse_statement(words + "\n"), cst.SimpleStatementLine)
        last = end_of_imports(body)
        if last < 0 or not is_import(body[last]) or not self.has_typing:
            statement = statement.with_changes(leading_lines=[cst.EmptyLine(indent=False)] if last >= 0 else [])
        return [*body[: last + 1], statement, *body[last + 1 :]], last + 1


def end_of_imports(body: Body) -> int:
    """The last of them, or of what must stand above them; -1: nothing is there."""
    last = -1
    for at, statement in enumerate(body):
        if not is_import(statement) and not is_docstring(statement):
            break
        last = at
    return last


def checks_types(test: cst.BaseExpression) -> bool:
    return (isinstance(test, cst.Name) and test.value == "TYPE_CHECKING") or (
        isinstance(test, cst.Attribute) and test.attr.value == "TYPE_CHECKING"
    )


def joined(owed: list[cst.EmptyLine], own: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    """Comments of a statement that is gone, above those of the next one; blank lines of one of them."""
    if not any(line.comment for line in owed):
        return own if own and own[0].comment is None else [*owed, *own]
    while owed and owed[-1].comment is None:
        owed.pop()
    return [*owed, *own]


def move(
    data: bytes,
    moved: dict[int, list[str]],
    insertions: dict[int, list[tuple[int, list[str]]]],
    hints: dict[int, list[str]],
    has_typing: bool,
) -> bytes:
    """
    moved: lines of import statements, and the names that they bind; insertions: line of a `def` -> lines of statements,
    each with the names that the function needs of it; hints: the same for what only annotations need; has_typing:
    importing typing for these costs nothing, as somebody does anyway.
    """
    wrapper = MetadataWrapper(cst.parse_module(data), unsafe_skip_copy=True)
    mover = Mover(moved, insertions, hints, has_typing)
    done = wrapper.visit(mover)
    if mover.inserted != insertions.keys() or not moved.keys() <= mover.found.keys():
        raise ValueError("a function or import was not found again")
    return done.bytes
