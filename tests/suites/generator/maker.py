"""The dice, and what every part of the generator needs: names, actions, indentation."""

from __future__ import annotations

import random
import textwrap

from generator.actions import KINDS

WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "omega", "sigma")
BUILTIN = (
    "capsys", "capfd", "capsysbinary", "caplog", "recwarn", "monkeypatch", "tmp_path", "tmp_path_factory", "request",
    "record_property", "record_xml_attribute", "record_testsuite_property", "pytestconfig", "subtests", "cache",
    "doctest_namespace",
)  # fmt: skip
CAPTURES = ("capsys", "capfd", "capsysbinary")
OF_SESSION = ("tmp_path_factory", "pytestconfig", "request", "doctest_namespace", "record_testsuite_property")


class Maker:
    """together: all tests run in one process in pytest's order, so that anything may be left for the next test."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.together = self.chance(0.6)
        self.calm = self.chance(0.3)  # most tests do nothing at all: what a dirty one leaves meets the shortest path
        self.size = 1 if seed < 1000 else 3  # the first ones are for the ordinary tests: their time is short
        self.makes = False  # a conftest parametrizes `made`
        self.counter = 0

    # ---- dice

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def pick(self, options):
        return options[self.random.randrange(len(options))]

    def some(self, options, most: int):
        """Up to `most` different ones, in their own order."""
        chosen = set(self.random.sample(range(len(options)), min(len(options), self.random.randint(0, most))))
        return [option for at, option in enumerate(options) if at in chosen]

    def number(self, most: int = 5) -> int:
        return self.random.randint(1, most)

    def word(self) -> str:
        return self.pick(WORDS)

    def name(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    # ---- statements

    def action(self, kind: str, allowed=BUILTIN, refused=()) -> tuple[list[str], str]:
        """(fixtures, statements) of a kind that use allowed fixtures only."""
        while True:
            names, text = self.pick(KINDS[kind])
            if all(name in allowed and name not in refused for name in names):
                return list(names), text.replace("@n", str(self.number())).replace("@w", self.word())

    def actions(self, how_many: int, ends: float = 0.15, allowed=BUILTIN) -> tuple[list[str], str]:
        """Statements of any kind, ending in a raise with this probability, and the fixtures that they use."""
        kinds = ["quiet"] * 5 + ["output", "logs", "warns", "nodes", "system"] * 2
        if self.together:
            kinds += ["leaks"] * 3
        chosen = [self.pick(kinds) for _ in range(how_many)]
        if self.chance(ends):
            chosen.append("last" if self.together and self.chance(0.01) else "ends")
        names: list[str] = []
        texts: list[str] = []
        for kind in chosen:
            refused = [c for c in CAPTURES if any(n in CAPTURES and n != c for n in names)]
            found, text = self.action(kind, allowed, refused)
            names += [name for name in found if name not in names]
            texts.append(text)
        return names, "\n".join(texts) or "pass"

    def body(self, label: str, ends: float = 0.15, allowed=BUILTIN) -> tuple[list[str], str]:
        """Statements of a test: most often few."""
        if self.calm and self.chance(0.6):
            return self.actions(0 if self.chance(0.5) else 1, ends / 5, ())
        names, text = self.actions(self.pick((0, 1, 1, 1, 2, 2, 3)), ends, allowed)
        if self.chance(0.5):
            text = f'step("{label}")\n{text}'
        return names, text


def indent(text: str, by: int = 1) -> str:
    return textwrap.indent(text, "    " * by)


def function(name: str, arguments: list[str], body: str, decorators: list[str] = [], prefix: str = "") -> str:  # noqa: B006
    head = "".join(f"{d}\n" for d in decorators)
    return f"{head}{prefix}def {name}({', '.join(dict.fromkeys(arguments))}):\n{indent(body)}\n"
