"""-k and -m over many items: pytest's own matcher decides, once for all items that it could not tell apart.

What -k sees of an item is its name, and names that come from its parents, its function's attributes and its marks. The
latter are asked of pytest once for each combination of them; whether a word is in the name is looked up for each item,
and the expression is evaluated by pytest once for each combination of answers.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable
from typing import Any


class Selector:
    """Stand-ins for pytest's deselect_by_keyword and deselect_by_mark."""

    def __init__(self, mark: Any, function: Any, by_keyword: Callable[..., Any], by_mark: Callable[..., Any]) -> None:
        self.mark = mark  # the module
        self.function = function  # the type of plain items
        self.by_keyword = by_keyword
        self.by_mark = by_mark

    def deselect_by_keyword(self, items: list[Any], config: Any) -> None:
        text = config.option.keyword.lstrip()
        expression = self._compile(text)
        words = _words(expression)
        if not items or not words:
            self.by_keyword(items, config)
            return
        self._split(items, config, KeywordJudge(self.mark, self.function, expression, words).keeps)

    def deselect_by_mark(self, items: list[Any], config: Any) -> None:
        expression = self._compile(config.option.markexpr)
        if not items or not _words(expression):
            self.by_mark(items, config)
            return
        validate = getattr(self.mark, "_validate_marker_names", None)  # from 9.2
        if validate is not None:
            validate(expression, config)
        self._split(items, config, MarkJudge(self.mark, self.function, expression).keeps)

    def _compile(self, text: str) -> Any:
        try:
            return self.mark.Expression.compile(text) if text else None
        except Exception:  # 9.0: SyntaxError, before that one of pytest's own
            return None  # pytest says so

    def _split(self, items: list[Any], config: Any, keeps: Callable[[Any], bool]) -> None:
        remaining: list[Any] = []
        deselected: list[Any] = []
        for item in items:
            (remaining if keeps(item) else deselected).append(item)
        if deselected:
            config.hook.pytest_deselected(items=deselected)
            items[:] = remaining


def _words(expression: Any) -> list[str]:
    """The words of a compiled expression; none when it has none, or is no expression."""
    code = getattr(expression, "_code", None) or getattr(expression, "code", None)
    names = code.co_names if code is not None else ()
    return [name[1:] for name in names if name.startswith("$")]


class KeywordJudge:
    """Whether -k keeps an item."""

    def __init__(self, mark: Any, function: Any, expression: Any, words: list[str]) -> None:
        self.matcher = mark.KeywordMatcher
        self.function = function
        self.expression = expression
        self.words = words
        self.lower = [word.lower() for word in words]
        self.shared: dict[Hashable, tuple[bool, ...]] = {}
        self.answers: dict[tuple[bool, ...], bool] = {}

    def keeps(self, item: Any) -> bool:
        key = self._key(item)
        if key is None:
            return bool(self.expression.evaluate(self.matcher.from_item(item)))
        shared = self.shared.get(key)
        if shared is None:
            names = set(self.matcher.from_item(item)._names) - {item.name}
            whole = self.matcher(names)
            shared = self.shared[key] = tuple(bool(whole(word)) for word in self.words)
        name = item.name.lower()
        found = tuple([there or word in name for there, word in zip(shared, self.lower, strict=True)])
        answer = self.answers.get(found)
        if answer is None:
            answer = self.answers[found] = bool(self.expression.evaluate(self._matcher_of(found)))
        return answer

    def _matcher_of(self, found: tuple[bool, ...]) -> Callable[..., bool]:
        known = dict(zip(self.words, found, strict=True))
        refuse = self.matcher(set())

        def match(word: str, /, **kwargs: Any) -> bool:
            return bool(refuse(word, **kwargs)) if kwargs else known[word]

        return match

    def _key(self, item: Any) -> Hashable:
        """Items with the same key have the same names beside their own; None: ask pytest."""
        if type(item) is not self.function:
            return None
        own = item.__dict__
        function = own.get("_obj")
        function = getattr(function, "__func__", function)
        if type(function) is not types.FunctionType or own["extra_keyword_matches"]:
            return None
        marks = own["own_markers"]
        names = tuple([mark.name for mark in marks]) if marks else ()
        return id(item.parent), names, tuple(function.__dict__)


class MarkJudge:
    """Whether -m keeps an item: the same marks, the same answer."""

    def __init__(self, mark: Any, function: Any, expression: Any) -> None:
        self.matcher = mark.MarkMatcher
        self.function = function
        self.expression = expression
        self.answers: dict[Hashable, bool] = {}

    def keeps(self, item: Any) -> bool:
        if type(item) is not self.function:
            return self._ask(item)
        key = (id(item.parent), tuple(map(id, item.own_markers)))
        answer = self.answers.get(key)
        if answer is None:
            answer = self.answers[key] = self._ask(item)
        return answer

    def _ask(self, item: Any) -> bool:
        return bool(self.expression.evaluate(self.matcher.from_markers(item.iter_markers())))
