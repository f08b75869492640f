"""Differences that are no news: documented ones, and those that a folder of tests/suites/found/ keeps open."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

# What pytest's terminal reporter writes about a unittest subTest, into the captured output of its test.
LETTERS = re.compile(r"[-u,yxXsFE.]*|.*SUB[A-Z]+.*", re.DOTALL)
FIRST_FRAME = "cls = <class '_pytest.runner.CallInfo'>"
INTERNAL = "internal error"
GROUP = "errors while tearing down"
HIDDEN = "All traceback entries are hidden"


def is_letters(difference) -> bool:
    """Documented in docs/reference/differences.md: only these letters are missing in the sections."""
    if difference.field != "sections":
        return False
    expected, got = json.loads(difference.expected), json.loads(difference.found)
    for name, text in expected:
        if got and got[0][0] == name and missing(text, got[0][1]) is not None:
            text = missing(text, got.pop(0)[1])
        if (text and not name.startswith("Captured std")) or not LETTERS.fullmatch(text):
            return False
    return not got


def is_internal(difference) -> bool:
    """Documented there: the traceback has pytest's own frames only, all of which pytest shows then."""
    return difference.field == "long" and difference.expected.lstrip('"').startswith(FIRST_FRAME)


def missing(text: str, part: str) -> str | None:
    """What text has besides part; None when part is not in it, in its order."""
    found = []
    for letter in text:
        if part and part[0] == letter:
            part = part[1:]
        else:
            found.append(letter)
    return None if part else "".join(found)


def same_internal_error(plain, other) -> bool:
    """Both ended with the same one: its traceback is that of the process that was told of it."""
    one, two = (
        sorted(key.rpartition("\n")[2] for key in run.said.collects if key.startswith(INTERNAL))
        for run in (plain, other)
    )
    return one == two != []


def _is_hidden(difference, plain, other) -> bool:
    """found/several_failing_finalizers_have_no_traceback"""
    if difference.field == "long":
        if HIDDEN in difference.found and HIDDEN not in difference.expected:
            return True
        return "Exception Group Traceback" in difference.expected and GROUP in difference.found
    return difference.field == "terminal" and HIDDEN in other.output and HIDDEN not in plain.output


def _is_keyboard(difference, _plain, _other) -> bool:
    """found/keyboard_interrupt_lost_its_message"""
    return difference.field == "terminal" and "KeyboardInterrupt" in difference.key


OPEN: tuple[Callable[..., bool], ...] = (_is_hidden, _is_keyboard)


def news(found: list, plain, other, derived: tuple[str, ...], open_too: bool) -> list:
    """Of the differences those that are not known, and do not follow from known ones alone. open_too: nor open."""
    if same_internal_error(plain, other):
        found = [d for d in found if INTERNAL not in d.key]
    rest = [d for d in found if not is_letters(d) and not is_internal(d)]
    if not open_too:
        rest = [d for d in rest if not any(known(d, plain, other) for known in OPEN)]
    if len(rest) < len(found) and all(d.field in derived for d in rest):
        return []
    return rest
