"""Writes random small programs that end: every kind of statement, in any nesting. The same seed, the same program.

Loops count in a variable of their own, first thing in the body; functions call only those written before them, through
program_props.run, which stops too many calls.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

NAMES = ("a", "b", "x", "y")
HEADER = "from program_props import *\n"
INDENT = "    "


@dataclass(frozen=True)
class Place:
    """Where a statement stands."""

    function: str = ""  # "": module or class; def, generator, async, asyncgen
    loop: bool = False
    depth: int = 0
    handler: bool = False  # inside of an except clause
    star: bool = False  # inside of an except* clause: no return, break, continue


@dataclass
class Writer:
    random: random.Random
    lines: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    numbers: int = 0
    left: int = 90  # statements

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def k(self) -> int:
        return self.random.randrange(40)

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def put(self, level: int, text: str) -> None:
        self.lines += [INDENT * level + line if line else "" for line in text.split("\n")]

    # ---- expressions

    def name(self) -> str:
        return self.random.choice(NAMES)

    def atom(self, place: Place) -> str:
        k = self.k()
        some = [self.name(), self.name(), str(k % 5), f"c({k})", f"same({self.name()})", f"same({k}, y={self.name()})"]
        if self.chance(0.15):
            some.append(f"r({k})")
        if place.function in ("async", "asyncgen") and self.chance(0.4):
            some.append(f"await pause({k})")
        if self.functions and self.chance(0.3):
            some.append(f"run({self.random.choice(self.functions)}, {self.name()})")
        return self.random.choice(some)

    def expression(self, place: Place, depth: int = 0) -> str:
        if depth > 2 or self.chance(0.4):
            return self.atom(place)
        one, two = self.expression(place, depth + 1), self.expression(place, depth + 1)
        nl = self.random.choice(("", "", "\n" + INDENT))
        inner = replace(place, function="")
        k = self.number()
        return self.random.choice(
            (
                lambda: f"(({one}) and {nl}({two}))",
                lambda: f"(({one}) or {nl}({two}))",
                lambda: f"(({one}) {nl}if {self.condition(place, depth + 1)} {nl}else ({two}))",
                lambda: f"(not ({one}))",
                lambda: f"(n{k} := {nl}({one}))",
                lambda: f"same({nl}({one}),{nl} *[({two})],{nl} **{{'k': 1}})",
                lambda: f"[{one},{nl} {two}]",
                lambda: f"{{'k':{nl} {one}, **{{'l': {two}}}}}",
                lambda: f"same(lambda q{k}=1:{nl} {self.atom(inner)})",
                lambda: f"same((lambda q{k}:{nl} {self.atom(inner)}){nl}(1))",
                lambda: (
                    f"[{nl}{self.atom(inner)}{nl} for q{k} in {nl}xs({self.k()}){nl} if {self.condition(inner, 2)}]"
                ),
                lambda: f"list({self.atom(inner)} {nl}for q{k} in xs({self.k()}) for p{k} in xs({self.k()}))",
                lambda: f"{{q{k}: {nl}{self.atom(inner)} for q{k} in {nl}xs({self.k()})}}",
                lambda: f"(({one}) == {nl}({two}) != 3)",
                lambda: f"f'{{{self.name()}!r}}'",
                lambda: self.asynchronous(place, nl, k),
            )
        )()

    def asynchronous(self, place: Place, nl: str, k: int) -> str:
        if place.function not in ("async", "asyncgen"):
            return self.atom(place)
        if self.chance(0.5):
            return f"(await pause({nl}{self.k()}))"
        return f"[{nl}q{k} async for q{k} in {nl}axs({self.k()}) if {nl}c({self.k()})]"

    def condition(self, place: Place, depth: int = 0) -> str:
        if self.chance(0.45):
            return f"c({self.k()})"
        if self.chance(0.1):
            return f"r({self.k()})"
        if self.chance(0.12) and depth == 0:
            return self.random.choice(("True", "False", "1", "0", "not 0", "__debug__", "None", "not __debug__"))
        if self.chance(0.35) and depth < 2:
            nl = self.random.choice(("", "\n" + INDENT))
            op = self.random.choice(("and", "or"))
            parts = [self.condition(place, depth + 1) for _ in range(self.random.randint(2, 3))]
            return "(" + f" {op} {nl}".join(parts) + ")"
        if self.chance(0.3):
            return f"not {self.condition(place, depth + 1)}"
        return self.expression(place, depth + 1)

    def comment(self, what: str = "cover") -> str:
        return f"  # pragma: no {what}" if self.chance(0.02) else ""

    # ---- simple statements

    def simple(self, place: Place) -> str:
        """One line of logic; it may be several of text, but begins and ends outside of every bracket."""
        name = self.name()
        some: list[Callable[[], str]] = [
            lambda: f"{name} = {self.expression(place)}",
            lambda: f"{name} = {self.expression(place)}",
            lambda: self.expression(place),
            lambda: f"same(\n{INDENT}{self.expression(place)},\n{INDENT}{self.atom(place)},\n)",
            lambda: "pass",
            lambda: f"r({self.k()})",
            lambda: f"assert {self.condition(place)}",
            lambda: f"assert {self.condition(place)}, \\\n{INDENT}{self.atom(place)}",
            lambda: f"{name} = b = {self.atom(place)}",
            lambda: f"x, *y = {self.atom(place)}, {self.atom(place)}, 3",
            lambda: f"{name}: int = {self.atom(place)}",
            lambda: f"t{self.number()}: {self.atom(place)}",
            lambda: "'text'",
            lambda: "...",
            lambda: f"z = 1; del z; {name} = {self.atom(place)}",
            lambda: "import os.path, sys as x",
        ]
        if place.function:
            some.append(lambda: self.leaving(place))
        if place.loop and not place.star:
            some += [lambda: "break", lambda: "continue"] * 2
        some += [lambda: self.raising(place)]
        if place.function in ("generator", "asyncgen"):
            some += [lambda: f"yield {self.atom(place)}", lambda: f"{name} = yield {self.atom(place)}"] * 2
        if place.function == "generator":
            some += [
                lambda: f"{name} = yield from ys({self.k()})",
                lambda: f"yield from [\n{INDENT}{self.atom(place)}]",
            ]
        if place.function in ("async", "asyncgen"):
            some += [lambda: f"await pause({self.k()})", lambda: f"{name} = await pause({self.k()})"]
        return self.random.choice(some)()

    def leaving(self, place: Place) -> str:
        if place.star:
            return "pass"
        if place.function == "asyncgen" or self.chance(0.3):
            return "return"
        return f"return {self.expression(place)}"

    def raising(self, place: Place) -> str:
        k = self.k()
        some = [
            f"raise e({k})({k})",
            f"raise OddError({k})",
            f"raise e({k}) from\\\n{INDENT}OddError()",
            f"raise g({k})",
        ]
        return self.random.choice(some + ["raise"] * 2 * place.handler)

    # ---- compound statements

    def suite(self, level: int, place: Place, header: str, most: int = 3, several: bool = True) -> None:
        """header with a body, on its own line now and then, there with two statements if several."""
        header += ":"
        if self.chance(0.12) and "\n" not in (one := self.simple(place)):
            if several and self.chance(0.3) and "\n" not in (two := self.simple(place)):
                one += f"; {two}"
            self.put(level, f"{header} {one}{self.comment()}")
            return
        self.put(level, header + self.comment(self.random.choice(("cover", "branch"))))
        self.body(level + 1, replace(place, depth=place.depth + 1), most)

    def body(self, level: int, place: Place, most: int = 3) -> None:
        for _ in range(self.random.randint(1, most)):
            self.statement(level, place)

    def statement(self, level: int, place: Place) -> None:
        self.left -= 1
        if self.chance(0.05):
            self.put(level, self.random.choice(("", "# a comment", '"""A text\nof two lines."""')))
        if place.depth > 4 or self.left < 0 or self.chance(0.35):
            self.put(level, self.simple(place) + self.comment())
            return
        kinds = [
            self.if_,
            self.if_,
            self.while_,
            self.for_,
            self.try_,
            self.try_,
            self.try_finally,
            self.with_,
            self.match_,
        ]
        if place.function in ("async", "asyncgen"):
            kinds += [self.async_for, self.async_with] * 2
        if place.depth < 3:
            kinds += [self.def_, self.class_]
        kinds += [self.group] * (not place.star)
        self.random.choice(kinds)(level, place)

    def if_(self, level: int, place: Place) -> None:
        self.suite(level, place, f"if {self.condition(place)}")
        while self.chance(0.25):
            self.suite(level, place, f"elif {self.condition(place)}")
        if self.chance(0.4):
            self.suite(level, place, "else")

    def loop_body(self, level: int, place: Place, first: str) -> None:
        inner = replace(place, depth=place.depth + 1, loop=True, star=False)
        for line in first.split("\n") if first else ():
            self.put(level + 1, line)
        self.body(level + 1, inner)
        if self.chance(0.25):
            self.suite(level, place, "else")

    def while_(self, level: int, place: Place) -> None:
        i = f"i{self.number()}"
        self.put(level, f"{i} = 0")
        style = self.random.randrange(5)
        if style == 0:
            self.put(level, f"while {self.random.choice(('True', '1', 'not 0'))}:")
            self.loop_body(level, place, f"{i} += 1\nif {i} > 3: break")
        elif style == 1:
            self.put(level, f"while {i} < {self.k() % 4}: {i} += 1{self.comment('branch')}")
        elif style == 2:
            self.put(level, f"while ({i} := {i} + 1) < {self.k() % 5} and {self.condition(place, 1)}:")
            self.loop_body(level, place, "")
        elif style == 3:
            self.put(level, f"while (\n{INDENT}{i} < 3\n{INDENT}and ({self.expression(place, 1)})\n):")
            self.loop_body(level, place, f"{i} += 1")
        else:
            self.put(level, f"while {i} < {self.k() % 4}:" + self.comment("branch"))
            self.loop_body(level, place, f"{i} += 1")

    def for_(self, level: int, place: Place) -> None:
        k = self.k()
        source = self.random.choice(
            (
                f"xs({k})",
                f"xs({k})",
                f"range({k % 4})",
                f"ys({k})",
                f"[\n{INDENT}c({k}),\n{INDENT}x]",
                f"(y\nfor y in xs({k}))",
            )
        )
        self.put(level, f"for {self.random.choice(NAMES)} in {source}:")
        if self.chance(0.12) and "\n" not in (one := self.simple(replace(place, loop=True, star=False))):
            self.lines[-1] += f" {one}"
            if self.chance(0.3):
                self.suite(level, place, "else")
            return
        self.loop_body(level, place, "")

    def async_for(self, level: int, place: Place) -> None:
        nl = self.random.choice(("", "\n"))
        self.put(level, f"async for {self.name()} in axs({nl}{self.k()}):")
        self.loop_body(level, place, "")

    def handlers(self, level: int, place: Place) -> None:
        inner = replace(place, handler=True)
        for _ in range(self.random.randint(1, 2)):
            kind = self.random.choice(
                (
                    f"e({self.k()})",
                    "ValueError",
                    "(KeyError, OddError)",
                    "(ValueError,\n    OddError)",
                    f"same(e({self.k()}))",
                )
            )
            self.suite(level, inner, f"except {kind}{self.random.choice(('', ' as x', ' as b'))}")
        if self.chance(0.3):
            self.suite(level, inner, self.random.choice(("except", "except Exception", "except Exception as y")))

    def try_(self, level: int, place: Place) -> None:
        self.suite(level, place, "try")
        self.handlers(level, place)
        if self.chance(0.3):
            self.suite(level, place, "else")
        if self.chance(0.3):
            self.suite(level, place, "finally")

    def try_finally(self, level: int, place: Place) -> None:
        self.suite(level, place, "try")
        self.suite(level, place, "finally")

    def group(self, level: int, place: Place) -> None:
        self.suite(level, place, "try")
        inner = replace(place, handler=True, star=True, loop=False)
        for kind in self.random.sample(("ValueError", "KeyError", "(OddError, TypeError)"), self.random.randint(1, 2)):
            self.suite(level, inner, f"except* {kind}{self.random.choice(('', ' as x'))}", 2)
        if self.chance(0.3):
            self.suite(level, place, "else")
        if self.chance(0.3):
            self.suite(level, place, "finally")

    def with_(self, level: int, place: Place, prefix: str = "") -> None:
        name = "acm" if prefix else "cm"
        items = [
            f"{name}({self.k()}){self.random.choice(('', ' as x', ' as y'))}" for _ in range(self.random.randint(1, 3))
        ]
        style = self.random.randrange(4)
        if style == 0:
            text = f"{prefix}with (\n    " + ",\n    ".join(items) + "\n)"
        elif style == 1:
            text = f"{prefix}with " + ", \\\n    ".join(items)
        elif style == 2:
            text = f"{prefix}with {name}(\n    {self.k()}\n)"
        else:
            text = f"{prefix}with " + ", ".join(items)
        self.suite(level, place, text, several=False)  # tests/programs/known/one_line_with.py

    def async_with(self, level: int, place: Place) -> None:
        self.with_(level, place, "async ")

    def capture(self, depth: int = 0) -> str:
        simple = ["_", "1", "'a'", "None", "True", "1.5 | 2", "int()", "str() | float()", "Point()"]
        if depth > 1 or self.chance(0.4):
            return self.random.choice(simple)
        one, two = self.capture(depth + 1), self.capture(depth + 1)
        nl = self.random.choice(("", "\n" + INDENT))
        n = self.number()
        one, two = (f"({part})" if "|" in part else part for part in (one, two))
        return self.random.choice(
            (
                f"[{one},{nl} {two}]",
                f"[{one},{nl} *_]",
                f"{{'k': {one}}}",
                f"{{'k':{nl} {one}, **o{n}}}",
                f"Point({nl}{one}, y={two})",
                f"(({one}) as o{n})" if one != "_" else f"o{n}",
                f"[{one}] |{nl} [_, {two}]" if "_" not in one + two and "o" not in one + two else f"[{one}]",
                f"(1{nl} | 'a')",
            )
        )

    def match_(self, level: int, place: Place) -> None:
        self.put(
            level, f"match {self.random.choice((f'm({self.k()})', self.name(), f'm({self.k()}), {self.name()}'))}:"
        )
        cases = self.random.randint(1, 4)
        for i in range(cases):
            last = i == cases - 1
            guard = f" if {self.condition(place, 1)}" if self.chance(0.25) else ""
            pattern = self.capture()
            if pattern in ("_", "(_)") or pattern.startswith("o"):
                guard = guard or ("" if last else f" if c({self.k()})")
            if last and self.chance(0.3):
                pattern, guard = self.random.choice(("_", f"o{self.number()}")), ""
            self.suite(level + 1, place, f"case {pattern}{guard}")

    # ---- functions and classes

    def decorators(self, level: int) -> None:
        while self.chance(0.25):
            self.put(level, self.random.choice(("@dec()", "@dec(\n    1,\n    c(0))", "@same", "@(lambda f: f)")))

    def def_(self, level: int, place: Place) -> None:
        kind = self.random.choice(("def", "def", "def", "generator", "async", "asyncgen"))
        name = f"f{self.number()}"
        self.decorators(level)
        arguments = self.random.choice(
            ("a=0, b=1, *y", "a=0,\n        b=r(1),\n        x=2, *y", "a: int = 0, b: 'int' = 1, *y", "a=0, b=1, *y")
        )
        prefix = "async " if kind.startswith("async") else ""
        header = f"{prefix}def {name}({arguments}){self.random.choice(('', '', ' -> int'))}:"
        inner = Place(kind, depth=place.depth + 1)
        functions = list(self.functions)
        if level == 0 and self.chance(0.5):
            self.functions.append(name)
        if self.chance(0.1):
            self.put(level, header + self.random.choice((" return 1", " pass", " r(a)", ' "text"')))
        else:
            self.put(level, header + self.comment())
            if self.chance(0.15):
                self.put(level + 1, '"""A text."""')
            elif self.chance(0.15):
                self.put(level + 1, f"global x{level}, z\nx{level} = z = 1")
            if self.chance(0.9):
                self.put(level + 1, "x = 1")
            if kind.endswith("gen") or kind == "generator":
                self.put(level + 1, self.random.choice(("yield 0", "if c(1): yield 1", "x = yield\ny = 2")))
            if self.chance(0.1):
                self.nonlocal_(level + 1)
            self.body(level + 1, inner, 5)
        self.functions = functions
        if self.chance(0.7):
            caller = self.random.choice(("run", "run", "run", "thread"))
            for _ in range(self.random.randint(1, 3)):
                self.put(level, f"{caller}({name}, {self.k() % 3}, c({self.k()}))")
        if level == 0:
            self.functions.append(name)

    def nonlocal_(self, level: int) -> None:
        name = f"f{self.number()}"
        self.put(
            level,
            f"v{level} = 0\ndef {name}():\n    nonlocal v{level}\n    v{level} += 1\n"
            f"    if v{level} < 3: {name}()\n{name}()",
        )

    def class_(self, level: int, place: Place) -> None:
        name = f"C{self.number()}"
        self.decorators(level)
        style = self.random.randrange(5)
        if style == 0:
            body = self.random.choice(("pass", "x = 1", "y = c(0); z = 2", "x: int = 1"))
            self.put(level, f"class {name}: {body}")
            return
        bases = self.random.choice(("", "(object)", "(same(\n    object))"))
        self.put(level, f"class {name}{bases}:")
        if self.chance(0.2):
            self.put(level + 1, '"""A text\n   of two lines."""')
        self.body(level + 1, Place("", depth=place.depth + 1), 3)

    def executed(self) -> None:
        text = self.random.choice(
            ("x = 1\\nif x:\\n    y = 2\\n", "for x in xs(3):\\n    y = x\\n", "def f():\\n    return 1\\nf()\\n")
        )
        self.put(0, f"exec(compile('{text}', {self.random.choice(('__file__', repr('<string>')))}, 'exec'), globals())")


def write(seed: int) -> str:
    writer = Writer(random.Random(f"{seed}"))
    writer.put(0, HEADER + "a = b = x = y = 1")
    while writer.left > 0:
        if writer.chance(0.75):
            writer.def_(0, Place())
        elif writer.chance(0.1):
            writer.executed()
        else:
            writer.suite(0, Place(), f"with cm({3 * writer.k()})")
    writer.put(0, "finish()")
    return "\n".join(writer.lines) + "\n"


def valid(text: str) -> bool:
    try:
        compile(text, "program", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def make(seed: int) -> str:
    """The first program of those that this seed leads to that this Python can compile."""
    for i in range(200):
        text = write(seed + i * 1_000_003)
        if valid(text):
            return text
    sys.exit(f"programs: seed {seed} leads to no valid program")
